// The tree that a stack is merged to: by this program's own merge, and as it is found on disk.

package mini

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/union"
)

// node is a file of a tree.
type node struct {
	kind fs.FileMode // its type
	mode fs.FileMode // its permissions, but of a symbolic link
	text string      // what is in a file, or where a symbolic link leads
	id   uint64      // files of several names have one
}

func (n *node) isDir() bool { return n != nil && n.kind == fs.ModeDir }

func (n *node) String() string {
	switch {
	case n == nil:
		return "nothing"
	case n.kind == fs.ModeDir:
		return fmt.Sprintf("a directory, mode %#o", n.mode)
	case n.kind == fs.ModeSymlink:
		return "a symbolic link to " + n.text
	case n.kind == 0:
		return fmt.Sprintf("a file, mode %#o, %q", n.mode, n.text)
	}
	return "a file of type " + n.kind.String()
}

// tree is its files by path.
type tree map[string]*node

// layers are the trees of the single layers, and the tarballs.
func (s stack) layers() (trees []*layer.Tree, tars [][]byte, err error) {
	for n := range s {
		b, err := s.tarball(n)
		if err != nil {
			return nil, nil, err
		}
		t, err := layer.Scan(bytes.NewReader(b))
		if err != nil {
			return nil, nil, err
		}
		trees, tars = append(trees, t), append(tars, b)
	}
	return trees, tars, nil
}

// merged is the tree that the program's own merge makes of a stack.
func (s stack) merged() (tree, error) {
	trees, tars, err := s.layers()
	if err != nil {
		return nil, err
	}
	var merged *layer.Tree
	for n, t := range trees {
		if merged, err = union.Merge(merged, t, uint16(n)); err != nil {
			return nil, err
		}
	}
	out, list := tree{}, merged.List()
	var walk func(dir uint32, at string)
	walk = func(dir uint32, at string) {
		for name, i := range list.Of(dir) {
			in := merged.Node(i)
			n := &node{mode: fs.FileMode(in.Mode & 0o777), text: in.Target, id: uint64(i)}
			switch in.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				n.kind = fs.ModeDir
			case unix.S_IFLNK:
				n.kind, n.mode = fs.ModeSymlink, 0
			default:
				n.text = string(tars[in.Layer][in.Offset : in.Offset+in.Size])
			}
			path := filepath.Join(at, name)
			if out[path] = n; n.isDir() {
				walk(i, path)
			}
		}
	}
	walk(0, "")
	return out, nil
}

// readTree is the tree in a directory. What cannot be read is an error.
func readTree(dir string) (tree, error) {
	out := tree{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		n := &node{kind: st.Mode().Type(), mode: st.Mode().Perm(), id: st.Sys().(*syscall.Stat_t).Ino}
		switch n.kind {
		case fs.ModeSymlink:
			n.mode = 0
			n.text, err = os.Readlink(path)
		case 0:
			var b []byte
			b, err = os.ReadFile(path)
			n.text = string(b[:min(len(b), 100)])
		}
		out[rel] = n
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	return out, err
}

// difference is the first path at which two trees differ, "" if there is none. With other it is one
// file under two names in one tree alone.
func difference(want, got tree) (path, other string) {
	all := maps.Clone(want)
	maps.Copy(all, got)
	paths := slices.Sorted(maps.Keys(all))
	for _, p := range paths {
		w, g := want[p], got[p]
		if w == nil || g == nil || w.kind != g.kind || w.mode != g.mode || w.text != g.text {
			return p, ""
		}
	}
	for i, p := range paths {
		for _, q := range paths[i+1:] {
			if want[p].kind == 0 && want[q].kind == 0 && (want[p].id == want[q].id) != (got[p].id == got[q].id) {
				return p, q
			}
		}
	}
	return "", ""
}
