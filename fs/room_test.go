package fs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestNothingThatWriteAcceptsIsLostOnAFullDisk: a writer that never asks close(2) learns from
// write(2) that the disk is full, and all that succeeded before is there.
func TestNothingThatWriteAcceptsIsLostOnAFullDisk(t *testing.T) {
	for _, v := range []struct {
		name string
		disk int64 // bytes
	}{
		{"little room from the start", 24 << 20},
		{"much at the start", 300 << 20},
	} {
		t.Run(v.name, func(t *testing.T) {
			o := fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.File("lower", "lower"), tartest.File("other", "other"))}, UpperTmpfs: v.disk}
			fstest.Run(t, o, func(t *testing.T, m *fstest.Mount) {
				p := func(name string) string { return filepath.Join(m.Dir, name) }
				early, err := os.OpenFile(p("lower"), os.O_WRONLY|os.O_APPEND, 0) // it is known to the kernel before
				if err != nil {
					t.Fatal(err)
				}
				size := map[string]int64{"lower": 5, "big": 0}
				big, err := os.Create(p("big"))
				if err != nil {
					t.Fatal(err)
				}
				for n := 0; err == nil && size["big"] < 2*v.disk; {
					size["big"] += int64(n)
					n, err = big.Write(make([]byte, 64<<10))
				}
				if !errors.Is(err, unix.ENOSPC) {
					t.Fatalf("after %d bytes: %v", size["big"], err)
				}
				if size["big"] < v.disk/2 {
					t.Errorf("full after %d bytes of %d", size["big"], v.disk)
				}
				for i, err := 0, error(nil); err == nil && i < 50_000; i++ { // small ones, until they fail, too
					if _, err = early.Write([]byte("0123456789abcdef")); err == nil {
						size["lower"] += 16
					}
					if i == 49_999 {
						t.Error("appending never fails")
					}
				}
				for i := range 300 { // as a shell does: nobody looks at what close(2) says
					f, err := os.OpenFile(p(fmt.Sprint("new", i)), os.O_CREATE|os.O_WRONLY, 0o644)
					if err != nil {
						if !errors.Is(err, unix.ENOSPC) {
							t.Error(err)
						}
						break
					}
					if _, err := f.Write([]byte("hello\n")); err == nil {
						size[fmt.Sprint("new", i)] = 6
					}
					f.Close()
				}
				if b, err := os.ReadFile(p("other")); err != nil || string(b) != "other" {
					t.Errorf("reading: %q, %v", b, err)
				}
				if err := errors.Join(big.Close(), early.Close()); err != nil {
					t.Errorf("close: %v, although write(2) said so", err)
				}
				m.Remount(t)
				for name, want := range size {
					if st, err := os.Stat(p(name)); err != nil || st.Size() != want {
						t.Errorf("%s: %d bytes were accepted, and there are %v, %v", name, want, st.Size(), err)
					}
				}
				if err := os.Remove(p("big")); err != nil {
					t.Error(err)
				}
				// The server holds the removed file until the kernel has forgotten it, which may be
				// a moment after the removal.
				again := func() error { return os.WriteFile(p("again"), make([]byte, 1<<20), 0o644) }
				end := time.Now().Add(time.Minute)
				for err = again(); err != nil && time.Now().Before(end); err = again() {
					time.Sleep(10 * time.Millisecond)
				}
				if err != nil {
					t.Errorf("when there is room again: %v", err)
				}
			})
		})
	}
}
