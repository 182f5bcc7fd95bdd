// Files are looked up in an index, and read from the tarballs.

package layer

import (
	"fmt"
	"io"
	"path"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Find looks path up from the root, without following symbolic links. Empty
// parts and "." do not count.
func (x *Index) Find(path string) (ino uint32, ok bool) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if ino, ok = x.Lookup(ino, name); !ok {
			return 0, false
		}
	}
	return ino, true
}

// Follow is Find through symbolic links, as if the tree were "/": path_resolution(7). real is the
// path without them, also if what it leads to is not there.
func (x *Index) Follow(name string) (ino uint32, real string, ok bool) {
	todo, links, real := strings.Split(name, "/"), 0, "/"
	for len(todo) > 0 {
		next := path.Join(real, todo[0]) // also of "..", which stays in the root
		todo = todo[1:]
		i, found := x.Find(next)
		if found && x.Inode(i).Mode&unix.S_IFMT == unix.S_IFLNK {
			target := x.Target(i)
			if links++; links > maxLinks {
				return 0, real, false
			}
			if path.IsAbs(target) {
				real = "/"
			}
			todo = append(strings.Split(target, "/"), todo...)
			continue
		}
		real = next
	}
	ino, ok = x.Find(real)
	return ino, real, ok
}

// Reader reads the bytes of file i, holes as zeros. flats[n] is the flat.tar
// of layer n. Errors are those of that file; one that is shorter than the
// index says gives io.ErrUnexpectedEOF.
func (x *Index) Reader(i uint32, flats []io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(content{x, i, flats}, 0, x.inodes[i].Size)
}

type content struct {
	x     *Index
	i     uint32
	flats []io.ReaderAt
}

func (c content) ReadAt(b []byte, off int64) (int, error) { return c.x.ReadAt(c.i, c.flats, b, off) }

// ReadAt reads from byte off of file i on, like io.ReaderAt; see Reader.
func (x *Index) ReadAt(i uint32, flats []io.ReaderAt, b []byte, off int64) (int, error) {
	n := &x.inodes[i]
	left := n.Size - off
	if off < 0 || left <= 0 || n.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, io.EOF
	}
	var end error
	if int64(len(b)) > left {
		b, end = b[:left], io.EOF
	}
	if int(n.Layer) >= len(flats) {
		return 0, fmt.Errorf("the tarball of layer %d is not open", n.Layer)
	}
	flat := whole{flats[n.Layer]}
	if n.Flags&Sparse == 0 {
		if k, err := flat.ReadAt(b, n.Offset+off); err != nil {
			return k, err
		}
		return len(b), end
	}
	clear(b)
	extents := x.Extents(i) // sorted by Logical, apart from one another
	first := sort.Search(len(extents), func(i int) bool { return extents[i].Logical+extents[i].Length > off })
	for _, e := range extents[first:] {
		from, to := max(e.Logical, off), min(e.Logical+e.Length, off+int64(len(b)))
		if from >= to {
			break
		}
		if _, err := flat.ReadAt(b[from-off:to-off], e.Physical+from-e.Logical); err != nil {
			return 0, err
		}
	}
	return len(b), end
}

// whole turns an early end of flat.tar into an error: the index promises more.
type whole struct{ io.ReaderAt }

func (w whole) ReadAt(b []byte, off int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(b, off)
	if n < len(b) && err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}
