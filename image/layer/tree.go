// The tree of a layer in memory, where two names that share a node are hard links.

package layer

import (
	"hash/crc32"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Node is one inode of a Tree. Two names that share a Node are hard links.
type Node struct {
	Mode, UID, GID, Rdev uint32 // as in Inode
	Size, Mtime          int64
	Nsec                 uint32
	Flags, Layer         uint16
	Offset               int64
	Target               string
	Xattrs               []Xattr
	Extents              []Extent         // only with Sparse
	Children             map[string]*Node // only of a directory

	ino  uint32 // of use to Encode only
	seen bool
}

// NewDir returns an empty directory.
func NewDir(mode uint32) *Node {
	return &Node{Mode: unix.S_IFDIR | mode, Children: map[string]*Node{}}
}

// IsDir reports whether the node is a directory.
func (n *Node) IsDir() bool { return n.Mode&unix.S_IFMT == unix.S_IFDIR }

// Tree is a directory tree while it is being built: by Scan from one tarball,
// by union.Merge from two trees. Encode turns it into an index.
type Tree struct {
	Root     *Node
	FlatSize int64 // bytes of flat.tar, 0 for a merged tree
	// At most so many inodes, and bytes of names, targets and attributes, are
	// in the tree. They bound what Encode has to number with 32 bits; a tree
	// built by hand may leave them 0.
	Inodes int
	Heap   int64
}

type encoder struct {
	nodes   []*Node
	parents []uint32
	sorted  [][]string // of nodes: names of the children
	dirents []dirent
	first   []uint32 // of nodes: first dirent of a directory, else first link
	nlink   []uint32 // of nodes: names
	links   []link
	xattrs  []xattr
	extents []Extent
	heap    []byte
	strs    map[string]uint32 // strings on the heap, so that equal ones share bytes
}

// Encode returns the index file of the tree, numbered as Index documents. It
// may be called again, but not at the same time for trees that share nodes.
func (t *Tree) Encode() []byte {
	e := &encoder{strs: map[string]uint32{}}
	e.number(t.Root, 0)
	e.entries()
	e.hardLinks()
	b := e.bytes(t.FlatSize)
	for _, n := range e.nodes {
		n.ino, n.seen = 0, false
	}
	return b
}

// number gives n and all below it their numbers, depth first.
func (e *encoder) number(n *Node, parent uint32) {
	n.ino, n.seen = uint32(len(e.nodes)), true
	ino := n.ino
	e.nodes = append(e.nodes, n)
	e.parents = append(e.parents, parent)
	e.sorted = append(e.sorted, nil)
	if len(n.Children) == 0 {
		return
	}
	names := make([]string, 0, len(n.Children))
	for name := range n.Children {
		names = append(names, name)
	}
	slices.Sort(names)
	e.sorted[ino] = names
	for _, name := range names {
		if c := n.Children[name]; !c.seen {
			e.number(c, ino)
		}
	}
}

// entries writes the directory entries and counts the names of each inode.
func (e *encoder) entries() {
	e.first = make([]uint32, len(e.nodes))
	e.nlink = make([]uint32, len(e.nodes))
	for i, n := range e.nodes {
		e.first[i] = uint32(len(e.dirents))
		for _, name := range e.sorted[i] {
			c := n.Children[name].ino
			e.nlink[c]++
			e.dirents = append(e.dirents, dirent{e.str(name), uint32(len(name)), c})
		}
	}
}

// hardLinks writes the names of the inodes that have several.
func (e *encoder) hardLinks() {
	total := uint32(0)
	for i, n := range e.nodes {
		if n.IsDir() {
			continue
		}
		e.first[i] = 0
		if e.nlink[i] > 1 {
			e.first[i] = total
			total += e.nlink[i]
		}
	}
	e.links = make([]link, total)
	filled := make(map[uint32]uint32)
	for i, n := range e.nodes {
		for k := range uint32(len(n.Children)) {
			d := e.first[i] + k
			if c := e.dirents[d].ino; e.nlink[c] > 1 {
				e.links[e.first[c]+filled[c]] = link{uint32(i), d}
				filled[c]++
			}
		}
	}
}

// str puts s on the heap once.
func (e *encoder) str(s string) uint32 {
	if off, ok := e.strs[s]; ok {
		return off
	}
	off := uint32(len(e.heap))
	e.strs[s] = off
	e.heap = append(e.heap, s...)
	return off
}

func (e *encoder) inode(i int) Inode {
	n := e.nodes[i]
	r := Inode{Mode: n.Mode, UID: n.UID, GID: n.GID, Rdev: n.Rdev, Size: n.Size, Mtime: n.Mtime, Nsec: n.Nsec,
		Offset: n.Offset, Layer: n.Layer, Flags: n.Flags, parent: e.parents[i],
		target: e.str(n.Target), targetLen: uint32(len(n.Target)),
		xattr: uint32(len(e.xattrs)), numXattr: uint32(len(n.Xattrs)), extent: uint32(len(e.extents))}
	if n.IsDir() {
		r.first, r.count, r.Nlink = e.first[i], uint32(len(n.Children)), 2
		for _, c := range n.Children {
			if c.IsDir() {
				r.Nlink++
			}
		}
	} else {
		r.first, r.Nlink = e.first[i], e.nlink[i]
	}
	slices.SortFunc(n.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range n.Xattrs {
		e.xattrs = append(e.xattrs, xattr{e.str(a.Name), uint32(len(a.Name)), e.str(a.Value), uint32(len(a.Value))})
	}
	if n.Flags&Sparse != 0 {
		e.extents = append(e.extents, n.Extents...)
		r.numExtent = uint32(len(n.Extents))
	}
	return r
}

func (e *encoder) bytes(flatSize int64) []byte {
	inodes := make([]Inode, len(e.nodes))
	for i := range inodes {
		inodes[i] = e.inode(i)
	}
	h := header{Version: version, Order: orderMark, FlatSize: flatSize,
		NumInodes: uint32(len(inodes)), NumDirents: uint32(len(e.dirents)), NumLinks: uint32(len(e.links)),
		NumXattrs: uint32(len(e.xattrs)), NumExtents: uint32(len(e.extents)), HeapLen: uint64(len(e.heap))}
	copy(h.Magic[:], magic)
	b := make([]byte, headerSize, headerSize+88*len(inodes)+12*len(e.dirents)+len(e.heap)+4096)
	b = put(b, inodes)
	b = put(b, e.dirents)
	b = put(b, e.links)
	b = put(b, e.xattrs)
	b = put(b, e.extents)
	b = append(b, e.heap...)
	h.CRC = crc32.Checksum(b[headerSize:], crcTable)
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize))
	return b
}

