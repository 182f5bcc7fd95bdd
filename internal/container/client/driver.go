// Which driver a new container gets if --driver does not say, and what keeps one from working.

package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// fuseError says what is wrong with /dev/fuse, nil if nothing is: what opening it shows, in some
// microseconds, and if mount is true also what mounting it does, in some milliseconds.
func fuseError(mount bool) error {
	err := ns.ProbeFUSE()
	switch {
	case errors.Is(err, unix.ENODEV):
		return errors.New("/dev/fuse is not the device of FUSE")
	case err != nil:
		return fmt.Errorf("/dev/fuse cannot be opened (%w)", err)
	case mount:
		if r, err := probe.FUSE(); err == nil && !r.OK {
			return errors.New(r.Why)
		}
	}
	return nil
}

// withoutDriver is err, or why the driver of a container that could not be served does not work
// here, found by trying it.
func withoutDriver(c *disk.Container, err error) error {
	switch {
	case errors.Is(err, layer.ErrCorrupt):
	case c.Driver == "":
		if why := fuseError(true); why != nil {
			return errs.Hint(fmt.Errorf("container %s was made with --driver fuse, and %w", c.Name, why),
				"`tiffin commit` what it has changed, and run that image: a driver that works is chosen then")
		}
	case c.Overlaid():
		if why, e := tryOverlay(filepath.Dir(filepath.Dir(c.Dir())), c.SingleID); e == nil && why != nil {
			return errs.Hint(fmt.Errorf("container %s was made with --driver %s, and %w", c.Name, c.Driver, why),
				"set TIFFIN_RUN_ROOT to a directory on another disk, or leave --driver out")
		}
	}
	return err
}

// PickDriver returns the first driver that works for containers in root/containers, with one id
// or with all, as Config.Driver has it. why says what is wrong with those before it. Each is tried,
// the first in some microseconds, the second in some milliseconds; with mount also whether FUSE can
// be mounted, which no kernel with /dev/fuse has been seen to refuse but for a policy.
func PickDriver(root string, single, mount bool) (driver string, why error) {
	if why = fuseError(mount); why == nil {
		return "", nil
	}
	overlay, err := tryOverlay(root, single)
	if err != nil {
		return "", nil // there will be no container
	}
	if overlay == nil {
		return disk.DriverOverlay, why
	}
	return disk.DriverCopy, fmt.Errorf("%w, and %w", why, overlay)
}

// tryOverlay mounts and uses an overlayfs whose directories are where those of a container would
// be, or, before there is a store, in the closest directory above it.
func tryOverlay(root string, single bool) (why, err error) {
	place := filepath.Join(root, "tmp")
	for _, err := os.Lstat(place); err != nil && place != "/"; _, err = os.Lstat(place) {
		place = filepath.Dir(place)
	}
	tmp, err := os.Open(place)
	if err != nil {
		return err, nil
	}
	defer tmp.Close()
	if err := unix.Flock(int(tmp.Fd()), unix.LOCK_SH); err != nil { // nobody cleans up there meanwhile
		return os.NewSyscallError("flock", err), nil
	}
	dir, err := os.MkdirTemp(place, ".tiffin-probe-")
	if err != nil {
		return err, nil
	}
	defer os.RemoveAll(dir)
	r, err := probe.Overlay(dir, single)
	if err == nil && !r.OK {
		why = errors.New(r.Why)
	}
	return why, err
}
