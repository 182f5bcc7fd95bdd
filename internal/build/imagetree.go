// The files of a stack of layers, by its merged index.

package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	gopath "path"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/oci"
)

// imageTree is a tree of an index.
type imageTree struct {
	index *layer.Index
	flats []io.ReaderAt
	close func()
}

// openStack opens the tree that layers make. The caller closes it.
func openStack(s *image.Store, layers []oci.Layer) (*imageTree, error) {
	f, err := s.Files(layers)
	if err != nil {
		return nil, err
	}
	return &imageTree{index: f.Index, flats: f.Flats, close: f.Close}, nil
}

func (t *imageTree) stat(path string) (*file, error) {
	i, ok := t.index.Find(path)
	if !ok {
		return nil, fs.ErrNotExist
	}
	n := t.index.Inode(i)
	switch { // in an archive
	case n.Flags&layer.HardLink != 0:
		return nil, fmt.Errorf("%s is a hard link to a file that is not in the archive", shown(path))
	case n.Flags&layer.Whiteout != 0:
		return nil, fmt.Errorf("the name %q stands for a deletion in a layer", ".wh."+gopath.Base(path))
	}
	f := &file{mode: n.Mode, uid: n.UID, gid: n.GID, rdev: n.Rdev, size: n.Size, mtime: time.Unix(n.Mtime, int64(n.Nsec)), xattrs: t.index.Xattrs(i)}
	if f.is(unix.S_IFLNK) {
		f.target = t.index.Target(i)
	}
	if !f.isDir() && n.Nlink > 1 {
		f.linked, f.inode.ino = true, uint64(i)
	}
	return f, nil
}

func (t *imageTree) list(path string) (names []string, err error) {
	i, ok := t.index.Find(path)
	if !ok {
		return nil, fs.ErrNotExist
	}
	for k := range t.index.DirLen(i) {
		name, _ := t.index.Dirent(i, k)
		names = append(names, name)
	}
	return names, nil
}

func (t *imageTree) open(path string) (io.ReadCloser, error) {
	i, ok := t.index.Find(path)
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(t.index.Reader(i, t.flats)), nil
}

func (t *imageTree) sum(path string, _ *file) (string, error) { return sumOf(t, path) }

// sumOf reads a file to its end.
func sumOf(t tree, path string) (string, error) {
	r, err := t.open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return sumOfReader(r)
}

func sumOfReader(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := copyWhole(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
