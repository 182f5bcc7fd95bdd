// The command tiffin compose: the table of its commands, and what they share: which project is
// meant, and which containers are its own. Those are known by their labels alone, docker's, so that
// nothing else has to be kept.

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/image/store"
	"tiffin/internal/compose"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/shell"
)

// composition is the project that a command of compose is about.
type composition struct {
	request compose.Request
	oneOffs bool // what compose run has made is among the members
}

// table are the commands below `compose`.
func (p *composition) table() []command {
	return []command{
		{"up", "make and start the containers of a project", p.upCommand, plain},
		{"down", "stop and delete the containers of a project", p.downCommand, plain},
		{"ps", "list the containers of a project", p.psCommand, plain},
		{"logs", "show what the containers of a project have printed", p.logsCommand, plain},
		{"exec", "run a further command in a service's container", p.execCommand, runLike},
		{"run", "run a command in a container of its own, made as a service's is", p.runCommand, runLike},
		{"stop", "stop the containers of a project", p.stopCommand, plain},
		{"start", "start the containers of a project that were stopped", p.startCommand, plain},
		{"restart", "stop the containers of a project and start them again", p.restartCommand, plain},
		{"kill", "send a signal to the containers of a project", p.killCommand, plain},
		{"rm", "delete the containers of a project that do not run", p.rmCommand, plain},
		{"build", "build the images of services", p.buildCommand, plain},
		{"pull", "fetch the images of services", p.pullCommand, plain},
		{"config", "print the services as tiffin understands them", p.configCommand, plain},
	}
}

func composeCommand() *cli.Command {
	p := &composition{}
	return &cli.Command{
		ArgsUsage: "[FLAGS] COMMAND [ARGUMENTS]",
		Description: "A compose file names services, and each is a container that `tiffin create` could make: `compose config`\n" +
			"prints those commands. What has no counterpart here is refused, with file and line.\n\n" + listCommands(p.table()) +
			"\n`tiffin compose COMMAND --help` shows the flags of a command.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "read `FILE`; a later one adds to those before; compose.yaml here or above, if not given"},
			&cli.StringFlag{Name: "project-name", Aliases: []string{"p"}, Usage: "`NAME` of the project, instead of the directory's"},
			&cli.StringFlag{Name: "project-directory", Usage: "relative paths in the files begin in `DIR`"},
			&cli.StringSliceFlag{Name: "profile", Usage: "also services of profile `NAME`"},
			&cli.StringSliceFlag{Name: "env-file", Usage: "variables for the files are in `FILE`, instead of .env"},
		},
		Action: func(c *cli.Context) error {
			p.request = compose.Request{
				Files: c.StringSlice("file"), Dir: c.String("project-directory"), Name: c.String("project-name"),
				Profiles: c.StringSlice("profile"), EnvFiles: c.StringSlice("env-file"),
			}
			return subcommand("compose", composeCommand, p.table())(c)
		},
	}
}

// read reads the files: all services, or some and those that they depend on.
func (p *composition) read(services []string) (*compose.Project, error) {
	root, err := store.DefaultRoot()
	if err != nil {
		return nil, err
	}
	p.request.Services = services
	project, notes, err := compose.Read(root, p.request)
	for _, n := range notes {
		fmt.Fprintf(stderr, "tiffin: note: %s\n", n)
	}
	return project, err
}

// name is that of the project.
func (p *composition) name() (string, error) {
	if p.request.Name == "" {
		project, err := p.read(nil)
		if err != nil {
			return "", errs.Hint(err, cmp.Or(errs.HintOf(err), "with -p NAME the files are not needed"))
		}
		p.request.Name = project.Name
	}
	return p.request.Name, nil
}

// member is a container of a project.
type member struct {
	*disk.Container
	service string
}

