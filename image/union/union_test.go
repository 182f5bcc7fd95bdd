package union

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

func stack(t testing.TB, layers ...[]tt.Entry) ([]*layer.Index, *layer.Tree) {
	t.Helper()
	var xs []*layer.Index
	var merged *layer.Tree
	for n, es := range layers {
		tree, err := layer.Scan(bytes.NewReader(tt.Of(t, es...)))
		if err != nil {
			t.Fatal(err)
		}
		x, err := layer.Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		xs = append(xs, x)
		if merged, err = Merge(merged, tree, uint16(n)); err != nil {
			t.Fatal(err)
		}
	}
	return xs, merged
}

func decode(t testing.TB, tree *layer.Tree) *layer.Index {
	t.Helper()
	x, err := layer.Decode(tree.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestImplicitDirectoriesKeepTheAttributesBelow(t *testing.T) {
	_, tree := stack(t,
		[]tt.Entry{tt.Dir("d", tt.Mode(0o700), tt.Owner(3, 4), tt.Mtime(9, 9), tt.Xattr("user.a", "b")), tt.File("d/f", "")},
		[]tt.Entry{tt.File("d/g", "")},
		[]tt.Entry{tt.Opaque("d")})
	i, ok := tree.Lookup(0, "d")
	_, err := tree.Find("d/f")
	if d := tree.Node(i); !ok || err == nil || d.Mode&0o777 != 0o700 || d.UID != 3 || d.GID != 4 || d.Mtime != 9 || d.Nsec != 9 || len(d.Xattrs) != 1 || d.Layer != 0 {
		t.Errorf("%+v %v", d, err)
	}
}

func TestReplacingOneNameOfAHardLinkLeavesTheOthers(t *testing.T) {
	_, tree := stack(t,
		[]tt.Entry{tt.File("a", "old"), tt.Hardlink("b", "a"), tt.Hardlink("c", "a")},
		[]tt.Entry{tt.File("a", "newer"), tt.Hardlink("d", "b")})
	x := decode(t, tree)
	a, _ := x.Find("a")
	b, _ := x.Find("b")
	c, _ := x.Find("c")
	d, _ := x.Find("d")
	if b != c || c != d || a == b || x.Inode(b).Nlink != 3 || x.Inode(a).Nlink != 1 || x.Inode(a).Size != 5 || x.Inode(b).Layer != 0 || x.Inode(a).Layer != 1 {
		t.Errorf("a %d %+v, b %d c %d d %d %+v", a, x.Inode(a), b, c, d, x.Inode(b))
	}
}

func TestAHardLinkMayKeepWhatItsLayerDeletes(t *testing.T) {
	_, tree := stack(t,
		[]tt.Entry{tt.File("d/old", "text")},
		[]tt.Entry{tt.Hardlink("new", "d/old"), tt.Whiteout("d/old")})
	x := decode(t, tree)
	if i, ok := x.Find("new"); !ok || x.Inode(i).Size != 4 || x.Inode(i).Nlink != 1 {
		t.Error("the file is gone with its old name")
	}
}

func TestAHardLinkToNothingIsAnError(t *testing.T) {
	for _, c := range []struct {
		target, want string
	}{{"gone", "is not there"}, {"d", "is a directory"}, {"d/f/x", "no directory"}, {"l/x", "is not there"}, {"loop/x", "too many"}} {
		low, _ := layer.Scan(bytes.NewReader(tt.Of(t, tt.Dir("d"), tt.File("d/f", ""), tt.Symlink("l", "d"), tt.Symlink("loop", "loop"))))
		up, err := layer.Scan(bytes.NewReader(tt.Of(t, tt.Hardlink("x/h", c.target))))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Merge(low, up, 1)
		if want := fmt.Sprintf(`merge layer 1: "/x/h" is a hard link to %q`, c.target); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.target, err)
		}
		if _, err = Merge(nil, up, 0); err == nil {
			t.Errorf("%s: no error in the bottom layer", c.target)
		}
	}
}

func TestAHardLinkIsFollowedThroughALinkBelow(t *testing.T) {
	_, tree := stack(t,
		[]tt.Entry{tt.File("d/f", "text"), tt.Symlink("l", "/d")},
		[]tt.Entry{tt.Hardlink("new", "l/f"), tt.Whiteout("l")})
	a, err1 := tree.Find("new")
	b, err2 := tree.Find("d/f")
	if err1 != nil || err2 != nil || a != b {
		t.Errorf("%d %v, %d %v", a, err1, b, err2)
	}
}

func TestTooLargeAnImageIsRefused(t *testing.T) {
	_, tree := stack(t, []tt.Entry{tt.File("f", "")})
	defer func(n int) { maxInodes = n }(maxInodes)
	maxInodes = 3
	upper := layer.NewTree(layer.NewDir(0o755))
	upper.Add(&layer.Node{})
	if _, err := Merge(tree, upper, 1); err == nil || !strings.Contains(err.Error(), "tiffin takes") {
		t.Error(err)
	}
}

func TestExplainSaysWhichLayerAnswersAndWhy(t *testing.T) {
	xs, _ := stack(t,
		[]tt.Entry{tt.Dir("etc"), tt.File("etc/a", "0"), tt.File("etc/b", "0"), tt.Dir("d"), tt.File("d/x", ""), tt.File("f", ""), tt.Dir("r")},
		[]tt.Entry{tt.File("etc/a", "1"), tt.Whiteout("etc/b"), tt.Opaque("d"), tt.Dir("f"), tt.File("f/x", ""), tt.File("r", ""), tt.File("n", "")},
		[]tt.Entry{tt.Dir("etc"), tt.Whiteout("f"), tt.Dir("r"), tt.Whiteout("n")})
	for path, want := range map[string]string{
		"/etc/a":   "miss, hit, not asked",
		"etc//b":   "miss, whiteout at /etc/b, not asked",
		"/etc":     "hit, merged, merged",
		"/":        "hit, merged, merged",
		"/d/x":     "miss, opaque at /d, not asked",
		"/d":       "miss, hit, not asked",
		"/f/x":     "whiteout at /f, not asked, not asked",
		"/r":       "hit, replaced, not asked",
		"/r/x":     "miss, not a directory at /r, not asked",
		"/etc/a/z": "miss, not a directory at /etc/a, not asked",
		"/nothing": "miss, miss, miss",
		"/n":       "whiteout at /n, not asked, not asked",
	} {
		var got []string
		for _, v := range Explain(xs, path) {
			s := v.Answer.String()
			if v.At != "" {
				s += " at " + v.At
			}
			got = append(got, s)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s, want %s", path, strings.Join(got, ", "), want)
		}
	}
}
