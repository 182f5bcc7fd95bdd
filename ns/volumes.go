// The steps for the user's volumes and small files, and for the paths of /proc and /sys that are
// covered or made read-only.

package ns

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// defaultMasked are the paths docker covers: moby oci/defaults.go and
// daemon/pkg/oci/defaults.go. Each tells about the host, or is a way to it.
var defaultMasked = [...]string{
	"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys",
	"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	"/sys/devices/system/cpu/cpu*/thermal_throttle",
}

// defaultReadonly are the paths docker makes read-only.
var defaultReadonly = [...]string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// Masked are the paths that nothing can be read from: OCI runtime-spec v1.3 config-linux.md,
// "Masked Paths".
func (s *Spec) Masked() []string {
	if s.Unmasked {
		return nil
	}
	return defaultMasked[:]
}

// Readonly are those that are not written to.
func (s *Spec) Readonly() []string {
	if s.Unmasked {
		return nil
	}
	return defaultReadonly[:]
}

func skipUnmasked(b *builder) string {
	return skipIf(b.spec.Unmasked, "--security-opt systempaths=unconfined: what the kernel itself refuses, it refuses inside too")
}

func skipSources(b *builder) string {
	return skipIf(len(b.spec.Mounts)+len(b.spec.Files) == 0, "nothing comes from the host")
}

// runSources clones the volumes' sources and writes the small files, while the
// host's tree is all there is.
func runSources(b *builder) error {
	for i := range b.spec.Mounts {
		m := &b.spec.Mounts[i]
		fd := -1
		if m.Source != "" {
			var err error
			if fd, err = b.openTree(unix.AT_FDCWD, m.Source, true); err != nil {
				return errs.Hint(fmt.Errorf("volume %s: %w", m.Source, err), "the source of -v must exist and be readable by you")
			}
		}
		b.volumes = append(b.volumes, fd)
	}
	if len(b.spec.Files) == 0 {
		return nil
	}
	return b.writeFiles()
}

// writeFiles keeps the files' text in a tmpfs. It is mounted where the root will be
// mounted over it, and clones of its files keep it alive.
func (b *builder) writeFiles() error {
	target := b.spec.Root.Target
	err := unix.Mount("tmpfs", target, "tmpfs", standard, "mode=755,size=1m")
	if err := b.call(err, `mount("tmpfs", %q, "tmpfs", %s, "mode=755,size=1m")`, target, mountFlags(standard)); err != nil {
		return err
	}
	for i, f := range b.spec.Files {
		path := target + "/" + f.source(i)
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err == nil {
			_, err = unix.Write(fd, []byte(f.Content))
			unix.Close(fd)
		}
		if err != nil {
			return &callError{"write " + path, err}
		}
		tree, err := b.openTree(unix.AT_FDCWD, path, false)
		if err != nil {
			return err
		}
		b.files = append(b.files, tree)
	}
	return nil
}

// source is the name of the i-th file before it is mounted: made of the target's, so that mountinfo
// shows what it is, and of a number, because two targets may have the same last part.
func (f *File) source(i int) string {
	return fmt.Sprintf("%d-%s", i, f.Target[strings.LastIndexByte(f.Target, '/')+1:])
}

