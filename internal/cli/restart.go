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

// restartFlag is of run, create and update.
func restartFlag() cli.Flag {
	return &cli.StringFlag{Name: "restart", Usage: "when it has ended, start it again: `no`, on-failure[:N] (at most N times), unless-stopped or always; not one that was stopped, and not when this machine comes up"}
}

// updateRestart changes the policy of a container, which has a keeper then if it runs.
func updateRestart(ctr *disk.Container, policy string) error {
	r, err := disk.ParseRestart(policy)
	if err == nil && r.Policy != "" && ctr.AutoRemove {
		err = fmt.Errorf("container %s has --rm, which --restart contradicts", ctr.Name)
	}
	if err == nil {
		err = ctr.SetRestart(r)
	}
	if err != nil {
		return err
	}
	s, err := ctr.State()
	switch {
	case err != nil || !s.Alive():
		return err
	case r.Policy == "":
		ctr.Forsake()
		return nil
	}
	return client.Keep(ctr)
}

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
