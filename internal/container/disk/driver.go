// The drivers: who merges the layers, and where what a container writes is kept.

package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tiffin/image/sidecar"
	"tiffin/internal/errs"
)

// The drivers of a container's root: who merges the layers with its own directory.
const (
	DriverFUSE     = "fuse"     // package fs; also ""
	DriverOverlay  = "overlay"  // the kernel's overlayfs, over package fs; without /dev/fuse as DriverUnpacked
	DriverUnpacked = "unpacked" // the kernel's overlayfs, over the image unpacked once for all its containers
	DriverCopy     = "copy"     // nobody: the container has all files of its image unpacked
)

// Drivers are the values of --driver.
var Drivers = []string{DriverFUSE, DriverOverlay, DriverUnpacked, DriverCopy}

// ParseDriver checks the name of a driver, and returns it as Config.Driver has it.
func ParseDriver(name string) (string, error) {
	if name == DriverFUSE {
		return "", nil
	}
	if name == "" || slices.Contains(Drivers, name) {
		return name, nil
	}
	return "", errs.Hint(fmt.Errorf("--driver %q is not one of %s", name, strings.Join(Drivers, ", ")), "without --driver the first that works is used; see chapter 3 of the book, \"When something is missing\"")
}

// DriverName is the driver's name in full.
func (c *Config) DriverName() string {
	if c.Driver == "" {
		return DriverFUSE
	}
	return c.Driver
}

// Overlaid tells whether the container's root is an overlayfs of the kernel.
func (c *Config) Overlaid() bool { return c.Driver == DriverOverlay || c.Driver == DriverUnpacked }

// Walled tells whether the container's files are on disk with the owners and modes that it sees,
// behind a wall: with every driver but tiffin's own.
func (c *Config) Walled() bool { return c.Driver != "" }

// Wall is the directory that keeps others from what the kernel has written for the container. The
// first start fills it.
func (c *Container) Wall() string { return c.Path("overlay") }

// UpperDir is where what the container changes is; with DriverCopy, all that it has.
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

// UpperTmpfs begins the value of Config.Upper of a container that changes nothing on disk.
const UpperTmpfs = "tmpfs"

// InMemory tells whether what the container changes is in a tmpfs of its supervisor's, and gone
// with that: if it was asked for, or is no more than what mounts need, because of --read-only.
func (c *Config) InMemory() bool { return !c.Walled() && (c.Upper != "" || c.ReadOnly) }

// Memory is where that tmpfs is mounted.
func (c *Container) Memory() string { return c.Path("memory") }

func (c *Container) own(name string) string {
	if c.InMemory() {
		return filepath.Join(c.Memory(), name)
	}
	if c.Walled() {
		return filepath.Join(c.Wall(), name)
	}
	return c.Path(name)
}
