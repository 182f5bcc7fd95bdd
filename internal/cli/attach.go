// The command tiffin attach: the terminal is connected to a container that runs.

package cli

import (
	"os"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"

	"github.com/urfave/cli/v2"
)

func attachCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER",
		Description: "Ctrl-P Ctrl-Q, or the --detach-keys, leave a container with a terminal; it runs on.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-stdin", Usage: "only look"},
			detachKeysFlag(), sigProxyFlag(),
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
			return attachTo(c, ctr, t)
		}),
	}
}

// sigProxyFlag is of run and attach.
func sigProxyFlag() cli.Flag {
	return &cli.BoolFlag{Name: "sig-proxy", Value: true, Usage: "hand signals on to the command; with =false they end this client, and a container with -t gets none anyway"}
}

// attachTo stays with a container that runs.
func attachTo(c *cli.Context, ctr *disk.Container, t *terminal) error {
	t.name, t.unproxied = ctr.Name, c.IsSet("sig-proxy") && !c.Bool("sig-proxy")
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
}
