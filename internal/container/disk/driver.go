// The two drivers: who merges the layers.

package disk

import (
	"fmt"

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
