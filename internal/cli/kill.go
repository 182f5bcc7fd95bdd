// The command tiffin kill: a signal goes to the first process of a container.

package cli

import (
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

func killCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Value: "KILL", Usage: "`SIGNAL` to send, a name or a number"},
		},
		Action: func(c *cli.Context) error {
			sig, err := disk.ParseSignal(c.String("signal"))
			if err != nil {
				return err
			}
			return onEach(c, many, false, func(ctr *disk.Container) error { return client.Kill(ctr, sig) })
		},
	}
}
