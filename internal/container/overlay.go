package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// Contract of this file: containers with --driver overlay, whose upper directory belongs to the kernel's overlayfs.
// The file system of package fs serves their layers only, read-only.

// The drivers of a container's root: who merges the layers with its own directory.
const (
	DriverFUSE    = "fuse"    // package fs; also ""
	DriverOverlay = "overlay" // the kernel's overlayfs
)

// ParseDriver checks the name of a driver, and returns it as Config.Driver has it.
func ParseDriver(name string) (string, error) {
	switch name {
	case "", DriverFUSE:
		return "", nil
	case DriverOverlay:
		return name, nil
	}
	return "", errs.Hint(fmt.Errorf("driver %q is not there", name), "use fuse (the default) or overlay (the kernel's own; see the README, \"The kernel's overlayfs\")")
}

func (c *Config) overlay() bool { return c.Driver == DriverOverlay }

// prepareUpper gives a new upper directory what the image's root directory has: the root of an overlay mount is shown
// as the root of its upper directory is. It is called in the user namespace, and marks what it has done.
func prepareUpper(dir string, x *layer.Index, ids ns.IDMap) error {
	fail := func(err error) error {
		return errs.Hint(fmt.Errorf("prepare the upper directory %s: %w", dir, err), "its file system must take extended attributes user.*; see xattr(7)")
	}
	if _, err := unix.Getxattr(dir, layer.XattrOrigin, nil); err == nil {
		return nil // by an earlier run, since when root in the container may have changed it
	}
	root := x.Inode(0)
	if err := os.Chown(dir, int(ids.MapUID(root.UID)), int(ids.MapGID(root.GID))); err != nil {
		return fail(err)
	}
	if err := unix.Chmod(dir, root.Mode&0o7777); err != nil {
		return fail(err)
	}
	when := time.Unix(root.Mtime, int64(root.Nsec))
	if err := os.Chtimes(dir, when, when); err != nil {
		return fail(err)
	}
	if err := unix.Setxattr(dir, layer.XattrOrigin, []byte("0"), 0); err != nil {
		return fail(err)
	}
	return nil
}

// clearWork removes what overlayfs has left in the work directory: a directory that only root in the user namespace
// may enter, so that `rm -rf` of the store would stumble over it.
func (c *Container) clearWork() { _ = os.RemoveAll(c.path("work/work")) }

// delta is what a container has changed in its image.
type delta interface {
	Changes() ([]layer.Change, error)
	WriteDiff(w io.Writer) error
}

// ownDelta is that of tiffin's own file system: every file is the user's.
type ownDelta struct{ u *layer.Upper }

func (d ownDelta) Changes() ([]layer.Change, error) { return layer.Changes(d.u) }
func (d ownDelta) WriteDiff(w io.Writer) error      { return layer.WriteDiff(w, d.u) }

// kernelDelta is that of the kernel's overlayfs.
type kernelDelta struct {
	c   *Container
	req *insideRequest
}

func (d kernelDelta) Changes() (list []layer.Change, err error) {
	var text bytes.Buffer
	if err := d.c.inside(opDiff, d.req, &text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text.Bytes(), &list); err != nil {
		return nil, fmt.Errorf("read the changes of container %s: %w", d.c.Name, err)
	}
	return list, nil
}

func (d kernelDelta) WriteDiff(w io.Writer) error { return d.c.inside(opPack, d.req, w) }
