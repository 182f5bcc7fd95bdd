package fs_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

const (
	access  = "system.posix_acl_access"
	inherit = "system.posix_acl_default"
)

// acl is the attribute's value for entries such as "u::rwx u:7:r-x g::r-x m::rwx o::---".
func acl(text string) string {
	tags := map[string]uint16{"u:": 1, "u": 2, "g:": 4, "g": 8, "m:": 16, "o:": 32}
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range strings.Fields(text) {
		f := strings.Split(e, ":")
		tag, id := tags[f[0]], ^uint32(0)
		if f[1] == "" {
			tag = tags[f[0]+":"]
		} else {
			fmt.Sscan(f[1], &id)
		}
		var perm uint16
		for i, c := range f[2] {
			if c != '-' {
				perm |= 4 >> i
			}
		}
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, tag), perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}

// shownACLs is mode and lists of each file, as text.
func shownACLs(dir string, names ...string) (s string) {
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Lstat(filepath.Join(dir, name), &st)
		s += fmt.Sprintf("%s: %o %v", name, st.Mode, err)
		for _, attr := range []string{access, inherit} {
			b := make([]byte, 1000)
			n, err := unix.Lgetxattr(filepath.Join(dir, name), attr, b)
			s += fmt.Sprintf(", %x %v", b[:max(n, 0)], err)
		}
		list, err := fstest.Listxattr(filepath.Join(dir, name))
		s += fmt.Sprintf(", %q %v\n", list, err)
	}
	return s
}

// TestACLsAreThoseOfADisk does the same in the union and in a directory of the disk: acl(5).
func TestACLsAreThoseOfADisk(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.Dir("d"), tartest.File("d/low", "x"))}}, func(t *testing.T, m *fstest.Mount) {
		disk := t.TempDir()
		if err := errors.Join(os.Mkdir(disk+"/d", 0o755), os.WriteFile(disk+"/d/low", []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
		names := []string{"d", "d/low", "d/file", "d/narrow", "d/sub", "d/sub/file", "d/fifo", "d/link", "d/tmp", "plain"}
		set := func(name, attr, text string) func(dir string) error {
			return func(dir string) error {
				return unix.Setxattr(filepath.Join(dir, name), attr, []byte(acl(text)), 0)
			}
		}
		chmod := func(name string, mode uint32) func(dir string) error {
			return func(dir string) error { return unix.Chmod(filepath.Join(dir, name), mode) }
		}
		create := func(name string, mode uint32) func(dir string) error {
			return func(dir string) error {
				fd, err := unix.Open(filepath.Join(dir, name), unix.O_CREAT|unix.O_WRONLY, mode)
				unix.Close(fd)
				return err
			}
		}
		defer unix.Umask(unix.Umask(0o027))
		for i, do := range []func(dir string) error{
			create("plain", 0o666), // the umask counts
			set("d/low", access, "u::rw- u:0:r-- g::r-- m::rw- o::---"), chmod("d/low", 0o751), chmod("d/low", 0o640),
			set("d", inherit, "u::rwx u:0:rwx g::r-x g:0:rw- m::rwx o::r--"),
			create("d/file", 0o666), create("d/narrow", 0o600), // it does not
			func(dir string) error { return unix.Mkdir(dir+"/d/sub", 0o777) },
			create("d/sub/file", 0o777),
			func(dir string) error { return unix.Mkfifo(dir+"/d/fifo", 0o666) },
			func(dir string) error { return os.Symlink("x", dir+"/d/link") },
			func(dir string) error {
				fd, err := unix.Open(dir+"/d", unix.O_TMPFILE|unix.O_WRONLY, 0o666)
				if err == nil {
					err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, dir+"/d/tmp", unix.AT_SYMLINK_FOLLOW)
					unix.Close(fd)
				}
				return err
			},
			set("plain", access, "u::rwx g::r-x o::--x"), // no more than a mode
			set("d/file", access, "u::rw- g::r-- o::r--"),
			set("d/file", inherit, "u::rw- g::r-- o::r--"), // EACCES: it is no directory
			func(dir string) error { return unix.Removexattr(dir+"/d/narrow", access) },
			func(dir string) error { return unix.Removexattr(dir+"/d", inherit) },
			create("d/sub/late", 0o666), func(dir string) error { return unix.Mkdir(dir+"/d/last", 0o777) },
		} {
			want, err1 := do(disk), shownACLs(disk, names...)
			got, err2 := do(m.Dir), shownACLs(m.Dir, names...)
			if fmt.Sprint(want, err1) != fmt.Sprint(got, err2) {
				t.Fatalf("after step %d: %v\n%s\nwant %v\n%s", i, got, err2, want, err1)
			}
		}
		m.Remount(t)
		names = append(names, "d/sub/late", "d/last")
		if got, want := shownACLs(m.Dir, names...), shownACLs(disk, names...); got != want {
			t.Errorf("after a remount:\n%s\nwant\n%s", got, want)
		}
	})
}

// as does f as another user, without the rights of root: setfsuid(2).
func as(t *testing.T, id int, f func() error) (err error) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread goes
		unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		unix.RawSyscall(unix.SYS_SETFSGID, uintptr(id), 0, 0)
		unix.RawSyscall(unix.SYS_SETFSUID, uintptr(id), 0, 0)
		err = f()
	}()
	<-done
	return err
}

