// What a directory with an upper part contains. Its real listing is read once;
// from then on the state in memory follows each change, because the server is
// the only writer. All of it is guarded by FS.tree.

package fs

import (
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// dirent is a name in an upper directory: a real entry, a whiteout, or both,
// when the real entry wins.
type dirent struct {
	name   string
	real   bool
	white  bool
	isDir  bool   // the real entry is a directory
	ino    uint64 // inode number of the real entry
	node   *node  // the real entry's node, if it is known
	cookie uint64 // place in the listing, if the layers have no such name
}

// dirState is what an upper directory contains.
type dirState struct {
	ents    map[string]*dirent
	order   []*dirent // entries with a cookie, by cookie; also some removed ones
	last    uint64    // last cookie given
	removed int       // entries of order that are no longer real
	visible int       // names that a lookup finds
	subdirs int       // of them, directories
}

// Listing offsets, the d_off of readdir(3): they stay valid while entries come
// and go. Lower names have their position in the index; names that only the
// upper has get the next number when they are created.
const (
	offDot    = 1
	offDotDot = 2
	offLower  = 3       // entry k of the lower directory: offLower + k
	offUpper  = 1 << 32 // cookie c of an upper name: offUpper + c
)

// lowerDir is the lower directory that n continues, if any.
func (n *node) lowerDir() (uint32, bool) { return n.lower, n.lower != noLower }

// lowerName looks name up in the lower directory that n continues, whatever
// the upper says.
func (f *FS) lowerName(n *node, name string) (uint32, bool) {
	if n.lower == noLower {
		return 0, false
	}
	return f.x.Lookup(n.lower, name)
}

// newState is the state of a directory whose upper part is empty.
func (f *FS) newState(n *node) *dirState {
	d := &dirState{ents: map[string]*dirent{}}
	if n.lower != noLower {
		d.visible = f.x.DirLen(n.lower)
		d.subdirs = int(f.x.Inode(n.lower).Nlink) - 2
	}
	return d
}

// state returns what the directory n contains, reading its upper part the
// first time. tree locked.
func (f *FS) state(n *node) (*dirState, error) {
	if n.dir != nil {
		return n.dir, nil
	}
	h, err := f.open(n)
	if err != nil {
		return nil, err
	}
	defer f.fds.put(h)
	n.dir = f.newState(n)
	err = readNames(h.fd, func(name string, typ byte, ino uint64) error {
		white, ok, err := layer.ParseWhiteout(name, func() (string, error) { return readSmall(h.fd, name) })
		switch {
		case err != nil:
			return err
		case ok:
			f.change(n, white, func(e *dirent) { e.white = true })
		case strings.HasPrefix(name, layer.WhiteoutPrefix):
			// Not one of ours.
		default:
			f.change(n, name, func(e *dirent) { e.real, e.isDir, e.ino = true, typ == unix.DT_DIR, ino })
		}
		return nil
	})
	if err != nil {
		n.dir = nil
		return nil, err
	}
	return n.dir, nil
}

// readSmall reads the beginning of a file.
func readSmall(dirfd int, name string) (string, error) {
	fd, err := openat(dirfd, name, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// change lets edit alter the entry name of directory n, whose state is
// loaded, and brings the sums in line.
func (f *FS) change(n *node, name string, edit func(*dirent)) *dirent {
	d := n.dir
	e := d.ents[name]
	lower, inLower := f.lowerName(n, name)
	v0, s0 := f.sees(e, lower, inLower)
	real0 := e != nil && e.real
	if e == nil {
		e = &dirent{name: name}
		d.ents[name] = e
	}
	edit(e)
	v1, s1 := f.sees(e, lower, inLower)
	d.visible += v1 - v0
	d.subdirs += s1 - s0
	if !inLower && e.real != real0 {
		d.relist(e)
	}
	if !e.real && !e.white {
		delete(d.ents, name)
	}
	return e
}

// sees is how much an entry adds to the names and the subdirectories that
// show: 0 or 1 each. e may be nil.
func (f *FS) sees(e *dirent, lower uint32, inLower bool) (name, subdir int) {
	isDir := false
	switch {
	case e != nil && e.real:
		isDir = e.isDir
	case e != nil && e.white || !inLower:
		return 0, 0
	default:
		isDir = f.x.Inode(lower).IsDir()
	}
	if isDir {
		return 1, 1
	}
	return 1, 0
}

// relist enters e, which is real, into the listing's order, or marks it
// removed. A name that is removed and created again comes last.
func (d *dirState) relist(e *dirent) {
	if e.real {
		d.last++
		if e.cookie != 0 { // its old place still has it: give that away
			d.order[d.find(e.cookie)] = &dirent{cookie: e.cookie}
		}
		e.cookie = d.last
		d.order = append(d.order, e)
		return
	}
	d.removed++
	if d.removed > 64 && d.removed > len(d.order)/2 {
		live := d.order[:0]
		for _, x := range d.order {
			if x.real {
				live = append(live, x)
			} else {
				x.cookie = 0
			}
		}
		clear(d.order[len(live):])
		d.order, d.removed = live, 0
	}
}

// find is the position in order of the first entry with cookie c or more.
func (d *dirState) find(c uint64) int {
	return sort.Search(len(d.order), func(i int) bool { return d.order[i].cookie >= c })
}

// found is what a name means: a node, or a lower inode that has none.
type found struct {
	n     *node
	lower uint32 // if n is nil
	white bool   // not found because of a whiteout
}

func (r found) ok() bool { return r.n != nil || r.lower != noLower }

// isDir reports whether what was found is a directory.
func (f *FS) isDir(r found) bool {
	if r.n != nil {
		return r.n.isDir()
	}
	return f.x.Inode(r.lower).IsDir()
}

// find looks name up in directory n: in the upper directory, then in the layers. An entry of the
// upper that is not real is a whiteout. tree locked; with only the read lock (load false) it gives
// again = true where it would have to load something.
func (f *FS) find(n *node, name string, load bool) (r found, again bool, err error) {
	r.lower = noLower
	if n.gone {
		return r, false, nil
	}
	if !n.hasUpper() {
		return f.findLower(n.lower, name), false, nil
	}
	if n.dir == nil {
		if !load {
			return r, true, nil
		}
		if _, err := f.state(n); err != nil {
			return r, false, err
		}
	}
	e := n.dir.ents[name]
	switch {
	case e != nil && e.real:
		if e.node == nil {
			if !load {
				return r, true, nil
			}
			if err := f.load(n, e); err != nil {
				return r, false, err
			}
		}
		r.n = e.node
		return r, false, nil
	case e != nil:
		r.white = true
		return r, false, nil
	}
	if n.lower == noLower {
		return r, false, nil
	}
	return f.findLower(n.lower, name), false, nil
}

// findLower looks name up in a lower directory, where the upper says nothing.
func (f *FS) findLower(dir uint32, name string) found {
	i, ok := f.x.Lookup(dir, name)
	if !ok {
		return found{lower: noLower}
	}
	// A lower name can be a file that is copied up only between the linking of
	// its names, or after a crash; the node wins.
	if n := f.ids.nodes[uint64(i)+1]; n != nil {
		return found{n: n, lower: noLower}
	}
	return found{lower: i}
}

// load makes the node of the real entry e of directory d. tree locked.
func (f *FS) load(d *node, e *dirent) error {
	p := place{d, e.name}
	fd, err := f.openPlace(p, e.isDir)
	if err != nil {
		return err
	}
	n := &node{}
	if f.side != nil {
		n.side = f.side.At(p.path())
	}
	if err := n.loadStat(fd); err != nil {
		unix.Close(fd)
		return err
	}
	if n.isDir() != e.isDir || n.lower != noLower && (int64(n.lower) >= int64(f.x.Len()) ||
		f.x.Inode(n.lower).IsDir() != e.isDir) {
		unix.Close(fd)
		return syscall.EIO
	}
	if old := f.same(n); old != nil {
		unix.Close(fd)
		old.addPlace(p)
		e.node = old
		return nil
	}
	f.ids.add(n)
	n.addPlace(p)
	e.node = n
	if !e.isDir {
		f.ids.byIno[n.ino] = n
	}
	f.fds.put(f.fds.insert(n, fd))
	if f.repair(n) != nil {
		n.partial = true // the next change of it tries again
	}
	return nil
}

// same finds the node that is already there for the file that n was read from.
func (f *FS) same(n *node) *node {
	if n.lower != noLower {
		return f.ids.nodes[uint64(n.lower)+1]
	}
	return f.ids.byIno[n.ino]
}
