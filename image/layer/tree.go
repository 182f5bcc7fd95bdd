// The tree of a layer in memory, in tables, so that a million files are not a million objects.

package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"path"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Tree is a directory tree while it is being built: by Scan from one tarball, by union.Merge from
// two trees. It has inodes, which are numbered as they come, 0 is the root, and names that lead to
// them; an inode that several names lead to has hard links, and one without a name is not in the
// index that Encode and WriteFile make of the tree. An inode takes 40 bytes, a name 24 and its
// bytes; targets, attributes and device numbers come on top where there are any.
type Tree struct {
	FlatSize int64 // bytes of flat.tar, 0 for a merged tree

	inodes  chunks[record]
	names   chunks[entry]
	more    chunks[extra]
	xattrs  chunks[xattr]
	extents chunks[Extent]
	heap    []byte   // only ever appended to: strings point into it
	slots   []uint32 // hash table: 1 + number of a name, 0 is free; nil until there are questions
	seed    maphash.Seed
}

// Node is what a Tree knows about one inode.
type Node struct {
	Mode, UID, GID, Rdev uint32 // as in Inode
	Size, Mtime          int64
	Nsec                 uint32
	Flags, Layer         uint16 // Layer is less than 2048
	Offset               int64  // a multiple of 512 below 2 TiB
	Target               string
	Xattrs               []Xattr  // sorted by name
	Extents              []Extent // only with Sparse
}

// IsDir reports whether the node is a directory.
func (n *Node) IsDir() bool { return n.Mode&unix.S_IFMT == unix.S_IFDIR }

// record is a Node as it is kept.
type record struct {
	mode           uint16
	marks          uint16 // flags, and the layer in the bits above markBits
	uid, gid, nsec uint32
	more           uint32 // 1 + number of its extra, or 0
	block          uint32 // offset in units of blockSize
	size, mtime    int64
}

const markBits = 5

func (r *record) isDir() bool   { return r.mode&unix.S_IFMT == unix.S_IFDIR }
func (r *record) flags() uint16 { return r.marks & (1<<markBits - 1) }

// extra is what only few inodes have.
type extra struct{ target, targetLen, rdev, xattr, numXattr, extent, numExtent uint32 }

// entry is a name of directory dir. ino is gone if it has been removed.
type entry struct {
	dir, ino, name uint32
	nameLen        uint8
}

const gone = ^uint32(0)

// NewTree returns a tree of one empty directory.
func NewTree(root Node) *Tree {
	t := &Tree{seed: maphash.MakeSeed()}
	t.Add(&root)
	return t
}

// NewDir returns a directory with these permissions.
func NewDir(mode uint32) Node { return Node{Mode: unix.S_IFDIR | mode} }

// Len is the number of inodes, including those without a name.
func (t *Tree) Len() int { return t.inodes.len() }

// Weight is how many bytes names, targets, attributes and sparse maps take.
func (t *Tree) Weight() int64 {
	return int64(len(t.heap)) + 16*int64(t.xattrs.len()) + 24*int64(t.extents.len()) + 28*int64(t.more.len())
}

// Add makes an inode, without a name yet, and returns its number.
func (t *Tree) Add(n *Node) uint32 {
	i := t.inodes.add(record{})
	t.Set(i, n)
	return i
}

// Set replaces what is known about an inode.
func (t *Tree) Set(i uint32, n *Node) {
	r := record{mode: uint16(n.Mode), marks: n.Flags | n.Layer<<markBits, uid: n.UID, gid: n.GID, nsec: n.Nsec,
		block: uint32(n.Offset / blockSize), size: n.Size, mtime: n.Mtime}
	if n.Target != "" || n.Rdev != 0 || len(n.Xattrs) > 0 || len(n.Extents) > 0 {
		e := extra{target: t.str(n.Target), targetLen: uint32(len(n.Target)), rdev: n.Rdev,
			xattr: uint32(t.xattrs.len()), numXattr: uint32(len(n.Xattrs)), extent: uint32(t.extents.len()), numExtent: uint32(len(n.Extents))}
		for _, a := range n.Xattrs {
			t.xattrs.add(xattr{t.str(a.Name), uint32(len(a.Name)), t.str(a.Value), uint32(len(a.Value))})
		}
		for _, e := range n.Extents {
			t.extents.add(e)
		}
		r.more = t.more.add(e) + 1
	}
	*t.inodes.at(i) = r
}