// TestACLsAreEnforced: those of a layer, also when it has been copied up, and of an id that is not
// mapped, which nobody can be.
func TestACLsAreEnforced(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		list := acl("u::rw- u:1000:r-- u:90000:rw- g::--- m::r-- o::---")
		layer := tartest.Of(t, tartest.Dir("d"), tartest.File("d/f", "x", tartest.Mode(0o640), tartest.Xattr(access, list)),
			tartest.File("d/bad", "x", tartest.Mode(0o644), tartest.Xattr(access, "nonsense")))
		fstest.Run(t, fstest.Options{Layers: [][]byte{layer}, IDs: 2000, ReadOnly: readOnly}, func(t *testing.T, m *fstest.Mount) {
			f, bad := filepath.Join(m.Dir, "d/f"), filepath.Join(m.Dir, "d/bad")
			read := func(p string) func() error {
				return func() error { // without fstat(2), for which READ makes the kernel ask, and forget its list
					fd, err := unix.Open(p, unix.O_RDONLY, 0)
					if err == nil {
						_, err = unix.Read(fd, make([]byte, 1))
						unix.Close(fd)
					}
					return err
				}
			}
			try := func(when string) {
				t.Helper()
				if err := as(t, 1000, read(f)); err != nil {
					t.Errorf("%s: who is listed: %v", when, err)
				}
				if err := as(t, 1001, read(f)); !errors.Is(err, unix.EACCES) {
					t.Errorf("%s: who is not listed: %v", when, err)
				}
				if err := as(t, 1001, read(bad)); err != nil {
					t.Errorf("%s: a list that is none: %v", when, err)
				}
				want := acl("u::rw- u:1000:r-- g::--- m::r-- o::---")
				b := make([]byte, 100)
				if n, err := unix.Getxattr(f, access, b); err != nil || string(b[:n]) != want {
					t.Errorf("%s: the list is %x, %v", when, b[:max(n, 0)], err)
				}
			}
			// What a user other than the owner costs: the list of each file on the way, once. But
			// that of the root each time: the kernel has made that inode before the server could
			// say that it knows lists, and caches none of it (fuse_init_inode in fs/fuse/inode.c).
			if _, err := os.ReadFile(bad); err != nil { // the kernel learns what it need not ask for
				t.Fatal(err)
			}
			for _, want := range []map[string]uint64{{"GETXATTR": 3, "READ": 1, "LOOKUP": 1}, {"GETXATTR": 1}} {
				if got := m.Requests(func() { as(t, 1000, read(f)) }); !maps.Equal(got, want) {
					t.Errorf("a user's open: %v, want %v", got, want)
				}
			}
			try("in the layer")
			if readOnly {
				return
			}
			if err := errors.Join(unix.Chmod(bad, 0o604), unix.Lchown(f, 0, 5)); err != nil {
				t.Fatal(err)
			}
			try("copied up")
			m.Remount(t)
			try("after a remount")
			if err := unix.Chmod(f, 0o600); err != nil { // the mask
				t.Fatal(err)
			}
			if err := as(t, 1000, read(f)); !errors.Is(err, unix.EACCES) {
				t.Errorf("with a mask of nothing: %v", err)
			}
		})
	}
}

// TestListedAttributesHaveValues: listxattr(2) names none that getxattr(2) does not give.
func TestListedAttributesHaveValues(t *testing.T) {
	attrs := []tartest.Option{tartest.Xattr("user.ok", "v"), tartest.Xattr("trusted.foo", "x"), tartest.Xattr("foreign.bar", "x"),
		tartest.Xattr("system.nfs4_acl", "x"), tartest.Xattr(access, "nonsense"), tartest.Xattr(inherit, acl("u::rw- g::r-- o::r--")), tartest.Xattr("security.foo", "x")}
	layer := tartest.Of(t, tartest.File("file", "x", attrs...), tartest.Symlink("link", "x", attrs...), tartest.Fifo("fifo", attrs...), tartest.Dir("dir", attrs...))
	for _, readOnly := range []bool{false, true} {
		fstest.Run(t, fstest.Options{Layers: [][]byte{layer}, ReadOnly: readOnly}, func(t *testing.T, m *fstest.Mount) {
			want := map[string]string{"file": "[security.foo user.ok]", "link": "[security.foo]", "fifo": "[security.foo]", "dir": "[security.foo system.posix_acl_default user.ok]"}
			for range 2 {
				for name, want := range want {
					list, err := fstest.Listxattr(filepath.Join(m.Dir, name))
					if fmt.Sprint(list) != want {
						t.Errorf("%s: %v, %v; want %s", name, list, err, want)
					}
					for _, attr := range list {
						if _, err := unix.Lgetxattr(filepath.Join(m.Dir, name), attr, make([]byte, 100)); err != nil {
							t.Errorf("%s of %s: %v", attr, name, err)
						}
					}
					if !readOnly {
						unix.Lchown(filepath.Join(m.Dir, name), 0, 0)
						unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(m.Dir, name), make([]unix.Timespec, 2), unix.AT_SYMLINK_NOFOLLOW)
					}
				}
			}
		})
	}
}
