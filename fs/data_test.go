package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestFrozenUpperDirectoryHasWhatWasDirty: commit and diff read the upper
// directory of a running container right after syncfs(2) and Freeze.
func TestFrozenUpperDirectoryHasWhatWasDirty(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.File("low", "lower"))}}, func(t *testing.T, m *fstest.Mount) {
		want := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
		var open []*os.File
		for _, name := range []string{"a", "b", "low"} {
			f, err := os.OpenFile(filepath.Join(m.Dir, name), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(want); err != nil {
				t.Fatal(err)
			}
			open = append(open, f)
		}
		if err := unix.Syncfs(int(open[0].Fd())); err != nil {
			t.Fatal(err)
		}
		m.Freeze()
		defer m.Thaw()
		for _, name := range []string{"low", "b", "a"} { // the last one written first: nothing may still be on its way
			got, err := os.ReadFile(filepath.Join(m.Upper, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s has %d bytes in the upper directory, of %d written", name, len(got), len(want))
			}
		}
	})
}

// TestWritesInTheTickOfTheLastChangeKeepItsTimeOverARemount: the bytes come later than the
// write(2), whose time the kernel sends only if it is another than its inode has. In the same
// tick of its clock it is not. The disk is one that fsync(2) need not wait for.
func TestWritesInTheTickOfTheLastChangeKeepItsTimeOverARemount(t *testing.T) {
	layer := tartest.Of(t, tartest.File("low", strings.Repeat("lower", 2000)))
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}, UpperTmpfs: 256 << 20}, func(t *testing.T, m *fstest.Mount) {
		low := filepath.Join(m.Dir, "low")
		ways := map[string]func(f *os.File) error{
			"write":     func(f *os.File) error { _, err := f.WriteAt([]byte("hello"), 7000); return err },
			"synced":    func(f *os.File) error { _, err := f.WriteAt([]byte("hello"), 0); return errors.Join(err, f.Sync()) },
			"allocated": func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 20000) },
			"copied": func(f *os.File) error {
				src, err := os.Open(low)
				if err == nil {
					defer src.Close()
					_, err = unix.CopyFileRange(int(src.Fd()), nil, int(f.Fd()), nil, 5000, 0)
				}
				return err
			},
		}
		// Without it, the kernel asks about attributes between making a file and looking at the
		// clock.
		if err := unix.Setxattr(low, "user.a", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		want := map[string]unix.Stat_t{}
		for way, do := range ways {
			found, end := 0, time.Now().Add(time.Minute)
			for i := 0; found < 10 && time.Now().Before(end); i++ {
				name, before := fmt.Sprint(way, i), tick(t)
				f, err := os.OpenFile(filepath.Join(m.Dir, name), os.O_RDWR|os.O_CREATE, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(do(f), f.Close()); err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				if tick(t) == before {
					want[name] = unix.Stat_t{}
					found++
				}
			}
			if found == 0 {
				t.Logf("%s: never done within one tick of the clock, so less is tested", way)
			}
		}
		for name := range want {
			want[name] = statOf(t, filepath.Join(m.Dir, name))
		}
		m.Remount(t)
		for name, before := range want {
			if st := statOf(t, filepath.Join(m.Dir, name)); st.Mtim != before.Mtim {
				t.Errorf("%s: changed at %d; after a remount at %d", name, before.Mtim.Nano(), st.Mtim.Nano())
			}
		}
	})
}

// tick is the time of the last tick of the clock, clock_gettime(2).
func tick(t *testing.T) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// TestSeekNeverMakesTheKernelWriteBack: the kernel asks where data is without telling about its
// dirty pages. Where there may be some all is data (lseek(2), SEEK_HOLE), and nothing waits for a
// WRITE: who kills the server then would leave processes that nothing ends.
func TestSeekNeverMakesTheKernelWriteBack(t *testing.T) {
	const mib = 1 << 20
	lower := tartest.Of(t, tartest.Sparse10("low", 8*mib, []tartest.Piece{{Off: 4 * mib, Data: "data"}}))
	fstest.Run(t, fstest.Options{Layers: [][]byte{lower}}, func(t *testing.T, m *fstest.Mount) {
		for _, name := range []string{"low", "new"} {
			f, err := os.OpenFile(filepath.Join(m.Dir, name), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(7 * mib); err != nil {
				t.Fatal(err)
			}
			got := map[string]uint64{"WRITE": 1}
			for try := 0; try < 20 && got["WRITE"] > 0; try++ { // another person's sync(2) makes the kernel write, too
				got = m.Requests(func() {
					if _, err := f.WriteAt([]byte("dirty"), 8*mib); err != nil {
						t.Fatal(err)
					}
					seeks(t, f, []sought{{unix.SEEK_DATA, 0, 0}, {unix.SEEK_HOLE, 0, 8*mib + 5}, {unix.SEEK_DATA, 7 * mib, 7 * mib},
						{unix.SEEK_HOLE, 7 * mib, 8*mib + 5}, {unix.SEEK_DATA, 8*mib + 4, 8*mib + 4}, {unix.SEEK_DATA, 8*mib + 5, -1}})
				})
			}
			if got["WRITE"] > 0 || got["LSEEK"] > 1 {
				t.Errorf("%s: looking for data costs %s", name, counts(got))
			}
			b := make([]byte, 5)
			if _, err := f.ReadAt(b, 8*mib); err != nil || string(b) != "dirty" {
				t.Errorf("%s has %q, %v", name, b, err)
			}
		}
	})
	fstest.Run(t, fstest.Options{Layers: [][]byte{lower}, ReadOnly: true}, func(t *testing.T, m *fstest.Mount) {
		f, err := os.Open(filepath.Join(m.Dir, "low"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		seeks(t, f, []sought{{unix.SEEK_DATA, 0, 4 * mib}, {unix.SEEK_HOLE, 0, 0}, {unix.SEEK_HOLE, 4 * mib, 4*mib + 4},
			{unix.SEEK_DATA, 5 * mib, -1}, {unix.SEEK_HOLE, 5 * mib, 5 * mib}, {unix.SEEK_HOLE, 8 * mib, -1}})
	})
}

// sought is what lseek(2) should return; -1 is ENXIO.
type sought struct {
	whence    int
	off, want int64
}

func seeks(t *testing.T, f *os.File, all []sought) {
	t.Helper()
	for _, s := range all {
		got, err := unix.Seek(int(f.Fd()), s.off, s.whence)
		if s.want < 0 && err == unix.ENXIO {
			continue
		}
		if err != nil || got != s.want {
			t.Errorf("%s: seek from %d, whence %d: %d, %v; want %d", f.Name(), s.off, s.whence, got, err, s.want)
		}
	}
}

// TestASparseFileOfManyPieces has more pieces in one READ than writev(2) takes (IOV_MAX, 1024).
func TestASparseFileOfManyPieces(t *testing.T) {
	var pieces []tartest.Piece
	for i := range 3000 {
		pieces = append(pieces, tartest.Piece{Off: int64(2 * i), Data: "D"})
	}
	want := strings.Repeat("D\x00", 3000)
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.Sparse10("sp", 6000, pieces))}}, func(t *testing.T, m *fstest.Mount) {
		p := filepath.Join(m.Dir, "sp")
		for _, copied := range []bool{false, true} {
			if copied {
				if err := os.Chmod(p, 0o600); err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(p, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.WriteAt([]byte("D"), 0)
				if err = errors.Join(err, f.Close(), m.DropCaches()); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(p); err != nil || string(got) != want {
				t.Errorf("%d bytes that differ, %v", len(got), err)
			}
		}
	})
}
