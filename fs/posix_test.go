package fs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/must"
	"tiffin/internal/test/tartest"
)

// cannotPass lists the cases of go-fuse's posixtest that this file system
// does not pass, with the reason. A case that is listed and passes is an
// error too.
var cannotPass = map[string]string{
	"FcntlFlockLocksFile": "wants a process to meet its own lock, which fcntl(2), \"Record locks\", says it never does; ext4 does not pass either",
}

// small is a lower layer with something of everything.
func small(t *testing.T) []byte {
	return tartest.Of(t,
		tartest.Dir("etc"), tartest.File("etc/hosts", "127.0.0.1 localhost\n"),
		tartest.Dir("bin"), tartest.Symlink("sbin", "bin"),
		tartest.File("a", "one"), tartest.Hardlink("b", "a"), tartest.Fifo("fifo"))
}

// largeAttributes is the case that ext4, with 4 KiB for all attributes of a
// file, cannot hold: it is tried on another upper file system.
const largeAttributes = "XAttrLarge"

func TestPosixSemanticsOfGoFuse(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}}, func(t *testing.T, m *fstest.Mount) {
		for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
			if name == largeAttributes {
				continue
			}
			dir := filepath.Join(m.Dir, "posix-"+name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			why, listed := cannotPass[name]
			if !listed {
				t.Run(name, func(t *testing.T) { noSkip(t, posixtest.All[name], dir) })
			} else if passes(posixtest.All[name], dir) {
				t.Errorf("%s passes, but is listed as unable to: %s", name, why)
			}
		}
	})
}

func TestLargeAttributesOnTmpfs(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}, UpperTmpfs: 16 << 20}, func(t *testing.T, m *fstest.Mount) {
		noSkip(t, posixtest.All[largeAttributes], m.Dir) // user attributes need Linux 6.6
	})
}

// noSkip runs a case, which must not skip where TIFFIN_MUST is set.
func noSkip(t *testing.T, f func(*testing.T, string), dir string) {
	defer func() {
		if t.Skipped() && must.Have("") {
			t.Error("skipped, but TIFFIN_MUST is set")
		}
	}()
	f(t, dir)
}

// passes runs a test whose failure is expected.
func passes(f func(*testing.T, string), dir string) bool {
	return testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "expected to fail", F: func(t *testing.T) { f(t, dir) }}})
}

// TestNamesThatAreTooLong: path_resolution(7), "Length limit", and ERRORS of each call's page.
func TestNamesThatAreTooLong(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}}, func(t *testing.T, m *fstest.Mount) {
		if err := os.WriteFile(filepath.Join(m.Dir, "etc/new"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"bin", "etc", "."} { // a lower directory, and upper ones
			long, ok := filepath.Join(m.Dir, dir, strings.Repeat("n", 256)), filepath.Join(m.Dir, "a")
			longest := long[:len(long)-1]
			for name, call := range map[string]func(p string) error{
				"stat": func(p string) error { return unix.Stat(p, new(unix.Stat_t)) }, "chmod": func(p string) error { return unix.Chmod(p, 0o600) },
				"chown": func(p string) error { return unix.Lchown(p, 0, 0) }, "truncate": func(p string) error { return unix.Truncate(p, 0) },
				"utimensat": func(p string) error { return unix.UtimesNano(p, make([]unix.Timespec, 2)) },
				"unlink":    unix.Unlink, "rmdir": unix.Rmdir, "access": func(p string) error { return unix.Access(p, unix.F_OK) },
				"open":     func(p string) error { _, err := unix.Open(p, unix.O_RDONLY, 0); return err },
				"readlink": func(p string) error { _, err := unix.Readlink(p, make([]byte, 9)); return err },
				"rename":   func(p string) error { return unix.Rename(p, ok) }, "link": func(p string) error { return unix.Link(p, ok+"2") },
				"getxattr": func(p string) error { _, err := unix.Getxattr(p, "user.x", nil); return err },
			} {
				if err := call(long); err != unix.ENAMETOOLONG {
					t.Errorf("%s in %s: %v", name, dir, err)
				}
				if err := call(longest); err != unix.ENOENT {
					t.Errorf("%s of a missing name of 255 bytes in %s: %v", name, dir, err)
				}
			}
			for name, call := range map[string]func(p string) error{
				"mkdir": func(p string) error { return unix.Mkdir(p, 0o755) }, "mknod": func(p string) error { return unix.Mknod(p, unix.S_IFIFO|0o644, 0) },
				"symlink": func(p string) error { return unix.Symlink("x", p) }, "rename to": func(p string) error { return unix.Rename(filepath.Join(m.Dir, "fifo"), p) },
				"link to": func(p string) error { return unix.Link(ok, p) },
				"creat": func(p string) error {
					fd, err := unix.Open(p, unix.O_CREAT|unix.O_RDWR, 0o644)
					unix.Close(fd)
					return err
				},
			} {
				if err := call(long); err != unix.ENAMETOOLONG {
					t.Errorf("%s in %s: %v", name, dir, err)
				}
				if err := call(longest); err != nil {
					t.Errorf("%s of 255 bytes in %s: %v", name, dir, err)
				}
				if name == "rename to" {
					os.Rename(longest, filepath.Join(m.Dir, "fifo"))
				}
				os.Remove(longest)
			}
		}
	})
}

