package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

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
