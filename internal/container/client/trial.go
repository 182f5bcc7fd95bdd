// The disk of the store is tried, for doctor: not by its name, but by doing what is asked of it.

package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"tiffin/image/store"
	"tiffin/internal/container/disk"
	"tiffin/internal/wire"
	"tiffin/ns/probe"
)

// little is how many bytes a disk should have free: with fewer, doctor says so.
const little = 256 << 20

// TryStore tries the disks of a store at images and of its containers at run, whether they exist
// yet or not. Nothing stays there.
func TryStore(images, run string) []probe.Result {
	store := tryDisk("store", images, []trial{{"write, sync and rename a file", write}, {"lock, flock(2)", flock}})
	containers := tryDisk("containers", run, []trial{{"write, sync and rename a file", write}, {"lock, fcntl(2) F_OFD_SETLK", ofdLock},
		{"make a symbolic link", symlink}, {"listen on a socket, unix(7)", socket}, {"names", longNames}})
	if !store.OK {
		store.Fix = "export TIFFIN_ROOT=" + elsewhere() + "   # no administrator is needed: any directory of yours on another disk"
	}
	if !containers.OK {
		containers.Fix = "export TIFFIN_RUN_ROOT=" + elsewhere() + "   # no administrator is needed: any directory of yours on another disk"
	}
	return []probe.Result{store, containers, overlayOn(run)}
}

// overlayOn tries --driver overlay on the disk of containers: that of probe.All is on a tmpfs.
func overlayOn(run string) probe.Result {
	r := probe.Result{Name: "overlay driver", Level: probe.Optional, Page: "the kernel's Documentation/filesystems/overlayfs.rst, \"Upper and Lower\"",
		Found: "--driver overlay works on the disk of containers"}
	why, err := tryOverlay(run, false)
	if why = errors.Join(why, err); why != nil {
		r.Why = fmt.Sprintf("--driver overlay does not work: %v", why)
	}
	r.OK = why == nil
	return r
}

// elsewhere proposes a directory in which this user may write, often on another disk.
func elsewhere() string {
	for _, dir := range []string{"/var/tmp", "/scratch", "/tmp"} {
		if unix.Access(dir, unix.W_OK) == nil {
			return filepath.Join(dir, fmt.Sprintf("tiffin-%d", os.Getuid()))
		}
	}
	return "DIR"
}

// trial is one thing that is done in an empty directory.
type trial struct {
	what string
	do   func(dir string) error
}

// tryDisk makes the trials in a directory of its own below root, or, before there is that, below
// the closest directory above it.
func tryDisk(name, root string, trials []trial) probe.Result {
	r := probe.Result{Name: name, Level: probe.Required, Page: "the README, \"What is where on disk\""}
	if err := store.Owned(root, ""); err != nil {
		r.Why = err.Error()
		return r
	}
	at := root
	for at != "/" && unix.Access(at, unix.F_OK) != nil {
		at = filepath.Dir(at)
	}
	dir, err := os.MkdirTemp(at, ".tiffin-doctor-")
	if err != nil {
		r.Why = fmt.Sprintf("%s, on %s, cannot be written to: %v", root, fsType(at), errors.Unwrap(err))
		return r
	}
	defer os.RemoveAll(dir)
	for _, t := range trials {
		if err := t.do(dir); err != nil {
			r.Why = fmt.Sprintf("%s is on %s, which cannot %s: %v", root, fsType(at), t.what, err)
			if t.what == "names" {
				r.Why = err.Error()
			}
			return r
		}
	}
	r.OK, r.Found = true, fmt.Sprintf("%s, on %s: %s", root, fsType(at), room(dir))
	if name == "containers" {
		r.Found += ", attributes " + attributes(dir)
	}
	return r
}

func write(dir string) error {
	f, err := os.CreateTemp(dir, "file")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Write(make([]byte, 4096)); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, "renamed"))
	}
	return err
}

func flock(dir string) error {
	return locked(dir, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}

func ofdLock(dir string) error {
	return locked(dir, func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	})
}

func locked(dir string, lock func(fd int) error) error {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return lock(int(f.Fd()))
}

func symlink(dir string) error { return os.Symlink("target", filepath.Join(dir, "link")) }

func socket(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	l, err := wire.Listen(d, "socket")
	if err != nil {
		return err
	}
	l.Close()
	return wire.Remove(filepath.Join(dir, "socket"))
}

// longNames looks for what CheckNames refuses, and tries the longest name.
func longNames(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o700); err != nil {
		return err
	}
	if err := disk.CheckNames(dir, "root"); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, strings.Repeat("n", 255)), nil, 0o600)
}

// attributes says where an upper directory's would be.
func attributes(dir string) string {
	if err := unix.Setxattr(dir, "user.tiffin.origin", []byte("0"), 0); err != nil {
		return fmt.Sprintf("in a sidecar (%v)", err)
	}
	return "at the files"
}

// room says how much may be written to a disk, and warns if that is little.
func room(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return "free space not known"
	}
	free := st.Bavail * uint64(st.Bsize)
	text := units.HumanSize(float64(free)) + " free"
	if st.Files > 0 {
		text += fmt.Sprintf(", %d inodes", st.Ffree)
	}
	if free < little || st.Files > 0 && st.Ffree < 1000 {
		text = "little room: " + text
	}
	return text
}

// fsType is the type of the file system that has dir: proc(5), /proc/pid/mountinfo, found by the
// mount's number, statx(2).
func fsType(dir string) string {
	var stx unix.Statx_t
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		err = unix.Statx(unix.AT_FDCWD, dir, unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &stx)
	}
	for line := range strings.Lines(string(text)) {
		mount, super, _ := strings.Cut(line, " - ")
		if id, _, _ := strings.Cut(mount, " "); err == nil && id == fmt.Sprint(stx.Mnt_id) {
			return strings.Fields(super + " ?")[0]
		}
	}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "an unknown file system"
	}
	return fmt.Sprintf("a file system of type %#x", uint32(st.Type)) // statfs(2) has the names
}
