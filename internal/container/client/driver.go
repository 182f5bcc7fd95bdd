// Which driver a new container gets if --driver does not say.

package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// PickDriver returns the first driver that works for containers in root/containers, with one id
// or with all, as Config.Driver has it. why says what is wrong with those before it. Each is tried,
// the first in some microseconds, the second in some milliseconds.
func PickDriver(root string, single bool) (driver string, why error) {
	fuse := ns.ProbeFUSE()
	if fuse == nil {
		return "", nil
	}
	why = fmt.Errorf("/dev/fuse cannot be opened (%w)", fuse)
	if errors.Is(fuse, unix.ENODEV) {
		why = errors.New("/dev/fuse is not the device of FUSE")
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
