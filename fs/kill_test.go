package fs_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

func read(t *testing.T, m *fstest.Mount) fstest.Tree {
	t.Helper()
	tree, err := fstest.ReadTree(m.Dir, fstest.Look{})
	if err != nil {
		t.Fatalf("the tree cannot be read: %v", err)
	}
	return tree
}

// TestKillInARandomSequence kills at random moments of random operations: the
// union must mount again, keep its rules and show the same tree twice.
func TestKillInARandomSequence(t *testing.T) {
	t.Run("xattrs", func(t *testing.T) { killAtRandom(t, false) })
	t.Run("sidecar", func(t *testing.T) { killAtRandom(t, true) })
}

func killAtRandom(t *testing.T, side bool) {
	fstest.Run(t, fstest.Options{Layers: modelLayers(t), Sidecar: side}, func(t *testing.T, m *fstest.Mount) {
		m.EnableFaults()
		r := rand.New(rand.NewPCG(1, 2))
		for seed := range uint64(20) {
			fresh(t, m)
			m.Fault(t, 50+r.IntN(500), 0)
			w := newWorld(m.Dir)
			for _, o := range generate(seed, 400, false) {
				if s := w.run(o); strings.Contains(s, "ENOTCONN") || strings.Contains(s, "ECONNABORTED") {
					break
				}
			}
			w.closeAll()
			m.Kill(t)
			if err := m.Start(); err != nil {
				t.Fatalf("seed %d: start again: %v", seed, err)
			}
			first := read(t, m)
			if bad := m.Fsck(true); bad != nil {
				t.Errorf("seed %d: the upper directory breaks its rules:\n  %s", seed, strings.Join(bad, "\n  "))
			}
			m.Remount(t)
			if d := fstest.Diff(first, read(t, m), 5); d != nil {
				t.Errorf("seed %d: after another remount:\n  %s", seed, strings.Join(d, "\n  "))
			}
		}
		fresh(t, m)
	})
}

func TestFullDiskFailsTheWriteAndKeepsTheFile(t *testing.T) {
	old := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	layer := tartest.Of(t, tartest.File("big", old), tartest.File("small", "s"))
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}, UpperTmpfs: 1 << 20}, func(t *testing.T, m *fstest.Mount) {
		f, err := os.OpenFile(filepath.Join(m.Dir, "big"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, werr := f.WriteAt([]byte("new"), 1<<20)
		if err := errors.Join(werr, f.Sync(), f.Close()); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("write, fsync and close of a file that does not fit say %v, wanted ENOSPC from one", err)
		}
		m.DropCaches() // what cannot be written is lost
		for _, when := range []string{"", " after a remount"} {
			if b, err := os.ReadFile(filepath.Join(m.Dir, "big")); err != nil || string(b) != old {
				t.Errorf("the lower file is not what it was%s: %d bytes, %v", when, len(b), err)
			}
			m.Remount(t)
		}
		// The failed copy gave its space back, so something small fits.
		if err := os.WriteFile(filepath.Join(m.Dir, "small"), make([]byte, 100_000), 0o644); err != nil {
			t.Errorf("write that fits: %v", err)
		}
		fill(t, filepath.Join(m.Dir, "filler"))
		if err := os.Remove(filepath.Join(m.Dir, "filler")); err != nil {
			t.Errorf("remove on a full disk: %v", err)
		}
		if b, err := os.ReadFile(filepath.Join(m.Dir, "small")); err != nil || len(b) != 100_000 {
			t.Errorf("the changed file: %d bytes, %v", len(b), err)
		}
	})
}

// fill writes a new file until the disk is full, and wants to be told.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(f, zeros{}, 4<<20)
	if err := errors.Join(err, f.Sync(), f.Close()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("filling the disk says %v, wanted ENOSPC", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