// TestMountFlags: the mount says noatime, mount(2), and reading changes no access time; a read-only
// remount is obeyed, also for what was open before, "ERRORS" of open(2) and write(2).
func TestMountFlags(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}}, func(t *testing.T, m *fstest.Mount) {
		var s unix.Statfs_t
		if err := unix.Statfs(m.Dir, &s); err != nil || s.Flags&unix.ST_NOATIME == 0 {
			t.Errorf("statfs: flags %#x, %v", s.Flags, err)
		}
		lower, upper := filepath.Join(m.Dir, "etc/hosts"), filepath.Join(m.Dir, "upper")
		if err := os.WriteFile(upper, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{lower, upper} {
			old := []unix.Timespec{{Sec: 1}, {Sec: 2}}
			if err := unix.UtimesNano(p, old); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := os.ReadFile(p); err != nil {
					t.Fatal(err)
				}
				if st := statOf(t, p); st.Atim.Sec != 1 {
					t.Errorf("reading %s has set its access time to %d", p, st.Atim.Sec)
				}
				m.Remount(t)
			}
		}
		for _, flags := range []uintptr{unix.MS_REMOUNT | unix.MS_RDONLY, unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY} {
			const also = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
			if err := os.WriteFile(upper, []byte("dirty"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("", m.Dir, "", flags|also, ""); err != nil {
				t.Fatal(err)
			}
			for name, err := range map[string]error{
				"mkdir": unix.Mkdir(filepath.Join(m.Dir, "d"), 0o755), "chmod": unix.Chmod(lower, 0o600), "unlink": unix.Unlink(upper),
				"setxattr": unix.Setxattr(upper, "user.k", nil, 0), "truncate": unix.Truncate(upper, 0),
				"open": func() error { _, err := unix.Open(lower, unix.O_WRONLY, 0); return err }(),
			} {
				if err != unix.EROFS {
					t.Errorf("%s on a read-only mount: %v", name, err)
				}
			}
			if b, err := os.ReadFile(upper); string(b) != "dirty" {
				t.Errorf("what was written before reads %q, %v", b, err)
			}
			if err := unix.Mount("", m.Dir, "", flags&^unix.MS_RDONLY|also, ""); err != nil {
				t.Fatal(err)
			}
			if err := unix.Chmod(lower, 0o600); err != nil {
				t.Errorf("when it can be written again: %v", err)
			}
		}
	})
}

// TestThereAreNoFileHandles: name_to_handle_at(2), ERRORS.
func TestThereAreNoFileHandles(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}}, func(t *testing.T, m *fstest.Mount) {
		if _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(m.Dir, "a"), 0); err != unix.EOPNOTSUPP {
			t.Error(err)
		}
	})
}
