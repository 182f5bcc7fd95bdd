// The commands of tiffin compose that are about services and not about the containers that there
// are: run, build, pull.

package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/compose"
	"tiffin/internal/errs"
)

// handedOn are the flags of compose run that are those of run.
var handedOn = []string{"env", "workdir", "user", "volume", "label", "publish", "cap-add", "cap-drop"}

func (p *composition) runCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "rm", Usage: "delete the container when it ends"},
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running and print its id"},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the container, instead of a made-up one"},
		&cli.StringFlag{Name: "entrypoint", Usage: "run `COMMAND` with the arguments, instead of the service's"},
		&cli.BoolFlag{Name: "no-deps", Usage: "leave alone what the service depends on"},
		&cli.BoolFlag{Name: "service-ports", Aliases: []string{"P"}, Usage: "publish the service's ports, too"},
		&cli.BoolFlag{Name: "no-tty", Aliases: []string{"T", "no-TTY"}, Usage: "no terminal"},
		&cli.BoolFlag{Name: "build", Usage: "build the image also if it is there"},
	}
	for _, f := range createFlags() {
		if slices.Contains(handedOn, f.Names()[0]) {
			flags = append(flags, f)
		}
	}
	return &cli.Command{
		ArgsUsage: "[FLAGS] SERVICE [COMMAND [ARGUMENT…]]",
		Description: "What the service depends on is started as `compose up` does. The container is one more, with neither the\n" +
			"service's name in its networks nor, without --service-ports, its ports; `compose down` deletes it.",
		Flags: flags,
		Action: takes(1, -1, "a service", inStore(func(c *cli.Context, store *image.Store) error {
			project, err := p.read(c.Args().Slice()[:1])
			if err != nil {
				return err
			}
			p.request.Name = project.Name
			if c.Bool("no-deps") {
				withoutNeeds(project, c.Args().Slice()[:1])
			}
			if err := makeResources(project); err != nil {
				return err
			}
			u := &launching{composition: p, store: store, wanted: c.Context, build: c.Bool("build"), services: map[string]*serving{}}
			for i := range project.Services {
				s := &project.Services[i]
				if s.Name == c.Args().First() {
					if err = u.ready(s); err == nil {
						return typed(runCommand(), runWords(c, project, s))
					}
				} else {
					err = u.start(s)
				}
				if err != nil {
					return errs.Hint(fmt.Errorf("%s: service %s: %w", s.At, s.Name, err), errs.HintOf(err))
				}
			}
			return fmt.Errorf("there is no service %s", c.Args().First())
		})),
	}
}

// withoutNeeds leaves only the services with these names, and lets them wait for nothing.
func withoutNeeds(project *compose.Project, names []string) {
	project.Services = slices.DeleteFunc(project.Services, func(s compose.Service) bool { return len(names) > 0 && !slices.Contains(names, s.Name) })
	for i := range project.Services {
		project.Services[i].Needs = nil
	}
}

// runWords are the words behind `tiffin run` for a container that is like that of a service, but is
// not restarted.
func runWords(c *cli.Context, project *compose.Project, s *compose.Service) []string {
	one := *s
	one.Flags = slices.DeleteFunc(slices.Clone(s.Flags), func(w string) bool {
		return strings.HasPrefix(w, "--name=") || strings.HasPrefix(w, "--restart=") || w == "--tty" || w == "--interactive" || strings.HasPrefix(w, "--label="+compose.LabelOneOff) ||
			strings.HasPrefix(w, "--publish=") && !c.Bool("service-ports") || strings.HasPrefix(w, "--entrypoint=") && c.IsSet("entrypoint")
	})
	for i, w := range one.Flags {
		if strings.HasPrefix(w, "--network=") {
			one.Flags[i] = strings.ReplaceAll(w, ",alias="+s.Name, "")
		}
	}
	add := func(name, value string) { one.Flags = append(one.Flags, "--"+name+"="+value) }
	add("label", compose.LabelOneOff+"=True")
	name := c.String("name")
	if name == "" {
		name = project.Name + "-" + s.Name + "-run-" + strings.ToLower(rand.Text()[:12])
	}
	add("name", name)
	for _, flag := range []string{"workdir", "user"} {
		if c.IsSet(flag) {
			add(flag, c.String(flag))
		}
	}
	for _, flag := range handedOn {
		for _, v := range c.StringSlice(flag) {
			add(flag, v)
		}
	}
	if c.IsSet("entrypoint") {
		add("entrypoint", c.String("entrypoint"))
		one.Args, one.Command = nil, nil
	}
	for _, flag := range []string{"rm", "detach"} {
		if c.Bool(flag) {
			add(flag, "true")
		}
	}
	if !c.Bool("detach") {
		add("interactive", "true")
		if isTerminal(os.Stdin) && isTerminal(os.Stdout) && !c.Bool("no-tty") {
			add("tty", "true")
		}
	}
	if c.Args().Len() > 1 {
		one.Command = c.Args().Tail()
	}
	return one.Words()
}

func (p *composition) buildCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-cache", Usage: "do every step again"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the digests of the images"},
			&cli.StringSliceFlag{Name: "build-arg", Usage: "give ARG a value: `NAME=VALUE`, or NAME with the value it has here"},
		},
		Action: p.eachImage(func(c *cli.Context, s *compose.Service) error {
			if s.Build == nil {
				return nil
			}
			var words []string
			for _, flag := range []string{"no-cache", "quiet"} {
				if c.Bool(flag) {
					words = append(words, "--"+flag)
				}
			}
			for _, v := range c.StringSlice("build-arg") {
				words = append(words, "--build-arg="+v)
			}
			return typed(buildCommand(), append(words, s.Build...))
		}),
	}
}

func (p *composition) pullCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] [SERVICE…]",
		Description: "Those that the files say how to build are left out.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the whole names of the images"}},
		Action: p.eachImage(func(c *cli.Context, s *compose.Service) error {
			if s.Build != nil {
				return nil
			}
			var words []string
			if c.Bool("quiet") {
				words = append(words, "--quiet")
			}
			for _, w := range s.Flags {
				if strings.HasPrefix(w, "--platform=") {
					words = append(words, w)
				}
			}
			return typed(pullCommand(), append(words, "--", s.Image))
		}),
	}
}

// eachImage is the action of a command that does one thing for each service, and goes on after an
// error.
func (p *composition) eachImage(do func(*cli.Context, *compose.Service) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		project, err := p.read(c.Args().Slice())
		if err != nil {
			return err
		}
		withoutNeeds(project, c.Args().Slice())
		var failed []error
		for i := range project.Services {
			s := &project.Services[i]
			if err := do(c, s); err != nil {
				failed = append(failed, errs.Hint(fmt.Errorf("%s: service %s: %w", s.At, s.Name, err), errs.HintOf(err)))
			}
		}
		return errors.Join(failed...)
	}
}
