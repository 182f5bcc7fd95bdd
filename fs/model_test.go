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

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// The model test does the same random operations in the union and in a plain
// directory of the disk's own file system, and wants to see no difference: not
// in what each call returns, not in how its files look afterwards, and, at
// intervals, over remounts, commits and in the end, not in anything of the
// whole tree.
//
//	TIFFIN_MODEL_SEEDS   which seeds, a list such as 1,2,7 or a range 1-10
//	TIFFIN_MODEL_OPS     operations for each
//
// When it fails it looks for a shorter sequence that fails too, and prints
// that with the seed.
const (
	modelSeeds    = "1-2"
	modelOps      = 3000
	modelInterval = 500 // operations between two comparisons of the whole tree
)

func seeds(t *testing.T) (list []uint64) {
	v := os.Getenv("TIFFIN_MODEL_SEEDS")
	if v == "" {
		v = modelSeeds
	}
	for _, e := range strings.Split(v, ",") {
		first, last, isRange := strings.Cut(e, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 64)
		b, err2 := strconv.ParseUint(last, 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("TIFFIN_MODEL_SEEDS=%s: not a list of numbers and ranges", v)
		}
		for ; a <= b; a++ {
			list = append(list, a)
		}
	}
	return list
}

func opCount(t *testing.T) int {
	v := os.Getenv("TIFFIN_MODEL_OPS")
	if v == "" {
		return modelOps
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("TIFFIN_MODEL_OPS=%s: not a number", v)
	}
	return n
}

// modelLayers are the layers that the model starts from: whiteouts, opaque
// directories, hard links and things that change their type between layers.
func modelLayers(t *testing.T) [][]byte {
	old := tartest.Mtime(1_000_000_000, 123456789)
	big := strings.Repeat("0123456789abcdef", 5000)
	return [][]byte{
		tartest.Of(t, tartest.Dir("a", old), tartest.File("a/a", big, old), tartest.File("a/b", "lower a/b", tartest.Mode(0o4755), old),
			tartest.Dir("a/c", old), tartest.File("a/c/a", "deep"), tartest.Hardlink("a/c/b", "a/a"), tartest.Symlink("a/d", "b", old),
			tartest.Dir("b"), tartest.Dir("b/a"), tartest.File("b/a/a", "1"), tartest.File("b/a/b", "2"), tartest.File("b/b", "hidden"),
			tartest.Dir("c"), tartest.Dir("c/c"), tartest.File("c/c/c", "ccc", tartest.Xattr("user.a", "x"), tartest.Owner(1, 2)),
			tartest.File("c/a", ""), tartest.Fifo("c/b"), tartest.Char("c/d", 0, 0), tartest.File("d", "replaced by a directory"),
			tartest.Dir("e"), tartest.File("e/a", "will be gone"), tartest.File("e/b", "e/b", tartest.Mode(0o600))),
		tartest.Of(t, tartest.Whiteout("a/b"), tartest.Dir("b"), tartest.Opaque("b"), tartest.File("b/c", "after opaque"),
			tartest.Whiteout("d"), tartest.Dir("d"), tartest.File("d/a", "d/a"), tartest.Dir("d/b"), tartest.Whiteout("e/a")),
		tartest.Of(t, tartest.File("a/e", big[:20_000], tartest.Xattr("user.bb", "")), tartest.Hardlink("e/c", "a/e"), tartest.Hardlink("b/d", "a/e"),
			tartest.Dir("d/b/a", tartest.Mode(0o1777)), tartest.Dir("d/b/b", tartest.Mode(0o2755), tartest.Owner(0, 1)),
			tartest.Symlink("d/c", "../a/a"), tartest.Symlink("e/e", "a")),
	}
}

