package fs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestRequestsThatWaitForOthersAreServed: looking for data in a file makes the kernel
// write its dirty pages back first, in WRITEs that somebody must take while more
// LSEEKs wait for theirs than there are workers at rest.
func TestRequestsThatWaitForOthersAreServed(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.Dir("d"))}}, func(t *testing.T, m *fstest.Mount) {
		const files = 24
		data := bytes.Repeat([]byte("data"), 16<<10)
		var wg sync.WaitGroup
		for n := range files {
			wg.Go(func() {
				f, err := os.Create(filepath.Join(m.Dir, "d", fmt.Sprint(n)))
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				for off := int64(1 << 20); off < 12<<20; off += 1 << 20 {
					if _, err := f.WriteAt(data, off); err != nil {
						t.Error(err)
						return
					}
					if got, err := unix.Seek(int(f.Fd()), off-4096, unix.SEEK_DATA); err != nil || got != off {
						t.Errorf("file %d: data at %d, %v; want it at %d", n, got, err, off)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestAFrozenUnionCanStillBeRead: commit and diff hold changes back, and nothing else.
func TestAFrozenUnionCanStillBeRead(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.File("lower", "lower"), tartest.Dir("d"))}}, func(t *testing.T, m *fstest.Mount) {
		m.Freeze()
		thawed := sync.OnceFunc(func() { m.Thaw() })
		defer thawed()
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				if err := os.Mkdir(filepath.Join(m.Dir, "d", fmt.Sprint(n)), 0o755); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(50 * time.Millisecond) // let them wait for the thaw; if they do not yet, less is tested
		if got, err := os.ReadFile(filepath.Join(m.Dir, "lower")); err != nil || string(got) != "lower" {
			t.Errorf("read %q, %v", got, err)
		}
		if names, _ := os.ReadDir(m.Upper + "/d"); len(names) > 0 {
			t.Errorf("%d directories were made in a frozen union", len(names))
		}
		thawed()
		wg.Wait()
		if names, err := os.ReadDir(filepath.Join(m.Dir, "d")); err != nil || len(names) != 8 {
			t.Errorf("%d directories, %v; want 8", len(names), err)
		}
	})
}