// Node is what is known about inode i.
func (t *Tree) Node(i uint32) Node {
	r, e := t.inodes.at(i), t.extra(i)
	n := Node{Mode: uint32(r.mode), UID: r.uid, GID: r.gid, Rdev: e.rdev, Size: r.size, Mtime: r.mtime, Nsec: r.nsec,
		Flags: r.flags(), Layer: r.marks >> markBits, Offset: int64(r.block) * blockSize, Target: t.text(e.target, e.targetLen)}
	for k := range e.numXattr {
		a := t.xattrs.at(e.xattr + k)
		n.Xattrs = append(n.Xattrs, Xattr{t.text(a.name, a.nameLen), t.text(a.value, a.valueLen)})
	}
	for k := range e.numExtent {
		n.Extents = append(n.Extents, *t.extents.at(e.extent + k))
	}
	return n
}

// extra is that of inode i, or an empty one.
func (t *Tree) extra(i uint32) extra {
	if k := t.inodes.at(i).more; k > 0 {
		return *t.more.at(k - 1)
	}
	return extra{}
}

// IsDir reports whether inode i is a directory.
func (t *Tree) IsDir(i uint32) bool { return t.inodes.at(i).isDir() }

// Flags are those of inode i.
func (t *Tree) Flags(i uint32) uint16 { return t.inodes.at(i).flags() }

// Mark sets and clears flags of inode i, and says which layer it is from.
func (t *Tree) Mark(i uint32, set, clear, layer uint16) {
	r := t.inodes.at(i)
	r.marks = r.flags()&^clear | set | layer<<markBits
}

// str puts s on the heap.
func (t *Tree) str(s string) uint32 {
	off := uint32(len(t.heap))
	t.heap = append(t.heap, s...)
	return off
}

func (t *Tree) text(off, n uint32) string {
	return unsafe.String(unsafe.SliceData(t.heap[off:off+n]), n)
}

// Lookup finds name in directory dir.
func (t *Tree) Lookup(dir uint32, name string) (ino uint32, ok bool) {
	if _, k := t.find(dir, name); k != gone {
		ino = t.names.at(k).ino
		return ino, ino != gone
	}
	return 0, false
}

// Put lets name in directory dir lead to inode ino, whatever it led to before. The name has at most
// 255 bytes.
func (t *Tree) Put(dir uint32, name string, ino uint32) {
	slot, k := t.find(dir, name)
	if k != gone {
		t.names.at(k).ino = ino
		return
	}
	t.slots[slot] = t.names.add(entry{dir, ino, t.str(name), uint8(len(name))}) + 1
	if 2*t.names.len() > len(t.slots) {
		t.slots = nil
	}
}

// Remove takes name out of directory dir.
func (t *Tree) Remove(dir uint32, name string) {
	if _, k := t.find(dir, name); k != gone {
		t.names.at(k).ino = gone
	}
}

// find is the number of a name, or gone and where it belongs in the hash table.
func (t *Tree) find(dir uint32, name string) (slot, k uint32) {
	if t.slots == nil {
		size := 64
		for size < 4*t.names.len() {
			size *= 2
		}
		t.slots = make([]uint32, size)
		for k := range uint32(t.names.len()) {
			e := t.names.at(k)
			slot, _ := t.find(e.dir, t.text(e.name, uint32(e.nameLen)))
			t.slots[slot] = k + 1
		}
	}
	var h maphash.Hash // its seed is secret: nobody can make names meet
	h.SetSeed(t.seed)
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], dir)
	h.Write(b[:])
	h.WriteString(name)
	mask := uint32(len(t.slots) - 1)
	for slot = uint32(h.Sum64()) & mask; t.slots[slot] != 0; slot = (slot + 1) & mask {
		k := t.slots[slot] - 1
		if e := t.names.at(k); e.dir == dir && t.text(e.name, uint32(e.nameLen)) == name {
			return slot, k
		}
	}
	return slot, gone
}

// Find finds the file that path leads to from the root; path_resolution(7): a symbolic link is
// followed unless it is the last part, and ".." of the root is the root.
func (t *Tree) Find(path string) (uint32, error) {
	missing := errors.New("is not there")
	i, ok, _, err := t.file(path, func(uint32, string) (uint32, error) { return 0, missing })
	if err == nil && !ok {
		err = missing
	}
	return i, err
}

// step is a directory on the way to a file. It is gone if the tree does not have it.
type step struct {
	ino  uint32
	name string
}