// members are the containers of the project, the oldest first: those that others depend on come
// before these. With names, only the containers of those services.
func (p *composition) members(services ...string) ([]member, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	set, err := containers()
	if err != nil {
		return nil, err
	}
	all, err := set.All()
	var found []member
	for _, c := range slices.Backward(all) {
		service := c.Labels[compose.LabelService]
		if c.Labels[compose.LabelProject] == name && (p.oneOffs || c.Labels[compose.LabelOneOff] != "True") && (len(services) == 0 || slices.Contains(services, service)) {
			found = append(found, member{c, service})
		}
	}
	for _, s := range services {
		if !slices.ContainsFunc(found, func(m member) bool { return m.service == s }) {
			err = errors.Join(err, errs.Hint(fmt.Errorf("service %s of project %s has no container", s, name), "`tiffin compose up` makes them"))
		}
	}
	return found, err
}

func (p *composition) configCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Description: "Each line is a command for a shell, in the order in which `compose up` makes the containers.\n" +
			"Lines that begin with # say what a service waits for.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "services", Usage: "print only the names of the services"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing: are the files right?"},
		},
		Action: func(c *cli.Context) error {
			project, err := p.read(c.Args().Slice())
			if err != nil || c.Bool("quiet") {
				return err
			}
			if c.Bool("services") {
				for _, s := range project.Services {
					fmt.Fprintln(stdout, s.Name)
				}
				return nil
			}
			print := func(words ...string) {
				for i, w := range words {
					words[i] = shell.Word(w)
				}
				fmt.Fprintln(stdout, strings.Join(words, " "))
			}
			for _, n := range project.Networks {
				if !n.External {
					print(append(append([]string{"tiffin", "network", "create"}, n.Flags...), "--", n.Name)...)
				}
			}
			for _, v := range project.Volumes {
				if !v.External {
					print(append(append([]string{"tiffin", "volume", "create"}, v.Flags...), "--", v.Name)...)
				}
			}
			for _, s := range project.Services {
				for _, n := range s.Needs {
					fmt.Fprintf(stdout, "# %s waits for %s: %s\n", s.Name, n.Service, n.Condition)
				}
				if s.Build != nil {
					print(append([]string{"tiffin", "build"}, s.Build...)...)
				}
				print(append([]string{"tiffin", "create"}, s.Words()...)...)
			}
			return nil
		},
	}
}

func (p *composition) psCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] [SERVICE…]",
		Description: "The columns and templates are those of `tiffin ps`, and .Service.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that do not run"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only ids"},
			&cli.BoolFlag{Name: "services", Usage: "only names of services"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: func(c *cli.Context) error {
			all, err := p.members(c.Args().Slice()...)
			if err != nil {
				return err
			}
			var rows []*psRow
			for _, m := range all {
				state, err := m.State()
				if err != nil {
					return err
				}
				if c.Bool("all") || state.Alive() {
					rows = append(rows, newPsRow(m.Container, state, true, time.Now()))
				}
			}
			if c.Bool("services") {
				for _, r := range rows {
					fmt.Fprintln(stdout, r.Service)
				}
				return nil
			}
			return printPs(stdout, c, "table {{.Names}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}", rows)
		},
	}
}

func (p *composition) execCommand() *cli.Command {
	cmd := execCommand()
	cmd.ArgsUsage = "[FLAGS] SERVICE COMMAND [ARGUMENT…]"
	terminal := isTerminal(os.Stdin) && isTerminal(os.Stdout)
	for _, f := range cmd.Flags {
		if b, ok := f.(*cli.BoolFlag); ok && (b.Name == "tty" || b.Name == "interactive") {
			b.Value, b.Hidden = terminal, true
		}
	}
	cmd.Description += "\nIt has a terminal and what is typed if you have a terminal."
	cmd.Flags = append(cmd.Flags, &cli.BoolFlag{Name: "no-tty", Aliases: []string{"T"}, Usage: "no terminal"})
	cmd.Action = takes(2, -1, "a service and a command", func(c *cli.Context) error {
		if c.Bool("no-tty") {
			if err := c.Set("tty", "false"); err != nil {
				return err
			}
		}
		return runExec(c, func(service string) (*disk.Container, error) {
			found, err := p.members(service)
			if err != nil {
				return nil, err
			}
			return found[0].Container, nil
		})
	})
	return cmd
}
