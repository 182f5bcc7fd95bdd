// tiffin rm: containers are deleted, with all that they have changed.

package cli

import (
	"github.com/urfave/cli/v2"

	"tiffin/internal/container"
)

func rmCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER…",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill it first if it runs; a missing one is no error"},
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "for docker's sake; there are no anonymous volumes", Hidden: true},
		},
		Action: func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			set.Sweep()
			if c.Bool("force") && c.Args().Len() == 0 {
				return nil // rm -f $(ps -aq) of nothing
			}
			return onContainers(c, func(ctr *container.Container) error { return ctr.Remove(c.Bool("force")) })
		},
	}
}
