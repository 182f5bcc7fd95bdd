// The command tiffin exec: one more command in a container that runs.

package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func execCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER COMMAND [ARGUMENT…]",
		Description: "The exit status is that of the command; 126 if it could not be executed, 127 if it was not found.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "hand on standard input"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the command a terminal"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running; its output is lost"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `VAR=VALUE`, or hand on VAR from here"},
			&cli.StringSliceFlag{Name: "env-file", Usage: "set what `FILE` says, one VAR=VALUE a line"},
			envHostFlag(),
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
			newExplainFlag(), detachKeysFlag(),
		},
		Action: takes(2, -1, "a container and a command", func(c *cli.Context) error { return runExec(c, findContainer) }),
	}
}

// runExec runs the command in the container that find returns for the first argument.
func runExec(c *cli.Context, find func(string) (*disk.Container, error)) error {
	t, err := terminalOf(c, c.Bool("tty"), c.Bool("interactive"))
	if err != nil {
		return err
	}
	detach := c.Bool("detach")
	if !detach {
		if err := t.check(); err != nil {
			return err
		}
	}
	ctr, err := find(c.Args().First())
	if err != nil {
		return errs.Code(err, exitFailure)
	}
	o := control.Exec{
		Args: c.Args().Tail(), Dir: c.String("workdir"), User: c.String("user"),
		TTY: t.tty, Stdin: t.input, Detach: detach,
	}
	if o.Env, err = givenEnvironment(c); err != nil {
		return err
	}
	o.Rows, o.Cols = t.size()
	explain := newExplainer(c, t.errors()).execTeller()
	if detach {
		s, err := client.Exec(ctr, o, explain, nil, nil)
		if err != nil {
			return execError(ctr, err)
		}
		return s.Detach()
	}
	return t.follow(func() (*client.Session, error) {
		<-t.caught // a signal may come as soon as the command prints something
		s, err := client.Exec(ctr, o, explain, os.Stdout, os.Stderr)
		return s, execError(ctr, err)
	})
}

func execError(ctr *disk.Container, err error) error {
	if errors.Is(err, client.ErrNotRunning) {
		return errs.Code(errs.Hint(err, fmt.Sprintf("`tiffin start %s` runs its command again", ctr.Name)), exitFailure)
	}
	return err
}
