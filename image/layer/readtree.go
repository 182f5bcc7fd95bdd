// An index file becomes a tree again, so that another layer can be merged over it.

package layer

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"unsafe"
)

// ReadTree reads the index file at path into a tree, in one pass. What it returns is as safe as
// what Scan does, but has not been checked as OpenIndex checks it. Errors: as for OpenIndex.
func ReadTree(path string) (*Tree, error) {
	f, h, err := openHeader(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(headerSize, io.SeekStart); err != nil {
		return nil, err
	}
	t, err := readTree(f, h)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Tree turns the index back into a tree.
func (x *Index) Tree() *Tree {
	t, err := readTree(bytes.NewReader(x.raw[headerSize:]), (*header)(unsafe.Pointer(unsafe.SliceData(x.raw))))
	if err != nil {
		panic(err) // Decode has checked it
	}
	return t
}

// treeReader reads the tables in the order in which they are in the file.
type treeReader struct {
	t      *Tree
	h      *header
	r      *bufio.Reader
	counts []uint32 // names of each inode
	xattrs uint32   // that the inodes so far have
	extent uint32
}

func readTree(r io.Reader, h *header) (*Tree, error) {
	sum := crc32.New(crcTable)
	all := io.TeeReader(io.LimitReader(r, int64(h.size()-headerSize)), sum)
	tr := &treeReader{t: &Tree{FlatSize: h.FlatSize, seed: maphash.MakeSeed()}, h: h, r: bufio.NewReaderSize(all, 64<<10)}
	err := tr.read()
	if err == nil && sum.Sum32() != h.CRC {
		err = errSum
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, noEOF(err))
	}
	return tr.t, nil
}

func (r *treeReader) read() error {
	t, h := r.t, r.h
	if err := readTable(r, h.NumInodes, r.inode); err != nil {
		return err
	}
	if t.Len() == 0 || !t.IsDir(0) || r.xattrs != h.NumXattrs || r.extent != h.NumExtents {
		return errTables
	}
	if err := r.dirents(); err != nil {
		return err
	}
	if err := readTable(r, h.NumLinks, func(*link) error { return nil }); err != nil {
		return err
	}
	if err := readTable(r, h.NumXattrs, r.xattr); err != nil {
		return err
	}
	if err := readTable(r, h.NumExtents, func(e *Extent) error { t.extents.add(*e); return nil }); err != nil {
		return err
	}
	t.heap = make([]byte, h.HeapLen)
	_, err := io.ReadFull(r.r, t.heap)
	return err
}

func (r *treeReader) inode(n *Inode) error {
	if n.Offset < 0 || n.Offset/blockSize > 1<<32-1 || n.Layer >= 1<<(16-markBits) || n.Flags >= 1<<markBits || n.Mode >= 1<<16 ||
		n.xattr != r.xattrs || n.extent != r.extent || n.numXattr > r.h.NumXattrs-r.xattrs || n.numExtent > r.h.NumExtents-r.extent ||
		n.targetLen > pathMax || !inside(n.target, n.targetLen, int(r.h.HeapLen)) {
		return errTables
	}
	rec := record{mode: uint16(n.Mode), marks: n.Flags | n.Layer<<markBits, uid: n.UID, gid: n.GID, nsec: n.Nsec,
		block: uint32(n.Offset / blockSize), size: n.Size, mtime: n.Mtime}
	if n.targetLen > 0 || n.Rdev != 0 || n.numXattr > 0 || n.numExtent > 0 {
		rec.more = r.t.more.add(extra{n.target, n.targetLen, n.Rdev, n.xattr, n.numXattr, n.extent, n.numExtent}) + 1
	}
	r.t.inodes.add(rec)
	r.xattrs += n.numXattr
	r.extent += n.numExtent
	count := uint32(0)
	if rec.isDir() {
		count = n.count
	}
	r.counts = append(r.counts, count)
	return nil
}

// dirents reads the names, those of each directory in turn.
func (r *treeReader) dirents() error {
	dir, left := uint32(0), uint32(0)
	if len(r.counts) > 0 {
		left = r.counts[0]
	}
	err := readTable(r, r.h.NumDirents, func(d *dirent) error {
		for left == 0 {
			if dir++; int(dir) >= len(r.counts) {
				return errTables
			}
			left = r.counts[dir]
		}
		left--
		if d.nameLen == 0 || d.nameLen > nameMax || !inside(d.name, d.nameLen, int(r.h.HeapLen)) || d.ino == 0 || d.ino >= r.h.NumInodes {
			return errTables
		}
		r.t.names.add(entry{dir, d.ino, d.name, uint8(d.nameLen)})
		return nil
	})
	r.counts = nil
	return err
}

func (r *treeReader) xattr(a *xattr) error {
	if !inside(a.name, a.nameLen, int(r.h.HeapLen)) || !inside(a.value, a.valueLen, int(r.h.HeapLen)) {
		return errTables
	}
	r.t.xattrs.add(*a)
	return nil
}

// readTable reads n records and the padding after them.
func readTable[T any](r *treeReader, n uint32, each func(*T) error) error {
	var v T
	for range n {
		if _, err := io.ReadFull(r.r, bytesOf(&v)); err != nil {
			return err
		}
		if err := each(&v); err != nil {
			return err
		}
	}
	size := uint64(n) * uint64(len(bytesOf(&v)))
	_, err := r.r.Discard(int(align8(size) - size))
	return err
}
