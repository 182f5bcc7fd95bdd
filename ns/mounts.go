// The steps that make the container's tree: propagation, the root, /proc, /sys, /dev and what is
// in it. Each mount is made beside the root and moved in, never through a path that an image
// chose.

package ns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// standard are the flags of mounts that hold no programs and no devices.
const standard = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// devices are the nodes of OCI runtime-spec config-linux.md, "Default Devices".
var devices = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// devLinks are the symbolic links of the same page, and what docker adds.
var devLinks = [...][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}, {"/proc/kcore", "core"},
}

func runPropagation(b *builder) error {
	// mount_namespaces(7): a mount namespace copied into another user namespace is a slave
	// of the old one; private cuts that too.
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	return b.call(err, `mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)`)
}

// rootPropagation shows the optional fields of the root's line: field 7 of mountinfo, proc(5).
func rootPropagation(b *builder) string {
	for line := range strings.Lines(b.readOwn("mountinfo")) {
		f := strings.Fields(line)
		if len(f) > 6 && f[4] == "/" {
			if f[6] == "-" {
				return "/ private"
			}
			return "/ " + f[6]
		}
	}
	return ""
}

// runRoot mounts the root file system on Spec.Root.Target.
func runRoot(b *builder) error {
	r := &b.spec.Root
	if r.FUSE == nil {
		return bindRoot(b)
	}
	// fs/fuse/inode.c, fuse_fill_super: whoever opens /dev/fuse and whoever mounts are in one user
	// namespace.
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err := b.returned(dev, err, `open("/dev/fuse", O_RDWR|O_CLOEXEC)`); err != nil {
		return errs.Hint(err, "the kernel needs FUSE (modprobe fuse), and the device must be writable for you; see fuse(4) and `tiffin doctor`")
	}
	data := withFD(r.FUSE.Data, dev)
	flags := b.rootFlags() | unix.MS_NOATIME // fs.MountOptions
	if r.Overlay != nil {
		flags |= unix.MS_RDONLY
	}
	err = unix.Mount(r.FUSE.Source, r.Target, r.FUSE.Type, flags, data)
	err = b.call(err, "mount(%q, %q, %q, %s, %q)", r.FUSE.Source, r.Target, r.FUSE.Type, mountFlags(flags), data)
	// From now on requests are answered as soon as the supervisor serves. There is no need to
	// wait for it: the kernel lets us wait at the first request.
	if err == nil {
		err = b.send(&message{Op: opMounted}, dev)
	}
	// Only the server may hold the descriptor from here on: when it dies, the
	// connection must end, and with it every request that waits. fuse(4)
	_ = unix.Close(dev)
	if err != nil {
		return err
	}
	if err := b.openRoot(); err != nil {
		return err
	}
	b.readAhead()
	return nil
}

// ProbeFUSE says why /dev/fuse cannot be used here. Another file may have its name: only the device
// answers EPERM to read(2) before something is mounted with it, fuse_get_dev in fs/fuse/dev.c.
func ProbeFUSE() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Read(fd, make([]byte, 1)); err != unix.EPERM {
		return unix.ENODEV
	}
	return nil
}

// rootFlags are the flags of the root's mounts. Set-user-ID programs work only if the user asks for
// it. What they can become is a user of the container, with the capabilities of its bounding set:
// in a process of another user namespace, the kernel ignores such bits (mnt_may_suid in
// fs/namespace.c).
func (b *builder) rootFlags() uintptr {
	if b.proc.NewPrivs {
		return unix.MS_NODEV
	}
	return unix.MS_NOSUID | unix.MS_NODEV
}

// openRoot takes what is mounted on Spec.Root.Target as the root.
func (b *builder) openRoot() error {
	fd, err := unix.Open(b.spec.Root.Target, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &callError{"open the mounted root", err}
	}
	if b.root >= 0 {
		_ = unix.Close(b.root)
	}
	b.root = fd
	return nil
}

// bindRoot uses a directory as the root.
func bindRoot(b *builder) error {
	r := &b.spec.Root
	fd, err := b.openTree(unix.AT_FDCWD, r.Bind, true)
	if err != nil {
		return err
	}
	b.root = fd
	// MOUNT_ATTR_NOSUID and MOUNT_ATTR_NODEV have the numbers of MS_NOSUID and MS_NODEV.
	if err := b.setAttr(fd, uint64(b.rootFlags()), false); err != nil {
		return err
	}
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, r.Target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	return b.call(err, "move_mount(%d, \"\", AT_FDCWD, %q, MOVE_MOUNT_F_EMPTY_PATH)", fd, r.Target)
}

// withFD sets the number of the /dev/fuse descriptor in a list of mount options.
func withFD(data string, fd int) string {
	opts := strings.Split(data, ",")
	for i, o := range opts {
		if strings.HasPrefix(o, "fd=") {
			opts[i] = fmt.Sprintf("fd=%d", fd)
		}
	}
	return strings.Join(opts, ",")
}

