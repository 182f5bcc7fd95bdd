// The two drivers: who merges the layers.

package disk

import (
	"fmt"
	"os"
	"path/filepath"

	"tiffin/image/sidecar"
	"tiffin/internal/errs"
)

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

// Overlay tells whether the kernel merges the layers with the upper directory.
func (c *Config) Overlay() bool { return c.Driver == DriverOverlay }

// Wall is the directory that keeps others from what the kernel's overlayfs has written. The first
// start fills it.
func (c *Container) Wall() string { return c.Path("overlay") }

// UpperDir is where what the container changes is.
func (c *Container) UpperDir() string { return c.own("upper") }

// WorkDir is where the driver prepares changes.
func (c *Container) WorkDir() string { return c.own("work") }

// Attributes says where the attributes of the upper directory's files are: a sidecar's path, or
// "xattr", at the files themselves.
func (c *Container) Attributes() string {
	path := sidecar.Path(c.UpperDir())
	if _, err := os.Stat(path); err != nil {
		return "xattr"
	}
	return path
}

func (c *Container) own(name string) string {
	if c.Overlay() {
		return filepath.Join(c.Wall(), name)
	}
	return c.Path(name)
}