// put appends the records' bytes and pads to a multiple of 8.
func put[T any](b []byte, recs []T) []byte {
	if len(recs) > 0 {
		b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(&recs[0])), len(recs)*int(unsafe.Sizeof(recs[0])))...)
	}
	return append(b, make([]byte, align8(uint64(len(b)))-uint64(len(b)))...)
}

// Tree turns an index back into a tree, so that another layer can be merged
// over it. The strings of x must outlive it.
func (x *Index) Tree() *Tree {
	nodes := make([]*Node, x.Len())
	for i := range nodes {
		n := x.Inode(uint32(i))
		nodes[i] = &Node{Mode: n.Mode, UID: n.UID, GID: n.GID, Rdev: n.Rdev, Size: n.Size, Mtime: n.Mtime, Nsec: n.Nsec,
			Flags: n.Flags, Layer: n.Layer, Offset: n.Offset, Target: x.Target(uint32(i)), Xattrs: x.Xattrs(uint32(i))}
		if n.Flags&Sparse != 0 {
			nodes[i].Extents = x.Extents(uint32(i))
		}
	}
	for i, n := range nodes {
		if n.IsDir() {
			n.Children = make(map[string]*Node, x.DirLen(uint32(i)))
			for k := range x.DirLen(uint32(i)) {
				name, ino := x.Dirent(uint32(i), k)
				n.Children[name] = nodes[ino]
			}
		}
	}
	return &Tree{Root: nodes[0], FlatSize: x.flatSize, Inodes: len(nodes), Heap: int64(len(x.heap))}
}
