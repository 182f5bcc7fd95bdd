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
// What leave reports true of is left out, with all below it. Errors: those of tw and flat, and of
// attributes that a tarball cannot hold, by the path of the file.
func (x *Index) WriteLayer(tw *tar.Writer, flat io.ReaderAt, leave func(path string, i uint32) bool) error {
	w := &layerWriter{x: x, flats: []io.ReaderAt{flat}, tw: tw, leave: leave, first: map[uint32]string{}, buf: make([]byte, 256<<10)}
	return w.dir("", 0)
}

type layerWriter struct {
	x     *Index
	flats []io.ReaderAt
	tw    *tar.Writer
	leave func(string, uint32) bool
	first map[uint32]string // files with several names that are written, by their first name
	buf   []byte
}

// dir writes directory i, if the layer has an entry for it, and what is in it.
func (w *layerWriter) dir(path string, i uint32) error {
	flags := w.x.Inode(i).Flags
	if flags&Implicit == 0 {
		if err := w.entry(path, i); err != nil {
			return err
		}
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
		case w.leave(below, c):
		case n.IsDir():
			err = w.dir(below, c)
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