// runVolumes attaches what runSources picked up, and mounts --tmpfs.
func runVolumes(b *builder) error {
	for i := range b.spec.Mounts {
		m := &b.spec.Mounts[i]
		var err error
		if m.Source == "" {
			err = b.mountTmpfs(m)
		} else {
			err = b.attachVolume(m, b.volumes[i])
			unix.Close(b.volumes[i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
	}
	return nil
}

func (b *builder) attachVolume(m *Mount, tree int) error {
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return &callError{"fstat " + m.Source, err}
	}
	kind := st.Mode & unix.S_IFMT
	// Setuid bits and device nodes below a volume must not work in a container. But a single
	// device that is itself the volume was asked for.
	attrs := uint64(unix.MOUNT_ATTR_NOSUID)
	if kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		attrs |= unix.MOUNT_ATTR_NODEV
	}
	if m.ReadOnly {
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	if err := b.setAttr(tree, attrs, true); err != nil {
		return err
	}
	at, err := b.mountPoint(m.Target, kind == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return b.attach(tree, at, m.Target)
}

// mountTmpfs is --tmpfs DIR[:OPTIONS].
func (b *builder) mountTmpfs(m *Mount) error {
	flags, data := tmpfsOptions(m.Options)
	if m.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	at, err := b.mountPoint(m.Target, wantDir)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	err = unix.Mount("tmpfs", procFD(at), "tmpfs", flags, data)
	return b.call(err, "mount(\"tmpfs\", %q /* %s */, \"tmpfs\", %s, %q)", procFD(at), m.Target, mountFlags(flags), data)
}

// tmpfsOptions splits docker's words for flags of mount(2) from what tmpfs itself
// understands, tmpfs(5). docker run: "rw,noexec,nosuid,nodev" unless told otherwise.
func tmpfsOptions(options string) (flags uintptr, data string) {
	flags = standard
	var rest []string
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "", "rw", "noexec", "nosuid", "nodev", "defaults":
		case "ro":
			flags |= unix.MS_RDONLY
		case "exec":
			flags &^= unix.MS_NOEXEC
		case "suid":
			flags &^= unix.MS_NOSUID
		case "dev":
			flags &^= unix.MS_NODEV
		case "noatime":
			flags |= unix.MS_NOATIME
		case "sync":
			flags |= unix.MS_SYNCHRONOUS
		default:
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ",")
}

// runFiles mounts the small files over the image's. If the image lacks a file and its file system
// cannot be written, that file is left out.
func runFiles(b *builder) error {
	for i, f := range b.spec.Files {
		at, err := b.mountPoint(f.Target, wantFile)
		if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
			b.note(f.Target, "the image has no such file, and its root is read-only", "")
			continue
		}
		if err != nil {
			return err
		}
		err = b.attach(b.files[i], at, f.Target)
		unix.Close(at)
		unix.Close(b.files[i])
		if err != nil {
			return err
		}
	}
	return nil
}

// runMask covers files with /dev/null and directories with an empty tmpfs.
func runMask(b *builder) error {
	empty := -1 // the tmpfs: one is enough, it is read-only
	defer func() {
		if empty >= 0 {
			unix.Close(empty)
		}
	}()
	for _, pattern := range b.spec.Masked() {
		for _, path := range expand(pattern) {
			if err := b.maskOne(path, &empty); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

func (b *builder) maskOne(path string, empty *int) error {
	at, err := openIn(b.root, path, unix.O_PATH, 0, inRoot)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil // this kernel does not have it
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	_ = b.opened(at, path, "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS", nil)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		null, err := b.openTree(unix.AT_FDCWD, "/dev/null", false)
		if err != nil {
			return err
		}
		defer unix.Close(null)
		return b.attach(null, at, path)
	}
	if *empty >= 0 {
		again, err := b.openTree(*empty, "", false)
		if err != nil {
			return err
		}
		defer unix.Close(again)
		return b.attach(again, at, path)
	}
	err = unix.Mount("tmpfs", procFD(at), "tmpfs", standard|unix.MS_RDONLY, "size=0,nr_inodes=1")
	if err := b.call(err, `mount("tmpfs", %q /* %s */, "tmpfs", %s, "size=0,nr_inodes=1")`, procFD(at), path, mountFlags(standard|unix.MS_RDONLY)); err != nil {
		return err
	}
	*empty, err = openIn(b.root, path, unix.O_PATH, 0, inRoot)
	return err
}

// runReadonlyPaths binds paths over themselves, read-only.
func runReadonlyPaths(b *builder) error {
	for _, path := range b.spec.Readonly() {
		if err := b.readonlyOne(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (b *builder) readonlyOne(path string) error {
	at, err := openIn(b.root, path, unix.O_PATH, 0, inRoot)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	_ = b.opened(at, path, "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS", nil)
	tree, err := b.openTree(at, "", true)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := b.setAttr(tree, unix.MOUNT_ATTR_RDONLY, true); err != nil {
		return err
	}
	return b.attach(tree, at, path)
}
