// What two merged trees differ in, found by one walk through both.

package union

import (
	"bytes"
	"io"
	"slices"

	"tiffin/image/layer"

	"golang.org/x/sys/unix"
)

// Side is one of two trees that are compared.
type Side struct {
	Index  *layer.Index  // merged
	Flats  []io.ReaderAt // the tarballs of its layers
	Layers []string      // what the layers are called: those that are called the same are the same
}

// Aspect is a set of ways in which two files of one path differ.
type Aspect uint16

// The names of these are in Aspects, in this order.
const (
	Type Aspect = 1 << iota // file, directory, link, device …
	Mode
	Owner
	Content // bytes of a file, target of a symbolic link, number of a device
	Xattrs
	Links   // whether it is the same file as one of a path before it
	Mtime   // only if it is asked for
	Entries // of a directory: something below it differs
)

// Aspects are the names, from the lowest bit on.
var Aspects = []string{"type", "mode", "owner", "content", "xattrs", "links", "mtime", "entries"}

// Difference is a path that is in one tree only, or in both and differs.
type Difference struct {
	Path     string // from the root, starting with "/"
	Kind     byte   // 'A' added, 'C' changed, 'D' deleted, as docker-diff(1) prints them
	What     Aspect // of a change
	Old, New uint32 // inodes; Old if it is not added, New if it is not deleted
	Below    bool   // it is deleted together with the directory it is in
}

// Differ calls each for every difference between two trees: directories before what is in them,
// and the names of a directory in the order of their bytes. A directory has changed if anything in
// it has. Files are equal without being read if they are the same record of the same layer. With
// mtime it counts if only the time differs. Memory is that of one path and of the files with
// several names. Errors are those of each, and of reading.
func Differ(old, new *Side, mtime bool, each func(Difference) error) error {
	d := &differ{old: old, new: new, each: each, mtime: mtime,
		first: [2]map[uint32]int{{}, {}}, equal: map[[2]uint32]bool{}}
	if what, err := d.compare(0, 0); err != nil {
		return err
	} else if what != 0 {
		if err := each(Difference{Path: "/", Kind: 'C', What: what}); err != nil {
			return err
		}
	}
	return d.dirs(0, 0)
}

type differ struct {
	old, new *Side
	each     func(Difference) error
	mtime    bool
	path     []byte
	untold   []way // the directories of path that nothing has been said about yet, from the root
	step     int   // counts paths

	// Of files with several names: the step of the first one, by inode, in each tree; and which
	// pairs have been read, so that none is twice.
	first [2]map[uint32]int
	equal map[[2]uint32]bool

	bufs [2][]byte
}

// way is a directory that both trees have, and where its path ends.
type way struct {
	old, new uint32
	end      int
}

// tell reports a difference at the current path, and directories above that have changed by it.
func (d *differ) tell(e Difference) error {
	for _, w := range d.untold {
		if err := d.each(Difference{Path: string(d.path[:w.end]), Kind: 'C', What: Entries, Old: w.old, New: w.new}); err != nil {
			return err
		}
	}
	d.untold = d.untold[:0]
	e.Path = string(d.path)
	return d.each(e)
}

// dirs merges the sorted names of two directories.
func (d *differ) dirs(old, new uint32) error {
	a, b := d.old.Index, d.new.Index
	end := len(d.path)
	for i, j := 0, 0; i < a.DirLen(old) || j < b.DirLen(new); {
		var inA, inB bool
		var nameA, nameB string
		var inoA, inoB uint32
		if inA = i < a.DirLen(old); inA {
			nameA, inoA = a.Dirent(old, i)
		}
		if inB = j < b.DirLen(new); inB {
			nameB, inoB = b.Dirent(new, j)
		}
		if inA && inB && nameA != nameB {
			inA, inB = nameA < nameB, nameB < nameA
		}
		name := nameA
		if !inA {
			name = nameB
		}
		d.path = append(append(d.path[:end], '/'), name...)
		var err error
		switch {
		case inA && inB:
			err = d.both(inoA, inoB)
		case inA:
			err = d.only('D', inoA, false)
		default:
			err = d.only('A', inoB, false)
		}
		if err != nil {
			return err
		}
		if inA {
			i++
		}
		if inB {
			j++
		}
	}
	d.path = d.path[:end]
	return nil
}

// only reports what one tree alone has, and all below it.
func (d *differ) only(kind byte, ino uint32, below bool) error {
	d.step++
	x, side, e := d.old.Index, 0, Difference{Kind: kind, Old: ino, Below: below}
	if kind == 'A' {
		x, side, e = d.new.Index, 1, Difference{Kind: kind, New: ino}
	}
	d.firstOf(side, x, ino)
	if err := d.tell(e); err != nil {
		return err
	}
	return d.inside(kind, x, ino)
}

// inside is only, of all that is in a directory.
func (d *differ) inside(kind byte, x *layer.Index, dir uint32) error {
	end := len(d.path)
	for k := range x.DirLen(dir) {
		name, ino := x.Dirent(dir, k)
		d.path = append(append(d.path[:end], '/'), name...)
		if err := d.only(kind, ino, kind == 'D'); err != nil {
			return err
		}
	}
	d.path = d.path[:end]
	return nil
}

