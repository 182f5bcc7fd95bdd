// The flag --device: devices of this machine that the container gets.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// setDevices adds a volume for each device: mknod(2) is refused in a user namespace, so the
// machine's own is bound, on a mount that is not nodev. Whether it can be opened, its owner and
// mode say, as outside.
func setDevices(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	dirs := c.StringSlice("cdi-spec-dir")
	names, err := gpus(dirs, c.String("gpus"))
	if err != nil {
		return err
	}
	for _, s := range c.StringSlice("device") {
		if isCDI(s) {
			names = append(names, s)
			continue
		}
		devices, err := parseDevice(s)
		if err != nil {
			return fmt.Errorf("--device %s: %w", s, err)
		}
		cfg.Volumes = append(cfg.Volumes, devices...)
	}
	if len(names) > 0 {
		return addCDI(cfg, dirs, names)
	}
	return nil
}

// everyContainers are the names that each container has in its own /dev.
var everyContainers = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console",
	"/dev/ptmx", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/core", "/dev/stdin", "/dev/stdout", "/dev/stderr"}

// links are those of them that lead to something else for each process, or to a directory.
var links = []string{"/dev/fd", "/dev/core", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/ptmx"}

// devicesAt are the device that is at src, or all below that directory but for everyContainers.
// Target is as if src were dst. A directory that cannot be read is an error if all are wanted.
func devicesAt(src, dst string, all bool) (list []disk.Volume, err error) {
	err = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == src:
			return errors.Unwrap(err) // the flag names the path already
		case err != nil && !all:
			return fs.SkipDir
		case err != nil:
			return err
		case path != src && slices.Contains(everyContainers, path):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		fi, err := os.Stat(path) // /dev has links to devices
		switch {
		case err != nil && !all:
			return nil
		case err != nil || fi.Mode()&fs.ModeDevice == 0:
			return err
		}
		rel, err := filepath.Rel(src, path)
		list = append(list, disk.Volume{Source: path, Target: filepath.Join(dst, rel)})
		return err
	})
	return list, err
}

// openable are the devices of /dev that this user can open, but for terminals: what --privileged
// adds, podman-run(1).
func openable() []disk.Volume {
	list, _ := devicesAt("/dev", "/dev", false)
	return slices.DeleteFunc(list, func(v disk.Volume) bool {
		return strings.HasPrefix(v.Source, "/dev/tty") || unix.Access(v.Source, unix.R_OK|unix.W_OK) != nil
	})
}

// parseDevice reads PATH[:PATH[:rwm]], docker-run(1); of a directory it takes all devices below.
func parseDevice(s string) (list []disk.Volume, err error) {
	part := strings.Split(s, ":")
	src, dst := part[0], part[0]
	if len(part) > 1 {
		dst = part[1]
	}
	switch {
	case len(part) > 3 || !filepath.IsAbs(src) || !filepath.IsAbs(dst) || filepath.Clean(dst) == "/":
		return nil, fmt.Errorf("it is not PATH, PATH:PATH or PATH:PATH:rwm, with absolute paths")
	case len(part) == 3 && (strings.Trim(part[2], "rwm") != "" || !strings.Contains(part[2], "r") || !strings.Contains(part[2], "w")):
		return nil, errs.Hint(fmt.Errorf("%q cannot be had: a mount takes neither reading nor writing from a device", part[2]), "leave it out; the device's mode decides")
	}
	for _, path := range []string{src, dst} {
		if slices.Contains(links, filepath.Clean(path)) {
			return nil, errs.Hint(fmt.Errorf("each container has its own %s, which can be neither replaced nor handed in", path),
				"without --device it is there")
		}
	}
	list, err = devicesAt(src, dst, true)
	if err == nil && len(list) == 0 {
		err = errs.Hint(fmt.Errorf("it is no device, and no directory with devices"), "for other files use -v")
	}
	return list, err
}
