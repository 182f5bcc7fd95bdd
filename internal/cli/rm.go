// The command tiffin rm: containers are deleted, with all that they have changed.

package cli

import (
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
			force := c.Bool("force")
			if force && c.Args().Len() == 0 {
				return nil // rm -f $(ps -aq) when there are no containers
			}
			// With force, what is to be gone may be gone, as with docker.
			return onEach(c, many, force, func(ctr *disk.Container) error { return remove(ctr, force) })
		},
	}
}