func TestUnionBehavesLikeAPlainDirectory(t *testing.T) {
	for _, v := range []struct {
		name string
		ids  uint32
		drop time.Duration
		bare bool
		side bool
	}{
		{"one id", 1, 0, false, false},
		{"many ids", 65536, 0, false, false},
		{"caches dropped all the time", 1, 20 * time.Millisecond, false, false},
		{"uncached", 1, 0, true, false},
		{"sidecar", 1, 0, false, true},
	} {
		t.Run(v.name, func(t *testing.T) {
			for _, seed := range seeds(t) {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					t.Parallel()
					o := fstest.Options{Layers: modelLayers(t), IDs: v.ids, DropCaches: v.drop, Uncached: v.bare, Sidecar: v.side, Timeout: 30 * time.Minute}
					fstest.Run(t, o, func(t *testing.T, m *fstest.Mount) {
						unix.Umask(0o022)
						c := &comparison{m: m, limit: time.Now().Add(2 * time.Minute)}
						c.check(t, generate(seed, opCount(t), v.ids > 1))
					})
				})
			}
		})
	}
}

// comparison runs sequences of operations in both worlds.
type comparison struct {
	m     *fstest.Mount
	runs  int
	limit time.Time // for looking for a shorter sequence
	inodes
}

// check runs ops, and if that shows a difference fails with the shortest
// sequence it can find that still shows one.
func (c *comparison) check(t *testing.T, ops []*op) {
	t.Helper()
	n, diff := c.compare(t, ops)
	if diff == "" {
		return
	}
	first := diff
	ops = ops[:n]
	for step := max(len(ops)/2, 1); step >= 1 && time.Now().Before(c.limit); step /= 2 {
		for at := 0; at < len(ops) && time.Now().Before(c.limit); {
			less := append(append([]*op{}, ops[:at]...), ops[min(at+step, len(ops)):]...)
			if n, d := c.compare(t, less); d != "" {
				ops, diff = less[:n], d
			} else {
				at += step
			}
		}
	}
	var s strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&s, "\n  %v", o)
	}
	t.Fatalf("the union differs from a plain directory\nfirst seen: %s\nshorter sequence, of %d operations:%s\nends with: %s", first, len(ops), s.String(), diff)
}

// compare runs ops from a fresh start and returns how many it took to see a
// difference, and which.
func (c *comparison) compare(t *testing.T, ops []*op) (int, string) {
	t.Helper()
	plain := newWorld(filepath.Join(c.m.Scratch, fmt.Sprintf("plain%d", c.runs)))
	union := newWorld(c.m.Dir)
	union.union = c.m
	c.inodes.seen = map[identity]uint64{}
	c.runs++
	if err := c.restart(plain.root); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(plain.root)
	defer union.closeAll()
	defer plain.closeAll()
	for i, o := range ops {
		want, got := plain.run(o), union.run(o)
		if want != got {
			return i + 1, fmt.Sprintf("operation %d, %v\n  plain %s\n  union %s", i, o, want, got)
		}
		if (i+1)%modelInterval == 0 || i+1 == len(ops) {
			if d := c.compareTrees(t, plain, union, i+1 == len(ops) || (i+1)%(2*modelInterval) == 0); d != "" {
				return i + 1, fmt.Sprintf("after operation %d: %s", i, d)
			}
		}
	}
	return len(ops), ""
}

// restart empties the upper directory and makes plain equal to the lower one.
func (c *comparison) restart(plain string) error {
	if err := c.m.Stop(); err != nil {
		return err
	}
	if err := emptyUpper(c.m); err != nil {
		return err
	}
	if err := os.Mkdir(plain, 0o755); err != nil {
		return err
	}
	if err := fstest.Plain(plain, &c.m.Image); err != nil {
		return err
	}
	return c.m.Start()
}

