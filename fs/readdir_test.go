package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// entry is one struct linux_dirent64, getdents(2).
type entry struct {
	name string
	ino  uint64
	off  int64
}

// getdents reads the next entries from fd.
func getdents(t *testing.T, fd int) (es []entry) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Getdents(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	for b := buf[:n]; len(b) > 0; {
		d := (*unix.Dirent)(unsafe.Pointer(&b[0]))
		e := entry{ino: d.Ino, off: d.Off}
		for _, c := range b[19:d.Reclen] {
			if c == 0 {
				break
			}
			e.name += string(c)
		}
		es = append(es, e)
		b = b[d.Reclen:]
	}
	return es
}

// TestListingWhileTheDirectoryChanges: POSIX readdir(): what was there all the
// time is listed exactly once, whatever comes and goes meanwhile; and a
// position from telldir(3) leads back to the same entry.
func TestListingWhileTheDirectoryChanges(t *testing.T) {
	const lower, upper = 3000, 3000
	es := []tartest.Entry{tartest.Dir("d")}
	for i := range lower {
		es = append(es, tartest.File(fmt.Sprintf("d/lower%05d", i), "x"))
	}
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, es...)}}, func(t *testing.T, m *fstest.Mount) {
		dir := filepath.Join(m.Dir, "d")
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		name := func(kind string, i int) string { return filepath.Join(dir, fmt.Sprintf("%s%05d", kind, i)) }
		for i := range upper {
			ok(write(name("upper", i), "", os.O_CREATE))
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		ok(err)
		defer unix.Close(fd)
		seen, made := map[string]int{}, 0
		for es := getdents(t, fd); len(es) > 0; es = getdents(t, fd) {
			for _, e := range es {
				seen[e.name]++
			}
			// Every third lower and every fifth upper name goes, in any order;
			// new ones come; one that was listed is replaced.
			for range 20 {
				if i := made * 3; i < lower {
					ok(unix.Unlink(name("lower", (i*7)%lower/3*3)))
				}
				if i := made * 5; i < upper {
					ok(unix.Unlink(name("upper", (i*7)%upper/5*5)))
				}
				if made < lower/3 {
					ok(write(name("new", made), "", os.O_CREATE))
					ok(os.Rename(name("new", made), name("new2-", made)))
				}
				made++
			}
		}
		for i := range lower {
			if n := seen[filepath.Base(name("lower", i))]; i%3 != 0 && n != 1 {
				t.Errorf("lower%05d was listed %d times", i, n)
			}
		}
		for i := range upper {
			if n := seen[filepath.Base(name("upper", i))]; i%5 != 0 && n != 1 {
				t.Errorf("upper%05d was listed %d times", i, n)
			}
		}
		testPositions(t, dir, fd)
	})
}

// testPositions goes back to every position of a listing and compares what
// follows, and d_ino with st_ino.
func testPositions(t *testing.T, dir string, fd int) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	var all []entry
	for es := getdents(t, fd); len(es) > 0; es = getdents(t, fd) {
		all = append(all, es...)
	}
	for i := 0; i+1 < len(all); i += 97 {
		if _, err := unix.Seek(fd, all[i].off, 0); err != nil {
			t.Fatal(err)
		}
		if next := getdents(t, fd); len(next) == 0 || next[0] != all[i+1] {
			t.Errorf("after %v comes %v, not %v", all[i], next[:min(1, len(next))], all[i+1])
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, all[i].name), &st); err != nil || st.Ino != all[i].ino && all[i].name != ".." {
			t.Errorf("%s has d_ino %d and st_ino %d, %v", all[i].name, all[i].ino, st.Ino, err)
		}
	}
}
