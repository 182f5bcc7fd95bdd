// What an upper directory changes, path by path, found out from the upper alone.

package layer

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// diff finds out what an upper directory changes, path by path, from the
// upper alone: a lower directory is only listed where it has been renamed or
// replaced, because then its entries are part of the change.
type diff struct {
	u    *Upper
	root *upNode
	dirs map[uint32]*upNode // by origin: where a lower directory is now
	// files holds, by origin, the files that continue a lower file with
	// several names.
	files map[uint32]*upNode
}

func newDiff(u *Upper) (*diff, error) {
	root, err := readUpper(u)
	if err != nil {
		return nil, err
	}
	d := &diff{u: u, root: root, dirs: map[uint32]*upNode{}, files: map[uint32]*upNode{}}
	if u.Lower != nil {
		d.collect(root)
		d.expand(root, 0, true)
		d.relink()
	}
	return d, nil
}

// sorted gives names in the order in which everything here walks.
func sorted(kids map[string]*upNode) []string { return slices.Sorted(maps.Keys(kids)) }

// collect fills in dirs and files.
func (d *diff) collect(n *upNode) {
	if n.hasOrigin {
		d.claim(n)
	}
	for _, name := range sorted(n.kids) {
		d.collect(n.kids[name])
	}
}

func (d *diff) claim(n *upNode) {
	m := d.files
	if n.isDir() {
		m = d.dirs
	} else if d.u.Lower.Inode(n.origin).Nlink < 2 {
		return
	}
	if m[n.origin] == nil {
		m[n.origin] = n
	}
}

// expand gives renamed directories the entries that they have from the image,
// as if all had been copied up: a layer has no other way to say that a directory
// has moved. below is what the layers below have in the place of n.
func (d *diff) expand(n *upNode, below uint32, exists bool) {
	renamed := n.hasOrigin && !(exists && below == n.origin)
	if renamed {
		for k := range d.u.Lower.DirLen(n.origin) {
			name, ino := d.u.Lower.Dirent(n.origin, k)
			if n.kids[name] == nil && !n.whiteouts[name] {
				n.kids[name] = d.copyUp(ino)
			}
		}
	}
	same := exists && n.hasOrigin && !renamed
	for name, c := range n.kids {
		if c.isDir() {
			b, ok := uint32(0), false
			if same {
				b, ok = d.u.Lower.Lookup(below, name)
			}
			d.expand(c, b, ok)
		}
	}
}

// copyUp is lower inode i as if it had been copied up, without its data.
func (d *diff) copyUp(i uint32) *upNode {
	if n := d.files[i]; n != nil {
		return n
	}
	in := d.u.Lower.Inode(i)
	n := &upNode{
		stat: Stat{UID: in.UID, GID: in.GID, Mode: in.Mode, Rdev: in.Rdev}, size: in.Size,
		mtime: unix.Timespec{Sec: in.Mtime, Nsec: int64(in.Nsec)}, xattrs: d.u.Lower.Xattrs(i),
		target: d.u.Lower.Target(i), hasOrigin: true, origin: i, metacopy: true,
	}
	if n.isDir() {
		n.kids = map[string]*upNode{}
	}
	d.claim(n)
	return n
}

// relink makes sure that a file with an upper part has it under each of the
// names of its origin that the container still sees. The server links them all
// when it copies up; here they are missing after a crash, or where a renamed
// directory had one of the names.
func (d *diff) relink() {
	for _, origin := range slices.Sorted(maps.Keys(d.files)) {
		n := d.files[origin]
		for _, name := range d.u.Lower.Names(origin) {
			dir, visible := d.where(name.Dir)
			if !visible || dir != nil && (dir.kids[name.Name] != nil || dir.whiteouts[name.Name]) {
				continue
			}
			d.ensure(name.Dir).kids[name.Name] = n
		}
	}
}

// where finds lower directory i in the upper. n is nil if the upper has not
// touched it; visible is false if it has been removed.
func (d *diff) where(i uint32) (n *upNode, visible bool) {
	if n := d.dirs[i]; n != nil {
		return n, true
	}
	parent, visible := d.where(d.u.Lower.Parent(i))
	if !visible || parent == nil {
		return nil, visible
	}
	name := d.u.Lower.Names(i)[0].Name
	return nil, parent.kids[name] == nil && !parent.whiteouts[name]
}

// ensure is where, for a visible directory, and copies it up if need be.
func (d *diff) ensure(i uint32) *upNode {
	if n := d.dirs[i]; n != nil {
		return n
	}
	n := d.copyUp(i)
	d.ensure(d.u.Lower.Parent(i)).kids[d.u.Lower.Names(i)[0].Name] = n
	return n
}

// edit is one difference between the container and the image.
type edit struct {
	path    string  // without leading slash; "" for the root
	node    *upNode // what is there now; nil if it is deleted
	existed bool    // the image has something at this path
	below   uint32  // what, if existed
	hidden  bool    // but a directory above does not continue that of the image
	anew    bool    // the same is true of this directory
}

// each calls fn for every difference, parents before children, the names of
// a directory in the order of their bytes. The root comes first, changed or
// not.
func (d *diff) each(fn func(edit) error) error {
	return d.walk(edit{node: d.root, existed: d.u.Lower != nil}, fn)
}

func (d *diff) walk(e edit, fn func(edit) error) error {
	n := e.node
	belowDir := e.existed && d.u.Lower.Inode(e.below).IsDir()
	merged := belowDir && !e.hidden && n.hasOrigin && n.origin == e.below
	e.anew = belowDir && !merged
	if err := fn(e); err != nil {
		return err
	}
	for _, name := range d.names(n, merged) {
		c := edit{path: join(e.path, name), node: n.kids[name], hidden: e.hidden || e.anew}
		if belowDir {
			c.below, c.existed = d.u.Lower.Lookup(e.below, name)
		}
		var err error
		switch {
		case c.node != nil && c.node.isDir():
			err = d.walk(c, fn)
		case c.node != nil || c.existed:
			err = fn(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names lists a directory's entries, and its whiteouts if those have anything
// to hide.
func (d *diff) names(n *upNode, merged bool) []string {
	names := sorted(n.kids)
	if !merged || len(n.whiteouts) == 0 {
		return names
	}
	for name := range n.whiteouts {
		if n.kids[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Change is one line of `docker diff`.
type Change struct {
	Path string // from the root, starting with "/"
	Kind byte   // 'A' added, 'C' changed, 'D' deleted
}

// Changes lists what the upper directory adds, changes and deletes, sorted by
// path. A directory counts as changed when anything in it has; of a deleted
// directory only the top is listed. Errors: those of reading the upper, and
// attributes that do not fit the image.
func Changes(u *Upper) ([]Change, error) {
	d, err := newDiff(u)
	if err != nil {
		return nil, err
	}
	var cs []Change
	add := func(path string, kind byte) { cs = append(cs, Change{"/" + path, kind}) }
	err = d.each(func(e edit) error {
		switch {
		case e.node == nil:
			add(e.path, 'D')
		case e.path == "":
		case e.existed:
			add(e.path, 'C')
		default:
			add(e.path, 'A')
		}
		if e.anew {
			for k := range u.Lower.DirLen(e.below) {
				if name, _ := u.Lower.Dirent(e.below, k); e.node.kids[name] == nil {
					add(join(e.path, name), 'D')
				}
			}
		}
		return nil
	})
	slices.SortFunc(cs, func(a, b Change) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return cs, err
}
