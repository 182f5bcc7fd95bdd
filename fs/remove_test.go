package fs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestWhiteoutsAreNamesOfOneFile, unless that cannot have more of them.
func TestWhiteoutsAreNamesOfOneFile(t *testing.T) {
	layer := tartest.Of(t, tartest.File("a", "a"), tartest.File("b", "b"), tartest.File("c", "c"), tartest.File("d", "d"), tartest.File("kept", "kept"))
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}}, func(t *testing.T, m *fstest.Mount) {
		m.EnableFaults()
		m.Remount(t)
		remove := func(name string) {
			t.Helper()
			if err := os.Remove(filepath.Join(m.Dir, name)); err != nil {
				t.Errorf("remove %s: %v", name, err)
			}
		}
		remove("a")
		m.Fault(t, 1, unix.EMLINK) // linkat(2)
		remove("b")
		if !m.Fault(t, 0, 0) {
			t.Error("nothing was linked")
		}
		remove("c")
		remove("d")
		for name, want := range map[string]uint64{".wh.a": 1, ".wh.b": 1, ".wh.c": 3, ".wh.d": 3} { // and one in the work directory
			if st := statOf(t, filepath.Join(m.Upper, name)); st.Nlink != want || st.Size != 0 {
				t.Errorf("%s has %d names and %d bytes, not %d and 0", name, st.Nlink, st.Size, want)
			}
		}
		m.Remount(t)
		left, err := os.ReadDir(m.Dir)
		if err != nil || len(left) != 1 || left[0].Name() != "kept" {
			t.Errorf("%v, %v", left, err)
		}
	})
}

// TestFilesWithoutANameStayUsable, more of them than the server keeps open, whether they were
// removed or replaced.
func TestFilesWithoutANameStayUsable(t *testing.T) {
	fstest.Run(t, fstest.Options{}, func(t *testing.T, m *fstest.Mount) {
		const files = 700 // the server keeps 512 at most
		var open []*os.File
		for i := range files {
			name := filepath.Join(m.Dir, fmt.Sprint("f", i))
			f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err = fmt.Fprint(f, "before ", i); err == nil && i%2 == 0 {
				err = os.Remove(name)
			} else if err == nil {
				err = os.WriteFile(name+".new", []byte("new"), 0o644)
				if err == nil {
					err = os.Rename(name+".new", name)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, f)
		}
		if left, err := os.ReadDir(m.Work); err != nil || len(left) < files-512 {
			t.Errorf("%d files in the work directory, %v", len(left), err)
		}
		for i, f := range open {
			fmt.Fprint(f, ", after")
			if err := f.Chmod(0o600); err != nil {
				t.Errorf("chmod of %d: %v", i, err)
			}
			if err := unix.Fsetxattr(int(f.Fd()), "user.a", []byte("1"), 0); err != nil {
				t.Errorf("setxattr of %d: %v", i, err)
			}
		}
		if err := m.DropCaches(); err != nil {
			t.Log(err) // an ordinary user may not
		}
		for i, f := range open {
			b, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
			if want := fmt.Sprint("before ", i, ", after"); err != nil || string(b) != want {
				t.Errorf("%d: %q, %v; want %q", i, b, err, want)
			}
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink != 0 || st.Mode&0o7777 != 0o600 {
				t.Errorf("%d: %d names, mode %o, %v", i, st.Nlink, st.Mode, err)
			}
		}
	})
}

// TestRemovingOneOfTwoNamesThatARestartForgot: the server knows of the other only when somebody
// asks for it.
func TestRemovingOneOfTwoNamesThatARestartForgot(t *testing.T) {
	fstest.Run(t, fstest.Options{}, func(t *testing.T, m *fstest.Mount) {
		one, two := filepath.Join(m.Dir, "one"), filepath.Join(m.Dir, "two")
		if err := errors.Join(os.WriteFile(one, []byte("text"), 0o644), os.Link(one, two)); err != nil {
			t.Fatal(err)
		}
		m.Remount(t)
		f, err := os.OpenFile(one, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := os.Remove(one); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("next"), 0); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if other := statOf(t, two); other.Ino != st.Ino || other.Nlink != 1 {
			t.Errorf("the other name is of inode %d with %d names, not %d with 1", other.Ino, other.Nlink, st.Ino)
		}
		if b, err := os.ReadFile(two); err != nil || string(b) != "next" {
			t.Errorf("by the other name: %q, %v", b, err)
		}
		if err := os.Link(two, filepath.Join(m.Dir, "three")); err != nil {
			t.Error(err)
		}
	})
}

// TestAttributesOfAFileWithoutAName can be changed as those of any other.
func TestAttributesOfAFileWithoutAName(t *testing.T) {
	layer := tartest.Of(t, tartest.File("low", "low"))
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}}, func(t *testing.T, m *fstest.Mount) {
		for _, name := range []string{"low", "new"} {
			f, err := os.OpenFile(filepath.Join(m.Dir, name), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			look := func() (st unix.Stat_t) {
				t.Helper()
				if err := unix.Fstat(int(f.Fd()), &st); err != nil {
					t.Fatal(err)
				}
				return st
			}
			set := func(a, m unix.Timespec) {
				t.Helper()
				if err := unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), []unix.Timespec{a, m}, 0); err != nil {
					t.Fatal(err)
				}
			}
			omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
			if _, err := f.WriteString("written"); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(f.Name()); err != nil {
				t.Fatal(err)
			}
			before := look()
			set(omit, unix.Timespec{Sec: 3000})
			if st := look(); st.Mtim.Sec != 3000 || st.Atim != before.Atim {
				t.Errorf("%s: times %v %v after the second was set, and the first was %v", name, st.Atim, st.Mtim, before.Atim)
			}
			set(unix.Timespec{Sec: 1000}, unix.Timespec{Sec: 2000})
			if err := f.Chmod(0o640); err != nil {
				t.Fatal(err)
			}
			if st := look(); st.Atim.Sec != 1000 || st.Mtim.Sec != 2000 {
				t.Errorf("%s: times %v %v", name, st.Atim, st.Mtim)
			}
			if err := unix.Fchmod(int(f.Fd()), 0o6755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Fchown(int(f.Fd()), -1, -1); err != nil {
				t.Fatal(err)
			}
			if st := look(); st.Mode&0o7777 != 0o755 || st.Atim.Sec != 1000 {
				t.Errorf("%s: mode %o, atime %v after chown", name, st.Mode, st.Atim)
			}
		}
	})
}
