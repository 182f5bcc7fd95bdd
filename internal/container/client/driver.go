// Which driver a new container gets if --driver does not say.

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

// fuseError says what is wrong with /dev/fuse, nil if nothing is.
func fuseError() error {
	err := ns.ProbeFUSE()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return errors.New("/dev/fuse is not the device of FUSE")
	}
	return fmt.Errorf("/dev/fuse cannot be opened (%w)", err)
}

// withoutFUSE is err, or why a container cannot be served any more whose driver was there when it
// was made.
func withoutFUSE(c *disk.Container, err error) error {
	why := fuseError()
	if why == nil || c.DriverName() != disk.DriverFUSE || errors.Is(err, layer.ErrCorrupt) {
		return err
	}
	return errs.Hint(fmt.Errorf("container %s was made with --driver fuse, and %w", c.Name, why),
		"`tiffin commit` what it has changed, and run that image: a driver that works is chosen then")
}

// PickDriver returns the first driver that works for containers in root/containers, with one id
// or with all, as Config.Driver has it. why says what is wrong with those before it. Each is tried,
// the first in some microseconds, the second in some milliseconds.
func PickDriver(root string, single bool) (driver string, why error) {
	if why = fuseError(); why == nil {
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
	return probe.Overlay(dir, single)
}
