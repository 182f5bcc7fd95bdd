// The commands tiffin pause and tiffin unpause: all processes of a container stop, and go on.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

func pauseCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER…",
		Description: "A container with a control group (any limit, or --limits cgroup) is frozen, which nothing in it can see: cgroups(7).\n" +
			"The processes of others get SIGSTOP: a parent in the container can see that, and undo it.",
		Action: func(c *cli.Context) error {
			return onEach(c, many, false, func(ctr *disk.Container) error {
				if err := client.Suspend(ctr); err != nil {
					return err
				}
				if s, err := ctr.State(); err == nil && s.Cgroup == "" {
					fmt.Fprintf(stderr, "tiffin: note: container %s has no control group: its processes were sent SIGSTOP, which they can see\n", ctr.Name)
				}
				return nil
			})
		},
	}
}

func unpauseCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER…",
		Action:    func(c *cli.Context) error { return onEach(c, many, false, client.Resume) },
	}
}
