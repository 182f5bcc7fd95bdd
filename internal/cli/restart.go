// The command tiffin restart: containers are stopped and started again.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func restartCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER…",
		Description: "What it has changed stays, as with stop and start.",
		Flags: []cli.Flag{
			timeFlag(),
		},
		Action: inStore(func(c *cli.Context, store *image.Store) error {
			seconds := stopTime(c)
			return onContainers(c, func(ctr *disk.Container) error {
				if ctr.AutoRemove {
					return errs.Hint(fmt.Errorf("container %s has --rm: it would be deleted, not restarted", ctr.Name), "`tiffin stop` it, and run another")
				}
				if err := client.Stop(ctr, seconds); err != nil {
					return err
				}
				return startDetached(store, ctr, nil)
			})
		}),
	}
}
