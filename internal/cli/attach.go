// The command tiffin attach: the terminal is connected to a container that runs.

package cli

import (
	"os"

	"tiffin/internal/container/client"

	"github.com/urfave/cli/v2"
)

func attachCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER",
		Description: "Ctrl-P Ctrl-Q, or the --detach-keys, leave a container with a terminal; it runs on.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-stdin", Usage: "only look"},
			detachKeysFlag(),
		},
		Action: takes(1, 1, "one container", func(c *cli.Context) error {
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			t, err := terminalOf(c, ctr.TTY, ctr.Stdin && !c.Bool("no-stdin"))
			if err != nil {
				return err
			}
			if err := t.check(); err != nil {
				return err
			}
			return t.follow(func() (*client.Session, error) {
				s, err := client.Attach(ctr, os.Stdout, os.Stderr)
				if err == nil {
					t.resize(s)
				}
				return s, err
			})
		}),
	}
}
