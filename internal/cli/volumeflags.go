// The flags of run and create about what is mounted in a container besides its image: volumes of
// the store, directories of the user's, and file systems in memory.

package cli

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func volumeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "mount a volume, or show a file or directory of yours inside: `[NAME|./SRC:]DST[:ro,nocopy]`"},
		&cli.StringSliceFlag{Name: "mount", Usage: "the same in more words: `type=TYPE,source=SRC,target=DST[,readonly]`; a type is volume, bind or tmpfs"},
		&cli.StringSliceFlag{Name: "tmpfs", Usage: "mount an empty file system in memory: `DST[:size=64m,…]`"},
		&cli.StringSliceFlag{Name: "volumes-from", Usage: "mount what `CONTAINER[:ro]` has mounted, but for tmpfs"},
		&cli.StringFlag{Name: "tz", Usage: "the time `ZONE` of the container, such as Europe/Paris, or local: that of this machine"},
		&cli.StringFlag{Name: "volume-driver", Usage: "for docker's sake: local", Hidden: true},
	}
}

// setVolumes collects what is to be mounted. What the flags say counts before what another
// container has, and that before the image.
func setVolumes(cfg *disk.Config, c *cli.Context, ic ocispec.ImageConfig) error {
	if d := c.String("volume-driver"); d != "" && d != "local" {
		return fmt.Errorf("volume driver %q is not there: volumes are directories here", d)
	}
	for _, s := range c.StringSlice("volume") {
		v, err := parseVolume(s, cfg.IsRoot() || strings.HasPrefix(c.String("userns"), "keep-id"))
		if err != nil {
			return err
		}
		cfg.Volumes = append(cfg.Volumes, v)
	}
	for _, s := range c.StringSlice("mount") {
		v, err := parseMount(s)
		if err != nil {
			return err
		}
		cfg.Volumes = append(cfg.Volumes, v)
	}
	for _, s := range c.StringSlice("tmpfs") {
		target, options, _ := strings.Cut(s, ":")
		v := disk.Volume{Options: options}
		if err := setTarget(&v, target); err != nil {
			return fmt.Errorf("--tmpfs %s: %w", s, err)
		}
		cfg.Volumes = append(cfg.Volumes, v)
	}
	if err := setTimeZone(cfg, c.String("tz")); err != nil {
		return err
	}
	settings, err := readSettings()
	if err != nil {
		return err
	}
	for i, v := range cfg.Volumes {
		if taken(cfg.Volumes[:i], v.Target) {
			return fmt.Errorf("two volumes are to be mounted at %s", v.Target)
		}
	}
	for _, s := range c.StringSlice("volumes-from") {
		if err := volumesFrom(cfg, s); err != nil {
			return fmt.Errorf("--volumes-from %s: %w", s, err)
		}
	}
	for _, s := range settings.Run.Mounts {
		v, err := parseVolume(s, true)
		if err != nil {
			return err
		}
		if !taken(cfg.Volumes, v.Target) {
			cfg.Volumes = append(cfg.Volumes, v)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(ic.Volumes)) {
		v := disk.Volume{Anonymous: true}
		if err := imageTarget(&v, target); err != nil {
			fmt.Fprintf(stderr, "tiffin: note: volume %q of the image is left out: %v\n", target, err)
		} else if !taken(cfg.Volumes, v.Target) {
			cfg.Volumes = append(cfg.Volumes, v)
		}
	}
	// One that is in another is mounted after that.
	slices.SortStableFunc(cfg.Volumes, func(a, b disk.Volume) int {
		return cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/"))
	})
	return nil
}

// zoneFiles is where a machine has time zones, and localZone its own: tzset(3), localtime(5).
const zoneFiles, localZone = "/usr/share/zoneinfo", "/etc/localtime"

// setTimeZone shows the file of a time zone of this machine at /etc/localtime: podman-run(1), --tz.
func setTimeZone(cfg *disk.Config, zone string) error {
	if zone == "" {
		return nil
	}
	file := localZone
	if zone != "local" {
		file = filepath.Join(zoneFiles, zone)
	}
	real, err := filepath.EvalSymlinks(file)
	magic := make([]byte, 4)
	if err == nil && !filepath.IsLocal(zone) {
		err = errors.New("it is a path")
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(real); err == nil {
			_, err = io.ReadFull(f, magic)
			f.Close()
		}
	}
	if err == nil && string(magic) != "TZif" { // tzfile(5)
		err = errors.New("it is no file of a time zone")
	}
	if err != nil {
		return errs.Hint(fmt.Errorf("--tz %s: %w", zone, err), "zones are the files below "+zoneFiles+", of the package tzdata; -e TZ=… sets one by name, where the image has the files")
	}
	cfg.Volumes = append(cfg.Volumes, disk.Volume{Source: real, Target: localZone, ReadOnly: true})
	return nil
}

func taken(volumes []disk.Volume, target string) bool {
	return slices.ContainsFunc(volumes, func(v disk.Volume) bool { return v.Target == target })
}

// setTarget says where in the container it is to be.
func setTarget(v *disk.Volume, target string) error {
	v.Target = filepath.Clean(target)
	if !filepath.IsAbs(target) || v.Target == "/" {
		return fmt.Errorf("%q is not an absolute path below /", target)
	}
	return nil
}

// imageTarget is setTarget for an image, which is a stranger's: it mounts nothing over the kernel's
// file systems. Where links lead is asked in leaveOutLinks.
func imageTarget(v *disk.Volume, target string) error {
	err := setTarget(v, target)
	if err == nil && ofKernel(v.Target) {
		err = errors.New("the kernel's file systems are there")
	}
	return err
}

// ofKernel tells whether a path of a container is where the runner mounts what is the kernel's, or
// the root.
func ofKernel(path string) bool {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.Contains([]string{"", "proc", "sys", "dev"}, top)
}

// volumesFrom adds the volumes of another container: docker-run(1), --volumes-from.
func volumesFrom(cfg *disk.Config, s string) error {
	ref, mode, _ := strings.Cut(s, ":")
	if mode != "" && mode != "rw" && mode != "ro" {
		return fmt.Errorf("%q is neither ro nor rw", mode)
	}
	other, err := findContainer(ref)
	if err != nil {
		return err
	}
	for _, v := range other.Volumes {
		if v.Kind() != "tmpfs" && !taken(cfg.Volumes, v.Target) {
			v.ReadOnly = v.ReadOnly || mode == "ro"
			cfg.Volumes = append(cfg.Volumes, v)
		}
	}
	return nil
}

// parseVolume reads [SRC:]DST[:OPTIONS]. own tells whether files of yours are those of the
// command's user, as they are if that is root.
func parseVolume(s string, own bool) (v disk.Volume, err error) {
	part := strings.Split(s, ":")
	if len(part) > 3 || part[0] == "" {
		return v, errs.Hint(fmt.Errorf("volume %q is not SRC:DST or SRC:DST:ro", s), "for an empty directory that is gone afterwards use --tmpfs DST")
	}
	if len(part) == 1 {
		v.Anonymous = true
		part = []string{"", s}
	}
	if err := setTarget(&v, part[1]); err != nil {
		return v, fmt.Errorf("volume %q: %w", s, err)
	}
	named := part[0] != "" && !filepath.IsAbs(part[0]) && !strings.HasPrefix(part[0], ".")
	if len(part) == 3 {
		for _, o := range strings.Split(part[2], ",") {
			switch o {
			case "ro":
				v.ReadOnly = true
			case "nocopy":
				if !named {
					return v, fmt.Errorf("volume %q: nocopy is for a volume with a name: nothing is copied into a directory of yours", s)
				}
				v.NoCopy = true
			case "U":
				if !own {
					return v, errs.Hint(fmt.Errorf("volume %q: U would give all its files to the container's user, who is not root", s),
						"`chown -R` in the container does so, or --userns keep-id makes you yourself inside")
				}
			case "rw", "z", "Z", "rprivate", "private", "cached", "delegated", "consistent": // the default, or for other machines
			default:
				return v, fmt.Errorf("volume %q: unknown option %q", s, o)
			}
		}
	}
	switch {
	case v.Anonymous:
	case !named:
		v.Source, err = volumeSource(part[0])
	case strings.Contains(part[0], "/"):
		err = errs.Hint(fmt.Errorf("volume %q: a volume's name has no slashes", s), fmt.Sprintf("for a directory here write ./%s", part[0]))
	default:
		v.Name = part[0]
	}
	return v, err
}

// volumeSource is the absolute path of a file or directory here that must exist.
func volumeSource(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", errs.Hint(fmt.Errorf("volume: %w", err), "tiffin makes no directories outside of its own; mkdir it first")
	}
	return abs, nil
}

