// The command tiffin stop: containers are asked to end, and made to after some seconds.

package cli

import (
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

func timeFlag() cli.Flag {
	return &cli.IntFlag{Name: "time", Aliases: []string{"t", "timeout"}, Value: 10, Usage: "`SECONDS` to wait before killing; -1: for ever"}
}

// stopTime is what timeFlag says, nil for the container's own time.
func stopTime(c *cli.Context) *int {
	if !c.IsSet("time") {
		return nil
	}
	n := c.Int("time")
	return &n
}

func stopCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER…",
		Description: "Sends the container's stop signal (SIGTERM, unless its image says otherwise), and SIGKILL if that did not help.",
		Flags: []cli.Flag{
			timeFlag(),
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "`SIGNAL` to send first"},
		},
		Action: func(c *cli.Context) error {
			seconds := stopTime(c)
			return onEach(c, many, false, func(ctr *disk.Container) error {
				if c.IsSet("signal") {
					ctr.StopSignal = c.String("signal")
				}
				return client.Stop(ctr, seconds)
			})
		},
	}
}
