package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container"
	"tiffin/internal/errs"
)

// onContainers is the action of a command that does one thing to each
// container named, and prints the name when it is done.
func onContainers(c *cli.Context, do func(*container.Container) error) error {
	if err := wantArgs(c, 1, -1, "one or more containers"); err != nil {
		return err
	}
	set, err := containers()
	if err != nil {
		return err
	}
	return eachArg(c, func(ref string) error {
		ctr, err := set.Find(ref)
		if err != nil {
			return err
		}
		if err := do(ctr); err != nil {
			return err
		}
		fmt.Println(ref)
		return nil
	})
}

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
			return onContainers(c, func(ctr *container.Container) error {
				if c.IsSet("signal") {
					ctr.StopSignal = c.String("signal")
				}
				return ctr.Stop(seconds)
			})
		},
	}
}

func restartCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER…",
		Description: "What it has changed stays, as with stop and start.",
		Flags: []cli.Flag{
			timeFlag(),
		},
		Action: func(c *cli.Context) error {
			store, err := openStore(c)
			if err != nil {
				return err
			}
			seconds := stopTime(c)
			return onContainers(c, func(ctr *container.Container) error {
				if ctr.AutoRemove {
					return errs.Hint(fmt.Errorf("container %s has --rm: it would be deleted, not restarted", ctr.Name), "`tiffin stop` it, and run another")
				}
				if err := ctr.Stop(seconds); err != nil {
					return err
				}
				return startDetached(c, store, ctr)
			})
		},
	}
}

func renameCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER NAME",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 2, 2, "a container and its new name"); err != nil {
				return err
			}
			set, err := containers()
			if err != nil {
				return err
			}
			ctr, err := set.Find(c.Args().Get(0))
			if err != nil {
				return err
			}
			return set.Rename(ctr, c.Args().Get(1))
		},
	}
}

func killCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Value: "KILL", Usage: "`SIGNAL` to send, a name or a number"},
		},
		Action: func(c *cli.Context) error {
			sig, err := container.ParseSignal(c.String("signal"))
			if err != nil {
				return err
			}
			return onContainers(c, func(ctr *container.Container) error { return ctr.Kill(sig) })
		},
	}
}

func waitCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER…",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, -1, "one or more containers"); err != nil {
				return err
			}
			return eachArg(c, func(ref string) error {
				ctr, err := findContainer(ref)
				if err != nil {
					return err
				}
				code, err := ctr.Wait()
				if err != nil {
					return err
				}
				fmt.Println(code)
				return nil
			})
		},
	}
}

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
