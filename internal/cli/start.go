// The command tiffin start: a container that was created, or has ended, runs again.

package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

func startCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER…",
		Description: "With --attach the exit status is that of the container's command, as with run.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "attach", Aliases: []string{"a"}, Usage: "stay with it: its output and signals are yours"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "hand on standard input; implies --attach"},
			newExplainFlag(), stepFlag(), detachKeysFlag(),
		},
		Action: takes(1, -1, "one or more containers", inStore(func(c *cli.Context, store *image.Store) error {
			if c.Bool("attach") || c.Bool("interactive") {
				if c.Args().Len() > 1 {
					return usagef("only one container can be attached to")
				}
				return startAttached(c, store)
			}
			return onContainers(c, func(ctr *disk.Container) error {
				explain, err := newStepper(c, nil)
				if err != nil {
					return err
				}
				return startDetached(store, ctr, explain)
			})
		})),
	}
}

// prepareStart locks a container that exists and finds its image.
func prepareStart(store *image.Store, ctr *disk.Container) (*os.File, *cache.Mountable, error) {
	img, err := store.ResolveLazy(ctr.ImageID)
	if err != nil {
		return nil, nil, fmt.Errorf("start container %s: %w", ctr.Name, err)
	}
	m, err := store.Mountable(img)
	if err != nil {
		return nil, nil, fmt.Errorf("start container %s: %w", ctr.Name, err)
	}
	lock, err := ctr.Lock()
	if errors.Is(err, disk.ErrLocked) {
		if s, e := ctr.State(); e == nil && s.Alive() {
			err = errs.Hint(fmt.Errorf("container %s is running already", ctr.Name), "`tiffin exec` runs a further command in it, `tiffin attach` shows its output")
		}
	}
	return lock, m, err
}

func startDetached(store *image.Store, ctr *disk.Container, explain func(*ns.Spec, ns.Report, *client.Pause) error) error {
	if s, err := ctr.State(); err == nil && s.Alive() {
		return nil // as it was asked for
	}
	lock, m, err := prepareStart(store, ctr)
	if err != nil {
		return err
	}
	s, err := start(client.NewLaunch(store.Root(), nil, nil).MapIDs(ctr.SingleID), ctr, lock, m, false, nil, client.StartOptions{Explain: explain})
	if err != nil {
		return err
	}
	return s.Detach()
}

func startAttached(c *cli.Context, store *image.Store) error {
	ctr, err := findContainer(c.Args().First())
	if err != nil {
		return err
	}
	t, err := terminalOf(c, ctr.TTY, ctr.Stdin && c.Bool("interactive"))
	if err != nil {
		return err
	}
	if s, err := ctr.State(); err == nil && s.Status == disk.Running {
		return attachTo(c, ctr, t)
	}
	t.name = ctr.Name
	if err := t.check(); err != nil {
		return err
	}
	explain, err := newStepper(c, t)
	if err != nil {
		return err
	}
	lock, m, err := prepareStart(store, ctr)
	if err != nil {
		return err
	}
	return t.follow(func() (*client.Session, error) {
		return start(client.NewLaunch(store.Root(), os.Stderr, nil).MapIDs(ctr.SingleID), ctr, lock, m, false, t, client.StartOptions{Explain: explain})
	})
}
