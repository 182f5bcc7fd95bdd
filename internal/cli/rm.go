// The command tiffin rm: containers are deleted, with all that they have changed.

package cli

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

func rmCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER…",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill it first if it runs; a missing one is no error"},
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "its volumes without a name go, too"},
		},
		Action: func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			client.Sweep(set)
			remove := client.Remove
			if c.Bool("volumes") {
				remove = client.RemoveWithVolumes
			}
			if c.Bool("force") && c.Args().Len() == 0 {
				return nil // rm -f $(ps -aq) when there are no containers
			}
			if !c.Bool("force") {
				return onContainers(c, func(ctr *disk.Container) error { return remove(ctr, false) })
			}
			return eachArg(c, func(ref string) error {
				ctr, err := set.Find(ref)
				if errors.Is(err, disk.ErrNotFound) {
					return nil // as with docker: what is to be gone is gone
				}
				if err == nil {
					err = remove(ctr, true)
				}
				if err == nil {
					fmt.Fprintln(stdout, ref)
				}
				return err
			})
		},
	}
}
