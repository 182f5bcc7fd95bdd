package fs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
)

// everything is what stat(2) says of a file that lies still, but for where it is.
func everything(_ string, st *unix.Stat_t) string {
	return fmt.Sprintf(" ino %d blksize %d atime %d mtime %d ctime %d", st.Ino, st.Blksize, st.Atim.Nano(), st.Mtim.Nano(), st.Ctim.Nano())
}

// TestNoTimeDiffersAfterARemount: what stat(2) says is the same when the kernel has forgotten
// everything, and when another server has read the upper directory.
func TestNoTimeDiffersAfterARemount(t *testing.T) {
	for _, v := range []struct {
		name string
		fstest.Options
	}{
		{"one id", fstest.Options{IDs: 1}},
		{"many ids", fstest.Options{IDs: 65536}},
		{"uncached", fstest.Options{IDs: 1, Uncached: true}},
	} {
		t.Run(v.name, func(t *testing.T) {
			v.Layers = modelLayers(t)
			fstest.Run(t, v.Options, func(t *testing.T, m *fstest.Mount) {
				end := time.Now().Add(2 * time.Second)
				for seed := uint64(0); seed == 0 || time.Now().Before(end); seed++ {
					fresh(t, m)
					w := newWorld(m.Dir)
					for _, o := range generate(seed, 800, v.IDs > 1) {
						w.run(o)
					}
					w.closeAll()
					want := statTree(t, m)
					for when, forget := range map[string]func(){
						"after the caches were dropped": func() { m.DropCaches() },
						"after a remount":               func() { m.Remount(t) },
					} {
						forget()
						if d := fstest.Diff(want, statTree(t, m), 5); d != nil {
							t.Errorf("seed %d: %s:\n  %s", seed, when, strings.Join(d, "\n  "))
						}
					}
					if t.Failed() {
						return
					}
				}
			})
		})
	}
}

func statTree(t *testing.T, m *fstest.Mount) fstest.Tree {
	t.Helper()
	tree, err := fstest.ReadTree(m.Dir, fstest.Look{Mtime: everything})
	if err != nil {
		t.Fatalf("the tree cannot be read: %v", err)
	}
	return tree
}
