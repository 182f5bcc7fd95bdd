package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
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
				for seed, tries := uint64(0), 0; seed == 0 || tries > 0 || time.Now().Before(end); {
					moved, seen := differs(t, m, seed, v.IDs > 1)
					switch {
					case t.Failed():
						return
					case moved == "" || seen && fs.WorkersAreRefused() && !v.Uncached:
						seed, tries = seed+1, 0
					case !fs.WorkersAreRefused() || v.Uncached || tries == 30:
						t.Fatalf("%d times %s", tries+1, moved)
					default: // perhaps a worker came that was not seen
						tries++
						time.Sleep(time.Duration(tries) * 10 * time.Millisecond)
					}
				}
			})
		})
	}
}

// differs does what seed says. What differs then fails the test, unless it is only when files were
// changed: that it returns, and whether a worker of the kernel's was seen meanwhile.
func differs(t *testing.T, m *fstest.Mount, seed uint64, owners bool) (moved string, seen bool) {
	fresh(t, m)
	w := newWorld(m.Dir)
	writtenBack := waitForWorker(t, m)
	for _, o := range generate(seed, 800, owners) {
		w.run(o)
	}
	w.closeAll()
	seen = writtenBack()
	want := statTree(t, m)
	for when, forget := range map[string]func(){
		"after the caches were dropped": func() { m.DropCaches() },
		"after a remount":               func() { m.Remount(t) },
	} {
		forget()
		got := statTree(t, m)
		if d := fstest.Diff(want, got, 5); d != nil {
			what := fmt.Sprintf("seed %d: %s:\n  %s", seed, when, strings.Join(d, "\n  "))
			if !onlyMoved(want, got) {
				t.Error(what)
			}
			moved = what
		}
	}
	return moved, seen
}

// waitForWorker makes a page dirty, and then tells whether a worker of the kernel's, which another
// person's sync(2) may have started, has written it back meanwhile.
func waitForWorker(t *testing.T, m *fstest.Mount) (writtenBack func() bool) {
	t.Helper()
	name := filepath.Join(m.Dir, "dirty")
	f, err := os.Create(name)
	if err == nil {
		_, err = f.WriteString("dirty")
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() bool {
		closing := m.Requests(func() { f.Close() })
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
		return closing["WRITE"] == 0
	}
}

var timesOf = regexp.MustCompile(`mtime (\d+) ctime (\d+)`)

// onlyMoved tells whether all that differs is when files were changed, and not by more than a tick
// of the clock earlier than wanted: after the WRITE of a worker's, which is later than the write(2)
// and whose SETATTR was refused, its time is shown, or that of a change in the same tick.
func onlyMoved(want, got fstest.Tree) bool {
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
