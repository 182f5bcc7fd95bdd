// The flag --device: devices of this machine that the container gets.

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// setDevices adds a volume for each device: mknod(2) is refused in a user namespace, so the
// machine's own is bound, on a mount that is not nodev. Whether it can be opened, its owner and
// mode say, as outside.
func setDevices(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	for _, s := range c.StringSlice("device") {
		devices, err := parseDevice(s)
		if err != nil {
			return fmt.Errorf("--device %s: %w", s, err)
		}
		cfg.Volumes = append(cfg.Volumes, devices...)
	}
	return nil
}

// parseDevice reads PATH[:PATH[:rwm]], docker-run(1); of a directory it takes all devices below.
func parseDevice(s string) (list []disk.Volume, err error) {
	part := strings.Split(s, ":")
	src, dst := part[0], part[0]
	if len(part) > 1 {
		dst = part[1]
	}
	switch {
	case !strings.HasPrefix(src, "/") && strings.Contains(src, "="):
		return nil, errs.Hint(fmt.Errorf("names of the Container Device Interface are not looked up"), "name the device's files, such as /dev/dri, and its libraries with -v")
	case len(part) > 3 || !filepath.IsAbs(src) || !filepath.IsAbs(dst) || filepath.Clean(dst) == "/":
		return nil, fmt.Errorf("it is not PATH, PATH:PATH or PATH:PATH:rwm, with absolute paths")
	case len(part) == 3 && (strings.Trim(part[2], "rwm") != "" || !strings.Contains(part[2], "r") || !strings.Contains(part[2], "w")):
		return nil, errs.Hint(fmt.Errorf("%q cannot be had: a mount takes neither reading nor writing from a device", part[2]), "leave it out; the device's mode decides")
	}
	err = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := os.Stat(path) // /dev has links to devices
		if err != nil || fi.Mode()&fs.ModeDevice == 0 {
			return err
		}
		rel, err := filepath.Rel(src, path)
		list = append(list, disk.Volume{Source: path, Target: filepath.Join(dst, rel)})
		return err
	})
	if err == nil && len(list) == 0 {
		err = errs.Hint(fmt.Errorf("it is no device, and no directory with devices"), "for other files use -v")
	}
	return list, err
}