// file is Find, and also returns the path without symbolic links, clean. missing is called for
// directories that the tree lacks, or has a whiteout for.
func (t *Tree) file(p string, missing func(dir uint32, name string) (uint32, error)) (i uint32, ok bool, clean string, err error) {
	dir, base := path.Split(p)
	way, err := t.follow(dir, missing)
	if err != nil {
		return 0, false, "", err
	}
	for _, s := range way[1:] {
		clean += s.name + "/"
	}
	if at := way[len(way)-1].ino; at != gone && base != "" {
		i, ok = t.Lookup(at, base)
		ok = ok && t.Flags(i)&Whiteout == 0
	}
	if base == "" || ok && t.IsDir(i) {
		err = errors.New("is a directory")
	}
	return i, ok, clean + base, err
}

// follow walks dir from the root and returns the way, which begins there.
func (t *Tree) follow(dir string, missing func(dir uint32, name string) (uint32, error)) (way []step, err error) {
	way = []step{{}}
	links, bytes := 0, 0 // followed, and in their targets: all memory and time that a link can cost
	for rest := dir; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		at := way[len(way)-1].ino
		i, ok := gone, at != gone
		if ok {
			i, ok = t.Lookup(at, part)
		}
		if !ok || t.Flags(i)&Whiteout != 0 {
			if i, err = missing(at, part); err != nil {
				return nil, err
			}
		}
		switch {
		case i == gone || t.IsDir(i):
			way = append(way, step{i, part})
		case t.inodes.at(i).mode&unix.S_IFMT == unix.S_IFLNK:
			x := t.extra(i)
			target := t.text(x.target, x.targetLen)
			bytes += len(target)
			if links++; links > maxLinks || bytes > pathMax {
				return nil, fmt.Errorf("is below %q, a symbolic link that leads through too many others", part)
			}
			if strings.HasPrefix(target, "/") {
				way = way[:1]
			}
			rest = target + "/" + rest
		default:
			return nil, fmt.Errorf("is below %q, which is no directory", part)
		}
	}
	return way, nil
}

// Listing is all names of a tree, by directory.
type Listing struct {
	t     *Tree
	first []uint32 // of each inode: where its names begin in names
	names []uint32 // their numbers, sorted by the names' bytes within a directory
}

// List lists the tree as it is now.
func (t *Tree) List() *Listing {
	t.slots = nil // as large as the list; find makes it again
	l := &Listing{t: t, first: make([]uint32, t.Len()+1)}
	total := 0
	for k := range uint32(t.names.len()) {
		if e := t.names.at(k); e.ino != gone {
			l.first[e.dir]++
			total++
		}
	}
	sum := uint32(0) // a counting sort: the ends, from which the names go down to the starts
	for i, n := range l.first {
		sum += n
		l.first[i] = sum
	}
	l.names = make([]uint32, total)
	for k := range uint32(t.names.len()) {
		if e := t.names.at(k); e.ino != gone {
			l.first[e.dir]--
			l.names[l.first[e.dir]] = k
		}
	}
	for i := range t.Len() {
		slices.SortFunc(l.names[l.first[i]:l.first[i+1]], func(a, b uint32) int { return strings.Compare(l.name(a), l.name(b)) })
	}
	return l
}

func (l *Listing) name(k uint32) string {
	e := l.t.names.at(k)
	return l.t.text(e.name, uint32(e.nameLen))
}

// Of gives the names of directory dir, sorted by their bytes, and where they lead.
func (l *Listing) Of(dir uint32) iter.Seq2[string, uint32] {
	return func(yield func(string, uint32) bool) {
		for _, k := range l.names[l.first[dir]:l.first[dir+1]] {
			if !yield(l.name(k), l.t.names.at(k).ino) {
				return
			}
		}
	}
}

// chunks is a table that grows without being copied.
type chunks[T any] [][]T

const chunkLen = 1 << 12

func (c *chunks[T]) len() int {
	if k := len(*c) - 1; k >= 0 {
		return k*chunkLen + len((*c)[k])
	}
	return 0
}

// at points to record i, until the next add.
func (c *chunks[T]) at(i uint32) *T { return &(*c)[i/chunkLen][i%chunkLen] }

func (c *chunks[T]) add(v T) uint32 {
	n := c.len()
	if n%chunkLen == 0 {
		*c = append(*c, make([]T, 0, min(n, chunkLen))) // the first one grows as it needs
	}
	k := n / chunkLen
	(*c)[k] = append((*c)[k], v)
	return uint32(n)
}
