// A layer is written again as a tarball, from its index: the same tree, in a plain form.

package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"time"
)

// WriteLayer writes the tree of one layer, of which x is the index and flat the tarball, as entries
// of another tarball, which the caller begins and closes. It says what Scan has read of the layer,
// and no more: each name once, parents before children and in the order of their bytes, hard links
// after the file that they lead to, holes as zeros, PAX headers only. So a tarball in which names
// come twice, that has sparse files or headers for all that follows, becomes one without, and the
// same tree always gives the same bytes. Scan makes an equal tree of them.
//
// lower, if it is not nil, is the merged tree of the layers below: then a directory that the layer
// has no entry for, but for the root, gets one with the attributes that it has there. For who shows
// each layer by itself would invent them, and overlayfs would take those.
//
// What leave reports true of is left out, with all below it. Errors: those of tw and flat, and of
// attributes that a tarball cannot hold, by the path of the file.
func (x *Index) WriteLayer(tw *tar.Writer, flat io.ReaderAt, lower *Tree, leave func(path string) bool) error {
	w := &layerWriter{x: x, flats: []io.ReaderAt{flat}, tw: tw, leave: leave, first: map[uint32]string{}, buf: make([]byte, 256<<10)}
	return w.dir("", 0, Place{lower, 0})
}

// Place is a directory in the layers below, or nothing.
type Place struct {
	tree *Tree // nil: nothing
	dir  uint32
}

// LowerRoot is the root of the merged tree of the layers below; nil if there are none.
func LowerRoot(lower *Tree) Place { return Place{lower, 0} }

// Dir is the directory of that name in p.
func (p Place) Dir(name string) Place {
	if p.tree != nil {
		if i, ok := p.tree.Lookup(p.dir, name); ok && p.tree.IsDir(i) {
			return Place{p.tree, i}
		}
	}
	return Place{}
}

// Node is what is known of the directory; ok is false if there is none.
func (p Place) Node() (n Node, ok bool) {
	if p.tree == nil {
		return n, false
	}
	return p.tree.Node(p.dir), true
}

type layerWriter struct {
	x     *Index
	flats []io.ReaderAt
	tw    *tar.Writer
	leave func(string) bool
	first map[uint32]string // files with several names that are written, by their first name
	buf   []byte
}

// dir writes directory i and what is in it. lower is what the layers below have in its place.
func (w *layerWriter) dir(path string, i uint32, lower Place) error {
	flags := w.x.Inode(i).Flags
	if flags&Implicit == 0 {
		if err := w.entry(path, i); err != nil {
			return err
		}
	} else if err := w.implied(path, lower); err != nil {
		return err
	}
	if flags&Opaque != 0 {
		if err := w.tw.WriteHeader(markHeader(join(path, OpaqueName))); err != nil {
			return err
		}
	}
	for k := range w.x.DirLen(i) {
		name, c := w.x.Dirent(i, k)
		below := join(path, name)
		var err error
		switch n := w.x.Inode(c); {
		case w.leave(below):
		case n.IsDir():
			err = w.dir(below, c, lower.Dir(name))
		case n.Flags&Whiteout != 0:
			err = w.tw.WriteHeader(markHeader(join(path, WhiteoutPrefix+name)))
		default:
			err = w.entry(below, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// implied writes a directory that the layer only implies, as the layers below have it.
func (w *layerWriter) implied(path string, lower Place) error {
	n, ok := lower.Node()
	if !ok || path == "" {
		return nil
	}
	h, err := newHeader(path, Stat{UID: n.UID, GID: n.GID, Mode: n.Mode}, 0, time.Unix(n.Mtime, int64(n.Nsec)), "", n.Xattrs)
	if err == nil {
		err = w.tw.WriteHeader(h)
	}
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	return nil
}

// entry writes inode i by the name path, with its data.
func (w *layerWriter) entry(path string, i uint32) error {
	n := w.x.Inode(i)
	st := Stat{UID: n.UID, GID: n.GID, Mode: n.Mode, Rdev: n.Rdev}
	h, err := newHeader(path, st, n.Size, time.Unix(n.Mtime, int64(n.Nsec)), w.x.Target(i), w.x.Xattrs(i))
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	if !n.IsDir() && n.Nlink > 1 {
		if first, again := w.first[i]; again {
			// Mode and owner are said again: other programs set them again.
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
		} else {
			w.first[i] = path
		}
	}
	if n.Flags&HardLink != 0 {
		h.Typeflag, h.Mode = tar.TypeLink, 0o600
	}
	if err = w.tw.WriteHeader(h); err == nil && h.Size > 0 {
		// Without ReadFrom and WriteTo, so that the buffer is used.
		_, err = io.CopyBuffer(struct{ io.Writer }{w.tw}, struct{ io.Reader }{w.x.Reader(i, w.flats)}, w.buf)
	}
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	return nil
}
