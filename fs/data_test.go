package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/fstest"
	"tiffin/internal/tartest"
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

// TestTimesOfWritesSurviveARemount: with the writeback cache the bytes come later than the write(2), which
// is the time that counts.
func TestTimesOfWritesSurviveARemount(t *testing.T) {
	layer := tartest.Of(t, tartest.File("low", strings.Repeat("lower", 2000)))
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}}, func(t *testing.T, m *fstest.Mount) {
		ways := map[string]func(f *os.File) error{
			"write":  func(f *os.File) error { _, err := f.WriteAt([]byte("hello"), 7000); return err },
			"append": func(f *os.File) error { f.Seek(0, io.SeekEnd); _, err := f.WriteString("hello"); return err },
			"synced": func(f *os.File) error { _, err := f.WriteAt([]byte("hello"), 0); return errors.Join(err, f.Sync()) },
			"direct": func(f *os.File) error {
				block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned
				if err == nil {
					defer unix.Munmap(block)
					_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_DIRECT)
				}
				if err == nil {
					_, err = f.WriteAt(block, 8192)
				}
				return err
			},
			"allocated": func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 20000) },
			"punched":   func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 3, 0, 4096) }, // PUNCH_HOLE|KEEP_SIZE
			"copied": func(f *os.File) error {
				src, err := os.Open(filepath.Join(m.Dir, "low"))
				if err == nil {
					defer src.Close()
					_, err = unix.CopyFileRange(int(src.Fd()), nil, int(f.Fd()), nil, 5000, 0)
				}
				return err
			},
		}
		// Without it, the kernel asks about attributes between making a file and looking at the clock.
		low := filepath.Join(m.Dir, "low")
		if err := unix.Setxattr(low, "user.a", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		want := map[string]time.Time{}
		for i := range 20 { // what counts is where in the tick of the clock (4 ms) it happens
			for way, do := range ways {
				name := fmt.Sprint(way, i)
				f, err := os.OpenFile(filepath.Join(m.Dir, name), os.O_RDWR|os.O_CREATE, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(do(f), f.Close()); err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				want[name] = time.Time{}
			}
		}
		for name := range want {
			st, err := os.Stat(filepath.Join(m.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			want[name] = st.ModTime()
		}
		m.Remount(t)
		for name, before := range want {
			if st, err := os.Stat(filepath.Join(m.Dir, name)); err != nil || !st.ModTime().Equal(before) {
				t.Errorf("%s: changed at %v; after a remount at %v, %v", name, before.UnixNano(), st.ModTime().UnixNano(), err)
			}
		}
	})
}

// TestSeekSeesWhatIsNotWrittenBackYet: the kernel asks the server where data
// is without telling it about its dirty pages.
func TestSeekSeesWhatIsNotWrittenBackYet(t *testing.T) {
	const mib = 1 << 20
	lower := tartest.Of(t, tartest.Sparse10("low", 8*mib, []tartest.Piece{{Off: 4 * mib, Data: "data"}}))
	fstest.Run(t, fstest.Options{Layers: [][]byte{lower}}, func(t *testing.T, m *fstest.Mount) {
		for _, name := range []string{"low", "new"} {
			f, err := os.OpenFile(filepath.Join(m.Dir, name), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(8 * mib); err != nil {
				t.Fatal(err)
			}
			for _, off := range []int64{2 * mib, 6 * mib} {
				if _, err := f.WriteAt([]byte("dirty"), off); err != nil {
					t.Fatal(err)
				}
				for _, c := range []struct {
					whence int
					off    int64
					want   int64
				}{{unix.SEEK_DATA, off - 4096, off}, {unix.SEEK_HOLE, off, off + 4096}, {unix.SEEK_DATA, off, off}, {unix.SEEK_HOLE, off - 4096, off - 4096}} {
					got, err := unix.Seek(int(f.Fd()), c.off, c.whence)
					if err != nil || got != c.want {
						t.Errorf("%s: seek from %d, whence %d: %d, %v; want %d", name, c.off, c.whence, got, err, c.want)
					}
				}
			}
			b := make([]byte, 5)
			if _, err := f.ReadAt(b, 6*mib); err != nil || string(b) != "dirty" {
				t.Errorf("%s has %q, %v", name, b, err)
			}
		}
	})
}