// openTree clones a mount, or a part of one, as a mount that is attached nowhere: open_tree(2).
// Where the host has mounts below it, they must come along: the kernel does not uncover
// what a mount hides, mount_namespaces(7), "Restrictions on mount namespaces".
func (b *builder) openTree(dirfd int, path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	text := "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"
	if recursive {
		flags |= unix.AT_RECURSIVE
		text += "|AT_RECURSIVE"
	}
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
		text += "|AT_EMPTY_PATH"
	}
	fd, err := unix.OpenTree(dirfd, path, flags)
	err = b.returned(fd, err, "open_tree(%s, %q, %s)", dirName(dirfd), path, text)
	if errors.Is(err, unix.ENOSYS) {
		err = errs.Hint(err, "tiffin needs Linux 5.12 or later")
	}
	return fd, err
}

func dirName(fd int) string {
	if fd == unix.AT_FDCWD {
		return "AT_FDCWD"
	}
	return fmt.Sprint(fd)
}

// setAttr adds MOUNT_ATTR_* flags to a mount: mount_setattr(2). Flags it has already,
// which may be locked in a user namespace, stay.
func (b *builder) setAttr(fd int, set uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: set})
	return b.call(err, "mount_setattr(%d, \"\", %s, {attr_set=%s})", fd,
		pick(recursive, "AT_EMPTY_PATH|AT_RECURSIVE", "AT_EMPTY_PATH"), attrFlags(set))
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// attach moves a detached mount to the place an O_PATH descriptor stands for.
func (b *builder) attach(tree, at int, name string) error {
	err := unix.MoveMount(tree, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return b.call(err, "move_mount(%d, \"\", %d /* %s */, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)", tree, at, name)
}

// mountSystem mounts a file system of the kernel on a directory of the root. No symbolic link
// may be on the way: an image whose /proc leads elsewhere is an attack.
func (b *builder) mountSystem(fstype, target string, flags uintptr, data string) error {
	fd, err := openIn(b.root, target, unix.O_PATH|unix.O_DIRECTORY, 0, inRoot|unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOENT) {
		var made bool
		if fd, made, err = makeIn(b.root, target, wantDir); made {
			b.created = append(b.created, target)
		}
	}
	if errors.Is(err, unix.ELOOP) {
		return errs.Hint(fmt.Errorf("the image's %s is a symbolic link", target), "it must be a directory; the image is broken, or hostile")
	}
	if err != nil {
		return fmt.Errorf("mount point %s: %w", target, err)
	}
	defer unix.Close(fd)
	_ = b.opened(fd, target, "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS", nil)
	err = unix.Mount(fstype, procFD(fd), fstype, flags, data)
	return b.call(err, "mount(%q, %q /* %s */, %q, %s, %q)", fstype, procFD(fd), target, fstype, mountFlags(flags), data)
}

// runProc mounts a /proc of the new pid namespace. Without a new one, /proc cannot be mounted by a
// process that does not own the pid namespace (pid_namespaces(7), "/proc and PID namespaces"): then
// the host's is bound. The same stands in where the kernel refuses a new one because the one at
// hand is partly covered, as inside another container: mount_too_revealing in fs/namespace.c.
func runProc(b *builder) error {
	if !b.spec.leavesOut("pid") {
		err := b.mountSystem("proc", "/proc", standard, "")
		if !errors.Is(err, unix.EPERM) {
			return err
		}
		b.note("an own /proc", "parts of the one at hand are covered, and the kernel refuses a new one, mount_namespaces(7); the one at hand is shown, with the processes outside, numbered as there",
			"docker run --security-opt systempaths=unconfined …   # for the container around this session")
	}
	return b.bindHost("/proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// bindHost makes a directory of the host, and what is mounted below it, appear at the same place.
func (b *builder) bindHost(dir string, attrs uint64) error {
	at, err := b.mountPoint(dir, wantDir)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	tree, err := b.openTree(unix.AT_FDCWD, dir, true)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := b.setAttr(tree, attrs, true); err != nil {
		return err
	}
	return b.attach(tree, at, dir)
}

// runDev makes /dev: a tmpfs with the host's six devices bound into it.
func runDev(b *builder) error {
	if err := b.mountSystem("tmpfs", "/dev", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_STRICTATIME, "mode=755,size=65536k"); err != nil {
		return err
	}
	dev, err := openIn(b.root, "/dev", unix.O_PATH|unix.O_DIRECTORY, 0, inRoot|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return &callError{"open the new /dev", err}
	}
	defer unix.Close(dev)
	for _, name := range devices {
		if err := b.bindDevice(dev, name); err != nil {
			return err
		}
	}
	for _, l := range devLinks {
		if err := b.call(unix.Symlinkat(l[0], dev, l[1]), "symlinkat(%q, %d, %q)", l[0], dev, l[1]); err != nil {
			return err
		}
	}
	return nil
}

// bindDevice makes the host's /dev/name appear in the directory dev.
func (b *builder) bindDevice(dev int, name string) error {
	tree, err := b.openTree(unix.AT_FDCWD, "/dev/"+name, false)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	at, err := unix.Openat(dev, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return &callError{"create /dev/" + name, err}
	}
	defer unix.Close(at)
	return b.attach(tree, at, "/dev/"+name)
}

func runDevpts(b *builder) error {
	return b.mountSystem("devpts", "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, devptsData(b.spec))
}

// devptsData gives terminals to group 5, tty in most images, if there is such an id.
func devptsData(s *Spec) string {
	data := "newinstance,ptmxmode=0666,mode=0620"
	if s.IDs.hasGID(5) {
		data += ",gid=5"
	}
	return data
}

func shmData(s *Spec) string {
	size := s.ShmSize
	if size == 0 {
		size = 64 << 20
	}
	return fmt.Sprintf("mode=1777,size=%d", size)
}

// hostIPC tells whether the IPC namespace is the machine's.
func (s *Spec) hostIPC() bool { return s.HostIPC || s.leavesOut("ipc") }

func runShm(b *builder) error {
	if b.spec.HostIPC {
		return b.bindHost("/dev/shm", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	}
	return b.mountSystem("tmpfs", "/dev/shm", standard, shmData(b.spec))
}

// runMqueue mounts the message queues, if the kernel has any.
func runMqueue(b *builder) error {
	err := b.mountSystem("mqueue", "/dev/mqueue", standard, "")
	if errors.Is(err, unix.ENODEV) {
		b.note("/dev/mqueue", "this kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)", "")
		return nil
	}
	return err
}

// runSys mounts a sysfs, which shows the devices of the network namespace. With the host's
// network that namespace is not ours, and neither is the right to mount its sysfs: the
// host's is bound. The same stands in where the kernel refuses (EPERM) because
// the sysfs at hand is partly covered, as inside another container.
func runSys(b *builder) error {
	if !b.spec.hostNetwork() {
		flags := uintptr(standard | unix.MS_RDONLY)
		if b.spec.Unmasked {
			flags = standard // what may be written, owners and modes say: files of the network namespace
		}
		err := b.mountSystem("sysfs", "/sys", flags, "")
		if !errors.Is(err, unix.EPERM) {
			return err
		}
		b.note("an own /sys", "the kernel refuses a new sysfs here; the host's is shown, read-only", "")
	}
	return b.bindHost("/sys", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

func skipCgroup(b *builder) string {
	return skipIf(b.spec.hostNetwork(), "the host's /sys, with its control groups, is shown read-only")
}

// runCgroup mounts the control groups, if the kernel allows it: nothing depends on them.
func runCgroup(b *builder) error {
	if _, err := os.Stat("/proc/self/ns/cgroup"); err != nil {
		return nil
	}
	err := b.mountSystem("cgroup2", "/sys/fs/cgroup", standard|unix.MS_RDONLY, "")
	if err != nil {
		b.note("/sys/fs/cgroup", err.Error(), "")
	}
	return nil
}

func runReadOnlyRoot(b *builder) error {
	return b.setAttr(b.root, unix.MOUNT_ATTR_RDONLY, false)
}

// runPivot makes the new root the only one.
func runPivot(b *builder) error {
	if err := b.call(unix.Fchdir(b.root), "fchdir(%d)", b.root); err != nil {
		return err
	}
	// pivot_root(2), NOTES, pivot_root(".", "."): the old root is then mounted on top of
	// the new one, and the current directory is in it.
	err := b.call(unix.PivotRoot(".", "."), `pivot_root(".", ".")`)
	if errors.Is(err, unix.EINVAL) && onRootfs() {
		err = b.coverRoot()
	} else if err == nil {
		err = b.call(unix.Unmount(".", unix.MNT_DETACH), `umount2(".", MNT_DETACH)`)
	}
	if err != nil {
		return err
	}
	b.spec.Root.Target = ""
	return b.call(unix.Chdir("/"), `chdir("/")`)
}

// onRootfs tells whether / is the kernel's first mount, as where a machine runs from its initial
// file system: it is below no other mount, proc(5), /proc/pid/mountinfo, fields 1 and 2.
func onRootfs() bool {
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // none: the error is that of pivot_root
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && f[0] == f[1] && f[4] == "/" {
			return true
		}
	}
	return false
}

// coverRoot puts the new root over the first mount of all, which pivot_root(2), ERRORS, EINVAL,
// cannot move: as switch_root(8) does.
func (b *builder) coverRoot() error {
	b.note("pivot_root", "this machine runs from its initial file system, which cannot be taken away; the container's root covers it, and with --cap-add SYS_ADMIN it could be uncovered", "")
	if err := b.call(unix.Mount(".", "/", "", unix.MS_MOVE, ""), `mount(".", "/", NULL, MS_MOVE, NULL)`); err != nil {
		return err
	}
	return b.call(unix.Chroot("."), `chroot(".")`)
}

// pivoted tells whether / is the container's root by now.
func (b *builder) pivoted() bool { return b.joining || b.spec.Root.Target == "" || !b.spec.OwnTree() }

// expand returns path, or what it matches in the host's /sys if it is a pattern.
func expand(path string) []string {
	if !strings.ContainsRune(path, '*') {
		return []string{path}
	}
	matches, _ := filepath.Glob(path)
	return matches
}
