// What an Index answers: names, inodes, and where the bytes of a file are. Nothing here can fail,
// since Decode has checked every reference.

package layer

import (
	"sort"

	"golang.org/x/sys/unix"
)

// Len is the number of inodes.
func (x *Index) Len() int { return len(x.inodes) }

// Inode returns inode number i, which must be less than Len.
func (x *Index) Inode(i uint32) *Inode { return &x.inodes[i] }

// Lookup finds name in directory dir by binary search. ok is false if dir is
// no directory or has no such name.
func (x *Index) Lookup(dir uint32, name string) (ino uint32, ok bool) {
	n := &x.inodes[dir]
	if !n.IsDir() {
		return 0, false
	}
	ents := x.dirents[n.first : n.first+n.count]
	i := sort.Search(len(ents), func(i int) bool { return x.str(ents[i].name, ents[i].nameLen) >= name })
	if i == len(ents) || x.str(ents[i].name, ents[i].nameLen) != name {
		return 0, false
	}
	return ents[i].ino, true
}

// DirLen is the number of names in directory dir, without "." and "..".
func (x *Index) DirLen(dir uint32) int {
	if n := &x.inodes[dir]; n.IsDir() {
		return int(n.count)
	}
	return 0
}

// Dirent returns entry k of directory dir, 0 ≤ k < DirLen(dir), in the order
// of the names' bytes.
func (x *Index) Dirent(dir uint32, k int) (name string, ino uint32) {
	e := x.dirents[x.inodes[dir].first+uint32(k)]
	return x.str(e.name, e.nameLen), e.ino
}

// Target is the target of a symbolic link, or the path of a HardLink.
func (x *Index) Target(i uint32) string {
	n := &x.inodes[i]
	return x.str(n.target, n.targetLen)
}

// Parent is the directory that has directory i (or the first name of any other
// inode); the root is its own parent.
func (x *Index) Parent(i uint32) uint32 { return x.inodes[i].parent }

// Xattrs returns the extended attributes of inode i, sorted by name.
func (x *Index) Xattrs(i uint32) []Xattr {
	n := &x.inodes[i]
	var as []Xattr
	for _, a := range x.xattrs[n.xattr : n.xattr+n.numXattr] {
		as = append(as, Xattr{x.str(a.name, a.nameLen), x.str(a.value, a.valueLen)})
	}
	return as
}

// HasXattrs reports whether inode i has any extended attribute.
func (x *Index) HasXattrs(i uint32) bool { return x.inodes[i].numXattr > 0 }

// Extents returns where the bytes of file i are: the table of a sparse file,
// or one extent for all of it. The result must not be written to.
func (x *Index) Extents(i uint32) []Extent {
	n := &x.inodes[i]
	if n.Flags&Sparse != 0 {
		return x.extents[n.extent : n.extent+n.numExtent]
	}
	if n.Mode&unix.S_IFMT != unix.S_IFREG || n.Size == 0 {
		return nil
	}
	return []Extent{{0, n.Size, n.Offset}}
}

// Name is a place in the tree: an entry of a directory.
type Name struct {
	Dir  uint32
	Name string
}

// Names returns every name of inode i: one, or all its hard links.
// The root has none.
func (x *Index) Names(i uint32) []Name {
	n := &x.inodes[i]
	if i == 0 {
		return nil
	}
	if !n.IsDir() && n.Nlink > 1 {
		var ns []Name
		for _, l := range x.links[n.first : n.first+n.Nlink] {
			e := x.dirents[l.dirent]
			ns = append(ns, Name{l.dir, x.str(e.name, e.nameLen)})
		}
		return ns
	}
	for k := 0; k < x.DirLen(n.parent); k++ {
		if name, ino := x.Dirent(n.parent, k); ino == i {
			return []Name{{n.parent, name}}
		}
	}
	return nil
}

// Path is a path of inode i from the root, starting with "/".
func (x *Index) Path(i uint32) string {
	if i == 0 {
		return "/"
	}
	p := ""
	for i != 0 {
		n := x.Names(i)[0]
		p = "/" + n.Name + p
		i = n.Dir
	}
	return p
}
