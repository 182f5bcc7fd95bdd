// A tree is written as an index file, table by table, so that it is not in memory twice.

package layer

import (
	"bufio"
	"bytes"
	"hash/crc32"
	"io"
	"os"
	"unsafe"
)

// WriteFile writes the index of the tree to a new file at path, numbered as Index documents. It is
// good in a directory of that name, under that name.
func (t *Tree) WriteFile(path string) error {
	os.Remove(path) // which may be a further name of a file that others use
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(headerSize, io.SeekStart); err != nil {
		return err
	}
	h, err := t.write(f)
	if err != nil {
		return err
	}
	h.Place = placeOf(path)
	if _, err := f.WriteAt(bytesOf(h), 0); err != nil {
		return err
	}
	return f.Close()
}

// Encode returns what Decode reads: what WriteFile writes, without its place.
func (t *Tree) Encode() []byte {
	b := bytes.NewBuffer(make([]byte, headerSize))
	h, _ := t.write(b) // a Buffer takes all
	copy(b.Bytes(), bytesOf(h))
	return b.Bytes()
}

// encoder writes the tables one after the other.
type encoder struct {
	t       *Tree
	l       *Listing
	number  []uint32 // of the tree's inodes: 1 + number in the index, 0 without a name
	order   []uint32 // of the index's inodes: number in the tree
	parents []uint32 // of the index's inodes
	names   []uint32 // of the tree's inodes: names that lead to it, of a directory its subdirectories
	links   []link
	linkAt  []uint32 // of the tree's inodes: where its links begin
	text    uint32   // bytes of all names
	w       *bufio.Writer
	off     int64
}

// write writes the tables, and returns the header to be put before them.
func (t *Tree) write(w io.Writer) (*header, error) {
	sum := crc32.New(crcTable)
	e := &encoder{t: t, l: t.List(), number: make([]uint32, t.Len()), names: make([]uint32, t.Len()),
		w: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)}
	e.visit(0, 0)
	h := &header{Version: version, Order: orderMark, FlatSize: t.FlatSize, NumInodes: uint32(len(e.order))}
	copy(h.Magic[:], magic)
	h.NumLinks = e.countLinks()
	h.NumXattrs, h.NumExtents = e.inodes()
	h.NumDirents = e.dirents()
	for i := range e.links {
		put(e, &e.links[i])
	}
	e.pad()
	text := e.xattrs()
	e.extents()
	h.HeapLen = uint64(text)
	e.heap()
	err := e.w.Flush()
	h.CRC = sum.Sum32()
	return h, err
}

// visit gives inode i and all below it their numbers, depth first.
func (e *encoder) visit(i, parent uint32) {
	e.order, e.parents = append(e.order, i), append(e.parents, parent)
	self := uint32(len(e.order))
	e.number[i] = self
	if !e.t.IsDir(i) {
		return
	}
	for name, c := range e.l.Of(i) {
		e.text += uint32(len(name))
		if e.t.IsDir(c) {
			e.names[i]++
		} else {
			e.names[c]++
		}
		if e.number[c] == 0 {
			e.visit(c, self-1)
		}
	}
}

// countLinks makes room for the names of the inodes that have several.
func (e *encoder) countLinks() uint32 {
	total := uint32(0)
	for _, i := range e.order {
		if e.names[i] > 1 && !e.t.IsDir(i) {
			if e.linkAt == nil {
				e.linkAt = make([]uint32, len(e.number))
			}
			e.linkAt[i] = total
			total += e.names[i]
		}
	}
	e.links = make([]link, total)
	return total
}

func (e *encoder) inodes() (xattrs, extents uint32) {
	dirents, text := uint32(0), e.text
	for k, i := range e.order {
		n, x := e.t.inodes.at(i), e.t.extra(i)
		r := Inode{Mode: uint32(n.mode), UID: n.uid, GID: n.gid, Rdev: x.rdev, Size: n.size, Mtime: n.mtime, Nsec: n.nsec,
			Offset: int64(n.block) * blockSize, Layer: n.marks >> markBits, Flags: n.flags(), parent: e.parents[k],
			target: text, targetLen: x.targetLen, xattr: xattrs, numXattr: x.numXattr, extent: extents, numExtent: x.numExtent}
		if n.isDir() {
			r.first, r.count, r.Nlink = dirents, e.l.first[i+1]-e.l.first[i], 2+e.names[i]
			dirents += r.count
		} else if r.Nlink = e.names[i]; r.Nlink > 1 {
			r.first = e.linkAt[i]
		}
		put(e, &r)
		xattrs, extents, text = xattrs+x.numXattr, extents+x.numExtent, text+x.targetLen
		for k := range x.numXattr {
			a := e.t.xattrs.at(x.xattr + k)
			text += a.nameLen + a.valueLen
		}
	}
	e.pad()
	return xattrs, extents
}

func (e *encoder) dirents() (n uint32) {
	text := uint32(0)
	for k, i := range e.order {
		if !e.t.IsDir(i) {
			continue
		}
		for name, c := range e.l.Of(i) {
			put(e, &dirent{text, uint32(len(name)), e.number[c] - 1})
			if e.names[c] > 1 && !e.t.IsDir(c) {
				e.links[e.linkAt[c]] = link{uint32(k), n}
				e.linkAt[c]++
			}
			text += uint32(len(name))
			n++
		}
	}
	e.pad()
	return n
}

// xattrs returns how long the heap will be.
func (e *encoder) xattrs() (text uint32) {
	text = e.text
	for _, i := range e.order {
		x := e.t.extra(i)
		text += x.targetLen
		for k := range x.numXattr {
			a := e.t.xattrs.at(x.xattr + k)
			put(e, &xattr{text, a.nameLen, text + a.nameLen, a.valueLen})
			text += a.nameLen + a.valueLen
		}
	}
	e.pad()
	return text
}

func (e *encoder) extents() {
	for _, i := range e.order {
		x := e.t.extra(i)
		for k := range x.numExtent {
			put(e, e.t.extents.at(x.extent+k))
		}
	}
	e.pad()
}

// heap writes the names in the order of the entries, then targets and attributes in that of inodes.
func (e *encoder) heap() {
	for _, i := range e.order {
		if e.t.IsDir(i) {
			for name := range e.l.Of(i) {
				e.w.WriteString(name)
			}
		}
	}
	for _, i := range e.order {
		x := e.t.extra(i)
		e.w.WriteString(e.t.text(x.target, x.targetLen))
		for k := range x.numXattr {
			a := e.t.xattrs.at(x.xattr + k)
			e.w.WriteString(e.t.text(a.name, a.nameLen))
			e.w.WriteString(e.t.text(a.value, a.valueLen))
		}
	}
}

// put writes a record. Errors stay with the Writer until it is flushed.
func put[T any](e *encoder, v *T) {
	n, _ := e.w.Write(bytesOf(v))
	e.off += int64(n)
}

// pad ends a table.
func (e *encoder) pad() {
	n := align8(uint64(e.off)) - uint64(e.off)
	e.w.Write(make([]byte, n))
	e.off += int64(n)
}

// bytesOf is a record as the file has it: a struct without pointers or padding.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
