// What the commands about containers share: the user's set of containers, and doing one thing to
// each container named.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/image/store"
	"tiffin/internal/container/disk"
)

// onContainers is the action of a command that does one thing to each
// container named, and prints the name when it is done.
func onContainers(c *cli.Context, do func(*disk.Container) error) error {
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
		fmt.Fprintln(stdout, ref)
		return nil
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
