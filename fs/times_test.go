package fs_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/internal/test/fstest"
)

// everything is what stat(2) says of a file that lies still, but for where it is.
func everything(_ string, st *unix.Stat_t) string {
	return fmt.Sprintf(" ino %d blksize %d atime %d mtime %d ctime %d", st.Ino, st.Blksize, st.Atim.Nano(), st.Mtim.Nano(), st.Ctim.Nano())
}

// TestNoTimeDiffersAfterARemount: what stat(2) says is the same when the kernel has forgotten
// everything, and when another server has read the upper directory. Where the kernel's workers are
// refused, a time may be the later one of a WRITE.
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
				mayBeLater := fs.WorkersAreRefused() && !v.Uncached
				end := time.Now().Add(2 * time.Second)
				for seed := uint64(0); seed == 0 || time.Now().Before(end) && !t.Failed(); seed++ {
					differs(t, m, seed, v.IDs > 1, mayBeLater)
				}
			})
		})
	}
}

// differs does what seed says, and fails the test if a file differs then: if only when it was
// changed, and that is later, unless it may be.
func differs(t *testing.T, m *fstest.Mount, seed uint64, owners, mayBeLater bool) {
	fresh(t, m)
	w := newWorld(m.Dir)
	for _, o := range generate(seed, 800, owners) {
		w.run(o)
	}
	w.closeAll()
	want := statTree(t, m)
	for when, forget := range map[string]func(){
		"after the caches were dropped": func() { m.DropCaches() },
		"after a remount":               func() { m.Remount(t) },
	} {
		forget()
		got := statTree(t, m)
		if d := fstest.Diff(want, got, 5); d != nil && !(mayBeLater && onlyLater(want, got)) {
			t.Errorf("seed %d: %s:\n  %s", seed, when, strings.Join(d, "\n  "))
		}
	}
}

var timesOf = regexp.MustCompile(`mtime (\d+) ctime (\d+)`)

// onlyLater tells whether all that differs is when files were changed, and not by more than a tick
// of the clock earlier than wanted: the time of a WRITE may be that of a change in the same tick.
func onlyLater(want, got fstest.Tree) bool {
	const tick = int64(10 * time.Millisecond)
	for p, w := range want {
		g := got[p]
		if g == w {
			continue
		}
		a, b := timesOf.FindStringSubmatch(w), timesOf.FindStringSubmatch(g)
		same := timesOf.ReplaceAllString(g, "") == timesOf.ReplaceAllString(w, "")
		if !strings.HasPrefix(w, "file") || !same || nanos(b[1]) < nanos(a[1])-tick || nanos(b[2]) < nanos(a[2])-tick {
			return false
		}
	}
	return len(want) == len(got)
}

func nanos(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func statTree(t *testing.T, m *fstest.Mount) fstest.Tree {
	t.Helper()
	tree, err := fstest.ReadTree(m.Dir, fstest.Look{Mtime: everything})
	if err != nil {
		t.Fatalf("the tree cannot be read: %v", err)
	}
	return tree
}