// compareTrees compares everything, and once more after a remount.
func (c *comparison) compareTrees(t *testing.T, plain, union *world, remount bool) string {
	look := fstest.Look{Mtime: setMtime}
	want, err := fstest.ReadTree(plain.root, look)
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"", " after dropping the caches", " after a remount"} {
		switch when {
		case " after dropping the caches":
			if err := c.m.DropCaches(); err != nil {
				return err.Error()
			}
		case " after a remount":
			if !remount {
				continue
			}
			union.closeAll()
			plain.closeAll()
			c.m.Remount(t)
		}
		got, err := fstest.ReadTree(union.root, look)
		if err != nil {
			return err.Error() + when
		}
		if d := fstest.Diff(want, got, 10); d != nil {
			return "trees differ" + when + ":\n  " + strings.Join(d, "\n  ")
		}
		if bad := c.inodes.check(plain.root, union.root); bad != "" {
			return bad + when
		}
	}
	if remount {
		if bad := c.m.Fsck(false); bad != nil {
			return "the upper directory breaks its rules:\n  " + strings.Join(bad, "\n  ")
		}
		return c.commit(t, want, look)
	}
	return ""
}

var mtime = regexp.MustCompile(` mtime \S+`)

// commit makes a layer of what has changed and compares the tree of the image
// with that layer on top.
func (c *comparison) commit(t *testing.T, want fstest.Tree, look fstest.Look) string {
	dir := filepath.Join(c.m.Scratch, "commit")
	defer os.RemoveAll(dir)
	plain := filepath.Join(dir, "plain")
	if err := os.MkdirAll(plain, 0o755); err != nil {
		t.Fatal(err)
	}
	tar, err := c.m.Image.Diff(c.m.Upper)
	if err != nil {
		return "commit: " + err.Error()
	}
	im, err := c.m.Image.AddLayer(dir, tar)
	if err == nil {
		err = fstest.Plain(plain, im)
	}
	if err != nil {
		return "read the committed layer: " + err.Error()
	}
	got, err := fstest.ReadTree(plain, look)
	if err != nil {
		t.Fatal(err)
	}
	for p, line := range want {
		if strings.HasPrefix(line, "socket ") { // a tarball cannot have one
			got[p] = line
		}
	}
	if mtime.ReplaceAllString(got["/"], "") == mtime.ReplaceAllString(want["/"], "") {
		got["/"] = want["/"] // as with docker, a new time alone is no reason to write the root
	}
	if d := fstest.Diff(want, got, 10); d != nil {
		return "the tree differs after commit:\n  " + strings.Join(d, "\n  ")
	}
	return ""
}

// TestTheModelItselfSeesNoDifferenceBetweenPlainDirectories keeps the model
// honest: what it reports about the union cannot come from itself.
func TestTheModelItselfSeesNoDifferenceBetweenPlainDirectories(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: modelLayers(t)}, func(t *testing.T, m *fstest.Mount) {
		var worlds []*world
		for _, name := range []string{"one", "two"} {
			w := newWorld(filepath.Join(m.Scratch, name))
			if err := os.Mkdir(w.root, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := fstest.Plain(w.root, &m.Image); err != nil {
				t.Fatal(err)
			}
			worlds = append(worlds, w)
			defer os.RemoveAll(w.root) // some of it only root here can remove
			defer w.closeAll()
		}
		compareOutcomes(t, worlds[0], worlds[1])
	})
}

// compareOutcomes also sees to it that each kind of operation succeeds at times.
func compareOutcomes(t *testing.T, one, two *world) {
	succeeded := map[string]int{}
	for i, o := range generate(1, opCount(t), false) {
		want, got := one.run(o), two.run(o)
		if want != got {
			t.Fatalf("operation %d, %v\n one %s\n two %s", i, o, want, got)
		}
		if outcome, _, _ := strings.Cut(want, ";"); !failed.MatchString(outcome) {
			succeeded[o.name]++
		}
	}
	for _, c := range choices {
		if succeeded[c.name] == 0 {
			t.Errorf("%s never succeeds: the model does not test it", c.name)
		}
	}
	t.Log("operations that succeeded:", succeeded)
}

var failed = regexp.MustCompile(`(^|\s|\])E[A-Z]+$|^nothing open$|^outside$|^no file$`)
