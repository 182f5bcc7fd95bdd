package layer

import (
	"fmt"
	"io"
	"sort"
	"strings"
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

// Reader reads the bytes of file i, holes as zeros. flats[n] is the flat.tar
// of layer n. Errors are those of that file; one that is shorter than the
// index says gives io.ErrUnexpectedEOF.
func (x *Index) Reader(i uint32, flats []io.ReaderAt) *io.SectionReader {
	n := &x.inodes[i]
	if int(n.Layer) >= len(flats) {
		return io.NewSectionReader(noFlat(n.Layer), 0, n.Size)
	}
	flat := flats[n.Layer]
	if n.Flags&Sparse == 0 {
		if len(x.Extents(i)) == 0 {
			return io.NewSectionReader(strings.NewReader(""), 0, 0)
		}
		return io.NewSectionReader(whole{flat}, n.Offset, n.Size)
	}
	return io.NewSectionReader(&sparseReader{flat, x.Extents(i), n.Size}, 0, n.Size)
}

// noFlat stands for the flat.tar of a layer that the caller has not given.
type noFlat uint16

func (l noFlat) ReadAt([]byte, int64) (int, error) {
	return 0, fmt.Errorf("the tarball of layer %d is not open", uint16(l))
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

type sparseReader struct {
	flat    io.ReaderAt
	extents []Extent // sorted by Logical, apart from one another
	size    int64
}

func (s *sparseReader) ReadAt(b []byte, off int64) (int, error) {
	var end error
	if left := s.size - off; int64(len(b)) > left {
		b, end = b[:max(left, 0)], io.EOF
	}
	clear(b)
	first := sort.Search(len(s.extents), func(i int) bool { return s.extents[i].Logical+s.extents[i].Length > off })
	for _, e := range s.extents[first:] {
		from, to := max(e.Logical, off), min(e.Logical+e.Length, off+int64(len(b)))
		if from >= to {
			break
		}
		if _, err := (whole{s.flat}).ReadAt(b[from-off:to-off], e.Physical+from-e.Logical); err != nil {
			return 0, err
		}
	}
	return len(b), end
}
