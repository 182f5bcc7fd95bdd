// The commands of tiffin compose that do to the containers of a project what the commands of those
// names do to one: stop, start, restart, kill, rm. Those that others depend on are stopped last and
// started first.

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

func (p *composition) stopCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Flags:     []cli.Flag{timeFlag()},
		Action: func(c *cli.Context) error {
			all, err := p.members(c.Args().Slice()...)
			if err != nil {
				return err
			}
			return stopMembers(all, stopTime(c))
		},
	}
}

func stopMembers(all []member, seconds *int) error {
	return endMembers(all, func(m member) error {
		err := client.Stop(m.Container, seconds)
		if err == nil {
			fmt.Fprintf(stderr, "container %s: stopped\n", m.Name)
		}
		return err
	})
}

func (p *composition) startCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[SERVICE…]",
		Action: inStore(func(c *cli.Context, store *image.Store) error {
			all, err := p.members(c.Args().Slice()...)
			if err != nil {
				return err
			}
			return startMembers(store, all)
		}),
	}
}

func startMembers(store *image.Store, all []member) error {
	for _, m := range all { // the oldest first: what others depend on was made before these
		if err := startDetached(store, m.Container, nil); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "container %s: started\n", m.Name)
	}
	return nil
}

func (p *composition) restartCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Flags:     []cli.Flag{timeFlag()},
		Action: inStore(func(c *cli.Context, store *image.Store) error {
			all, err := p.members(c.Args().Slice()...)
			if err == nil {
				err = stopMembers(all, stopTime(c))
			}
			if err == nil {
				err = startMembers(store, all)
			}
			return err
		}),
	}
}

func (p *composition) killCommand() *cli.Command {
	cmd := killCommand()
	cmd.ArgsUsage = "[FLAGS] [SERVICE…]"
	cmd.Action = func(c *cli.Context) error {
		sig, err := disk.ParseSignal(c.String("signal"))
		if err != nil {
			return err
		}
		all, err := p.members(c.Args().Slice()...)
		for _, m := range all {
			if e := client.Kill(m.Container, sig); !errors.Is(e, client.ErrNotRunning) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	return cmd
}

func (p *composition) rmCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "stop", Aliases: []string{"s"}, Usage: "stop them first"},
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "their volumes without a name go, too"},
		},
		Action: func(c *cli.Context) error {
			all, err := p.members(c.Args().Slice()...)
			if err == nil && c.Bool("stop") {
				err = stopMembers(all, nil)
			}
			if err != nil {
				return err
			}
			var still []member
			var names []string
			for _, m := range all {
				if s, err := m.State(); err == nil && s.Status != disk.Running {
					still, names = append(still, m), append(names, m.Name)
				}
			}
			if len(still) == 0 || !c.Bool("force") && !confirm("This deletes "+strings.Join(names, ", ")+". Continue? [y/N] ") {
				return nil
			}
			remove := client.Remove
			if c.Bool("volumes") {
				remove = client.RemoveWithVolumes
			}
			return endMembers(still, func(m member) error {
				err := remove(m.Container, false)
				if err == nil {
					fmt.Fprintln(stdout, m.Name)
				}
				return err
			})
		},
	}
}
