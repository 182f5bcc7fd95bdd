// What the commands about containers share: the user's set of containers, and doing one thing to
// each container named.

package cli

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"tiffin/image/store"
	"tiffin/internal/container/disk"
)

// onContainers is the action of a command that does one thing to each container named, one after
// the other, and prints the name when it is done.
func onContainers(c *cli.Context, do func(*disk.Container) error) error {
	return onEach(c, 1, false, do)
}

// many is how many containers are worked on at a time where the order does not matter, and most of
// the work is to wait for processes to end.
const many = 16

// onEach is onContainers for up to atOnce containers at a time; names and errors still come in the
// order of the arguments. If gone is true, a container that is not there is passed over, and so is
// one that an earlier argument has named: it will not be there.
func onEach(c *cli.Context, atOnce int, gone bool, do func(*disk.Container) error) error {
	if err := wantArgs(c, 1, -1, "one or more containers"); err != nil {
		return err
	}
	set, err := containers()
	if err != nil {
		return err
	}
	refs := c.Args().Slice()
	results := make([]chan error, len(refs))
	for i := range refs {
		results[i] = make(chan error, 1)
	}
	go func() {
		var all errgroup.Group
		all.SetLimit(atOnce)
		named := map[string]bool{} // ids
		for i, ref := range refs {
			ctr, err := set.Find(ref)
			if err == nil && gone && named[ctr.ID] {
				err = disk.ErrNotFound
			} else if err == nil {
				named[ctr.ID] = true
			}
			all.Go(func() error {
				if err == nil {
					err = do(ctr)
				}
				results[i] <- err
				return nil
			})
		}
	}()
	next := 0
	return eachArg(c, func(ref string) error {
		err := <-results[next]
		if next++; gone && errors.Is(err, disk.ErrNotFound) {
			return nil
		}
		if err == nil {
			fmt.Fprintln(stdout, ref)
		}
		return err
	})
}

// containers returns the containers of the user's store, without opening its
// images.
func containers() (*disk.Set, error) {
	root, err := store.DefaultRoot()
	if err != nil {
		return nil, err
	}
	return containersOf(root)
}

// containersOf returns the containers of images in the store at root.
func containersOf(root string) (*disk.Set, error) {
	if err := store.CheckFormat(root); err != nil {
		return nil, err
	}
	run, err := disk.RunRoot(root)
	if err == nil {
		err = store.Owned(run, map[bool]string{true: "TIFFIN_ROOT", false: "TIFFIN_RUN_ROOT"}[run == root])
	}
	return disk.At(root, run), err
}

func findContainer(ref string) (*disk.Container, error) {
	set, err := containers()
	if err != nil {
		return nil, err
	}
	return set.Find(ref)
}
