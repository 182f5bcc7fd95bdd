// Listing directories. There is no open directory: each
// request says where the last one stopped, and that place stays valid while
// names come and go. First come the names of the layers in the order of the
// index, then those that only the upper has in the order of their creation.

package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// lister takes entries until its buffer is full.
type lister struct {
	f    *FS
	c    *call
	out  *fuse.DirEntryList
	plus bool // with attributes: every entry is also a lookup
}

// ReadDir is FUSE_READDIR.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) (st fuse.Status) {
	c := f.begin(opReaddir, &in.InHeader, "")
	defer c.end(&st)
	l := lister{f, c, out, false}
	return status(l.list(in.NodeId, in.Offset))
}

// ReadDirPlus is FUSE_READDIRPLUS.
func (f *FS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) (st fuse.Status) {
	c := f.begin(opReaddirplus, &in.InHeader, "")
	defer c.end(&st)
	l := lister{f, c, out, true}
	return status(l.list(in.NodeId, in.Offset))
}

func (l *lister) list(id, off uint64) error {
	f := l.f
	if d, ok := f.ids.lowerOnly(id); ok {
		l.c.layer(f.x.Inode(d).Layer)
		if l.dots(off, id, uint64(f.x.Parent(d))+1) {
			l.lower(d, off)
		}
		return nil
	}
	f.tree.Lock()
	defer f.tree.Unlock()
	p, err := f.byID(id)
	if err != nil {
		return err
	}
	n := p.n
	if n == nil || n.gone {
		return nil
	}
	l.c.node(f, n)
	if _, err := f.state(n); err != nil {
		return err
	}
	up := n
	if n.at.dir != nil {
		up = n.at.dir
	}
	if !l.dots(off, n.shownIno(), up.shownIno()) {
		return nil
	}
	if n.lower != noLower && off < offUpper {
		if full, err := l.merged(n, off); full || err != nil {
			return err
		}
	}
	return l.upper(n, off)
}

// dots lists "." and "..". It reports whether there is room for more.
func (l *lister) dots(off, self, parent uint64) bool {
	if off < offDot && !l.plain(fuse.DirEntry{Name: ".", Ino: self, Mode: unix.S_IFDIR, Off: offDot}) {
		return false
	}
	return off >= offDotDot || l.plain(fuse.DirEntry{Name: "..", Ino: parent, Mode: unix.S_IFDIR, Off: offDotDot})
}

// plain adds an entry that is no lookup: in READDIRPLUS, one with node id 0.
func (l *lister) plain(e fuse.DirEntry) bool {
	if !l.plus {
		return l.out.AddDirEntry(e)
	}
	out := l.out.AddDirLookupEntry(e)
	if out == nil {
		return false
	}
	out.Attr.Ino, out.Attr.Mode = e.Ino, e.Mode
	return true
}

// first is the position of the entry after offset off in a lower directory.
func first(off uint64) int { return int(max(off, offLower-1) - (offLower - 1)) }

// lower lists a directory that no upper part touches, without a lock.
func (l *lister) lower(d uint32, off uint64) {
	if off >= offUpper {
		return
	}
	for k := first(off); k < l.f.x.DirLen(d); k++ {
		name, i := l.f.x.Dirent(d, k)
		e := fuse.DirEntry{Name: name, Ino: uint64(i) + 1, Mode: l.f.x.Inode(i).Mode, Off: offLower + uint64(k)}
		if _, untouched := l.f.ids.lowerOnly(e.Ino); !untouched {
			// A file whose copy-up is under way or was interrupted: let a
			// lookup see to it.
			if !l.plain(e) {
				return
			}
			continue
		}
		if !l.plus {
			if !l.out.AddDirEntry(e) {
				return
			}
			continue
		}
		out := l.out.AddDirLookupEntry(e)
		if out == nil {
			return
		}
		l.f.lowerEntry(i, out)
	}
}

// merged lists the names that the lower directory of n has and that show.
func (l *lister) merged(n *node, off uint64) (full bool, err error) {
	f := l.f
	for k := first(off); k < f.x.DirLen(n.lower); k++ {
		name, i := f.x.Dirent(n.lower, k)
		r := found{lower: i}
		if e := n.dir.ents[name]; e != nil {
			if r, _, err = f.find(n, name, true); err != nil {
				return false, err
			}
			if !r.ok() {
				continue
			}
		} else if c := f.ids.nodes[uint64(i)+1]; c != nil {
			r = found{n: c, lower: noLower}
		}
		if full, err := l.add(name, r, offLower+uint64(k)); full || err != nil {
			return full, err
		}
	}
	return false, nil
}

// upper lists the names that only the upper part of n has.
func (l *lister) upper(n *node, off uint64) error {
	c := uint64(0)
	if off >= offUpper {
		c = off - offUpper + 1
	}
	for k := n.dir.find(c); k < len(n.dir.order); k++ {
		e := n.dir.order[k]
		if !e.real {
			continue
		}
		if e.node == nil {
			if err := l.f.load(n, e); err != nil {
				return err
			}
		}
		full, err := l.add(e.name, found{n: e.node}, offUpper+e.cookie)
		if full || err != nil {
			return err
		}
	}
	return nil
}

// add adds one entry. tree locked.
func (l *lister) add(name string, r found, off uint64) (full bool, err error) {
	e := fuse.DirEntry{Name: name, Off: off}
	if r.n != nil {
		e.Ino, e.Mode = r.n.shownIno(), r.n.typ
	} else {
		e.Ino, e.Mode = uint64(r.lower)+1, l.f.x.Inode(r.lower).Mode
	}
	if !l.plus {
		return !l.out.AddDirEntry(e), nil
	}
	out := l.out.AddDirLookupEntry(e)
	if out == nil {
		return true, nil
	}
	// An entry that cannot be looked up now keeps node id 0: the kernel asks
	// again when it is needed.
	if err := l.f.entry(nil, r, out); err != nil {
		out.NodeId = 0
	}
	return false, nil
}