// parseMount reads the long form of -v and --tmpfs: docker-run(1), --mount.
func parseMount(s string) (v disk.Volume, err error) {
	fail := func(format string, args ...any) (disk.Volume, error) {
		return v, errs.Hint(fmt.Errorf("--mount %s: "+format, append([]any{s}, args...)...),
			"type=volume,source=NAME,target=DIR, type=bind,source=DIR,target=DIR[,readonly] or type=tmpfs,target=DIR[,tmpfs-size=64m]")
	}
	kind, source, target, options := "volume", "", "", []string{}
	fields, err := csv.NewReader(strings.NewReader(s)).Read() // as docker: "source=a,b" has a comma
	if err != nil {
		return fail("it is no line of comma-separated values: %w", err)
	}
	for _, field := range fields {
		key, value, hasValue := strings.Cut(field, "=")
		on := !hasValue || value == "true" || value == "1"
		switch key {
		case "type":
			kind = value
		case "source", "src":
			source = value
		case "target", "dst", "destination":
			target = value
		case "readonly", "ro":
			v.ReadOnly = on
		case "volume-nocopy":
			v.NoCopy = on
		case "tmpfs-size":
			options = append(options, "size="+value)
		case "tmpfs-mode":
			options = append(options, "mode="+value)
		case "bind-propagation":
			if value != "rprivate" && value != "private" {
				return fail("mounts are private here")
			}
		case "volume-driver":
			if value != "local" {
				return fail("volumes are directories here: the driver is local")
			}
		case "volume-opt":
			return fail("volumes are directories here, which take no options of a driver")
		case "volume-subpath":
			return fail("a volume is mounted as a whole")
		case "consistency":
		default:
			return fail("%q is not known", key)
		}
	}
	if err := setTarget(&v, target); err != nil {
		return fail("the target %w", err)
	}
	if kind != "tmpfs" && len(options) > 0 {
		return fail("these are options of a tmpfs")
	}
	if kind != "volume" && v.NoCopy {
		return fail("volume-nocopy is for a volume")
	}
	switch kind {
	case "volume":
		if strings.Contains(source, "/") {
			return fail("a volume's name has no slashes, and type=bind shows a directory of yours")
		}
		v.Name, v.Anonymous = source, source == ""
		return v, nil
	case "bind":
		if source == "" {
			return fail("a bind mount has a source")
		}
		v.Source, err = volumeSource(source)
		return v, err
	case "tmpfs":
		if source != "" {
			return fail("a tmpfs has no source")
		}
		if v.ReadOnly {
			options = append(options, "ro")
		}
		v.Options = strings.Join(options, ",")
		v.ReadOnly = false
		return v, nil
	}
	return fail("type %q is not there", kind)
}
