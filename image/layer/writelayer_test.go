package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	tt "tiffin/internal/test/tartest"
)

// rewritten is what WriteLayer makes of the index of tarball b.
func rewritten(b []byte, tree, lower *Tree, leave func(string) bool) ([]byte, error) {
	x, err := Decode(tree.Encode())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	if err := x.WriteLayer(tw, bytes.NewReader(b), lower, leave); err != nil {
		return nil, err
	}
	err = tw.Close()
	return out.Bytes(), err
}

func none(string) bool { return false }

// said is all that the index of a tarball says, with the bytes of the files, not where they are.
func said(t testing.TB, b []byte, tree *Tree) (lines []string) {
	t.Helper()
	x, err := Decode(tree.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(x.Len()) {
		n := *x.Inode(i)
		data, err := io.ReadAll(io.LimitReader(x.Reader(i, []io.ReaderAt{bytes.NewReader(b)}), 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		if !n.IsDir() {
			for _, name := range x.Names(i) {
				names = append(names, fmt.Sprint(name))
			}
		}
		lines = append(lines, fmt.Sprintf("%s %q %o %d:%d %d %d.%d %x %x %q %q %x", x.Path(i), names, n.Mode, n.UID, n.GID, n.Size,
			n.Mtime, n.Nsec, n.Rdev, n.Flags&^Sparse, x.Target(i), x.Xattrs(i), data))
	}
	return lines
}

// sameTree fails unless WriteLayer writes the tree that tarball b has.
func sameTree(t testing.TB, b []byte, tree *Tree) {
	t.Helper()
	again, err := rewritten(b, tree, nil, none)
	if err != nil {
		if !strings.Contains(err.Error(), `has a "="`) {
			t.Errorf("write it again: %v", err)
		}
		return
	}
	second, err := Scan(bytes.NewReader(again))
	if err != nil {
		t.Fatalf("what was written is no layer: %v", err)
	}
	if was, is := said(t, b, tree), said(t, again, second); !slices.Equal(was, is) {
		t.Errorf("the tree was\n%s\nand is\n%s", strings.Join(was, "\n"), strings.Join(is, "\n"))
	}
	if third, err := rewritten(again, second, nil, none); err != nil || !bytes.Equal(again, third) {
		t.Errorf("written twice, there are two tarballs: %v", err)
	}
}

// TestWriteLayer: whatever a tarball says, it is said again in a plain form.
func TestWriteLayer(t *testing.T) {
	piece := []tt.Piece{{Off: 1024, Data: "x"}}
	for _, c := range []struct {
		name string
		in   []tt.Entry
		want []string
	}{
		{"order, times and attributes", []tt.Entry{tt.Dir("b"), tt.File("b/f", "1", tt.Mtime(7, 5), tt.Owner(3, 4), tt.Xattr("user.k", "v")), tt.Dir("a", tt.Mode(0o700))},
			[]string{"drwx------ 0:0 0 a/", "drwxr-xr-x 0:0 0 b/", `-rw-r--r-- 3:4 1 b/f user.k="v" = "1" @7.000000005`}},
		{"a name that comes twice", []tt.Entry{tt.File("f", "first"), tt.Hardlink("h", "f"), tt.File("f", "second")},
			[]string{`-rw-r--r-- 0:0 6 f = "second"`, `-rw-r--r-- 0:0 5 h = "first"`}},
		{"a file in the place of a directory", []tt.Entry{tt.Dir("d"), tt.File("d/f", "x"), tt.File("d", "y")},
			[]string{`-rw-r--r-- 0:0 1 d = "y"`}},
		{"hard links say mode and owner", []tt.Entry{tt.File("f", "x", tt.Owner(1, 2), tt.Mode(0o4755), tt.Xattr("user.k", "v")), tt.Hardlink("a", "f")},
			[]string{`-rwsr-xr-x 1:2 1 a user.k="v" = "x"`, "hrwsr-xr-x 1:2 0 f -> a"}},
		{"whiteouts", []tt.Entry{tt.Whiteout("a/b"), tt.Opaque("d/"), tt.Hardlink("x", "lower")},
			[]string{"-rw------- 0:0 0 a/.wh.b", "-rw------- 0:0 0 d/.wh..wh..opq", "hrw------- 0:0 0 x -> lower"}},
		{"holes", []tt.Entry{tt.Sparse10("s", 1030, piece), tt.Global("comment", "c")},
			[]string{"-rw-r--r-- 0:0 1030 s"}},
		{"special files", []tt.Entry{tt.Char("c", 1, 3), tt.Block("b", 8, 300), tt.Fifo("p"), tt.Symlink("l", "to"), tt.Dir("./", tt.Mode(0o711))},
			[]string{"drwx--x--x 0:0 0 ./", "brw-r--r-- 0:0 8,300 b", "crw-r--r-- 0:0 1,3 c", "lrwxrwxrwx 0:0 0 l -> to", "prw-r--r-- 0:0 0 p"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tt.Of(t, c.in...)
			tree := scan(t, b)
			sameTree(t, b, tree)
			got, err := rewritten(b, tree, nil, none)
			if err != nil {
				t.Fatal(err)
			}
			if lines := tt.List(t, got); !slices.Equal(lines, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestWriteLayerLeavesOut: also one name of two.
func TestWriteLayerLeavesOut(t *testing.T) {
	b := tt.Of(t, tt.File("a", "x"), tt.Hardlink("b", "a"), tt.Dir("d"), tt.File("d/f", "y"))
	got, err := rewritten(b, scan(t, b), nil, func(path string) bool { return path == "a" || path == "d" })
	if err != nil {
		t.Fatal(err)
	}
	if lines := tt.List(t, got); !slices.Equal(lines, []string{`-rw-r--r-- 0:0 1 b = "x"`}) {
		t.Errorf("%q", lines)
	}
}

// TestWriteLayerAboveOthers: directories that a layer implies are written as the layers below have
// them; those that it has made anew are not, nor those that are files below.
func TestWriteLayerAboveOthers(t *testing.T) {
	lower := scan(t, tt.Of(t, tt.Dir("./", tt.Mode(0o711)), tt.Dir("a", tt.Mode(0o700), tt.Owner(1, 2), tt.Mtime(7, 5), tt.Xattr("user.k", "v")),
		tt.Dir("a/b", tt.Mode(0o1777)), tt.Dir("anew", tt.Mode(0o700)), tt.File("f", ""), tt.Dir("own", tt.Mode(0o700))))
	b := tt.Of(t, tt.File("a/b/c/x", ""), tt.Whiteout("anew"), tt.File("anew/x", ""), tt.Dir("own"), tt.Whiteout("own/x"), tt.File("f/x", ""))
	got, err := rewritten(b, scan(t, b), lower, none)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`drwx------ 1:2 0 a/ user.k="v" @7.000000005`, "drwxrwxrwt 0:0 0 a/b/", "-rw-r--r-- 0:0 0 a/b/c/x", "drwxr-xr-x 0:0 0 anew/",
		"-rw------- 0:0 0 anew/.wh..wh..opq", "-rw-r--r-- 0:0 0 anew/x", "-rw-r--r-- 0:0 0 f/x", "drwxr-xr-x 0:0 0 own/", "-rw------- 0:0 0 own/.wh.x"}
	if lines := tt.List(t, got); !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