// both compares what the trees have at the current path, and what is below it.
func (d *differ) both(old, new uint32) error {
	d.step++
	what, err := d.compare(old, new)
	if err != nil {
		return err
	}
	dirs := d.old.Index.Inode(old).IsDir() && d.new.Index.Inode(new).IsDir()
	if what != 0 {
		err = d.tell(Difference{Kind: 'C', What: what, Old: old, New: new})
	} else if dirs {
		d.untold = append(d.untold, way{old, new, len(d.path)})
	}
	switch {
	case err != nil:
		return err
	case !dirs: // at most one of the two is a directory
		if err := d.inside('D', d.old.Index, old); err != nil {
			return err
		}
		return d.inside('A', d.new.Index, new)
	}
	err = d.dirs(old, new)
	if n := len(d.untold); n > 0 && d.untold[n-1].end == len(d.path) {
		d.untold = d.untold[:n-1]
	}
	return err
}

// compare says how two files of one path differ.
func (d *differ) compare(old, new uint32) (what Aspect, err error) {
	xa, xb := d.old.Index, d.new.Index
	a, b := xa.Inode(old), xb.Inode(new)
	set := func(differs bool, is Aspect) {
		if differs {
			what |= is
		}
	}
	kind := a.Mode & unix.S_IFMT
	set(a.Mode&^unix.S_IFMT != b.Mode&^unix.S_IFMT, Mode)
	set(a.UID != b.UID || a.GID != b.GID, Owner)
	set(d.mtime && (a.Mtime != b.Mtime || a.Nsec != b.Nsec), Mtime)
	set((xa.HasXattrs(old) || xb.HasXattrs(new)) && !slices.Equal(xa.Xattrs(old), xb.Xattrs(new)), Xattrs)
	first, second := d.firstOf(0, xa, old), d.firstOf(1, xb, new)
	set(kind == b.Mode&unix.S_IFMT && first != second, Links)
	switch {
	case kind != b.Mode&unix.S_IFMT:
		what |= Type
	case kind == unix.S_IFLNK:
		set(xa.Target(old) != xb.Target(new), Content)
	case kind == unix.S_IFCHR || kind == unix.S_IFBLK:
		set(a.Rdev != b.Rdev, Content)
	case kind == unix.S_IFREG:
		var same bool
		same, err = d.sameFile(old, new)
		set(!same, Content)
	}
	return what, err
}

// firstOf is the step at which the walk came to an inode first.
func (d *differ) firstOf(side int, x *layer.Index, ino uint32) int {
	if n := x.Inode(ino); n.IsDir() || n.Nlink < 2 {
		return d.step
	}
	if _, ok := d.first[side][ino]; !ok {
		d.first[side][ino] = d.step
	}
	return d.first[side][ino]
}

// sameFile reports whether two regular files have the same bytes.
func (d *differ) sameFile(old, new uint32) (same bool, err error) {
	a, b := d.old.Index.Inode(old), d.new.Index.Inode(new)
	switch {
	case a.Size != b.Size:
		return false, nil
	case a.Size == 0 || a.Offset == b.Offset && d.old.Layers[a.Layer] == d.new.Layers[b.Layer]:
		return true, nil
	case a.Nlink < 2 && b.Nlink < 2:
		return d.sameBytes(old, new)
	}
	pair := [2]uint32{old, new}
	same, known := d.equal[pair]
	if !known {
		if same, err = d.sameBytes(old, new); err == nil {
			d.equal[pair] = same
		}
	}
	return same, err
}

// piece is how much of a file is compared at once, in bytes.
const piece = 128 << 10

// sameBytes reads two files of one size, but for what is a hole in both: a stranger can say that a
// file has more of those than anybody can read.
func (d *differ) sameBytes(old, new uint32) (bool, error) {
	if d.bufs[0] == nil {
		d.bufs = [2][]byte{make([]byte, piece), make([]byte, piece)}
	}
	data := [2][]layer.Extent{d.old.Index.Extents(old), d.new.Index.Extents(new)}
	size := d.old.Index.Inode(old).Size
	for at := int64(0); at < size; {
		next, end := size, size // of what one of them has data for
		for k := range data {
			for len(data[k]) > 0 && data[k][0].Logical+data[k][0].Length <= at {
				data[k] = data[k][1:]
			}
			if len(data[k]) == 0 {
				continue
			}
			e := data[k][0]
			if from := max(at, e.Logical); from < next {
				next, end = from, e.Logical+e.Length
			}
		}
		if at = next; at == size {
			break
		}
		n := min(piece, end-at)
		a, b := d.bufs[0][:n], d.bufs[1][:n]
		if _, err := d.old.Index.ReadAt(old, d.old.Flats, a, at); err != nil && err != io.EOF {
			return false, err
		}
		if _, err := d.new.Index.ReadAt(new, d.new.Flats, b, at); err != nil && err != io.EOF {
			return false, err
		}
		if !bytes.Equal(a, b) {
			return false, nil
		}
		at += n
	}
	return true, nil
}
