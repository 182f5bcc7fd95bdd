// Giving a lower file an upper part. First comes its
// metadata alone, with all its names, in one step that costs the same for a
// kilobyte and a gigabyte (a "metacopy"); the data follows when the file is
// written to. Both are complete or absent after a crash.

package fs

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// copyUp returns the node of r with an upper part, making one if it has none.
// tree locked.
func (f *FS) copyUp(r found) (*node, error) {
	if f.root == nil {
		return nil, syscall.EROFS
	}
	if r.n != nil && r.n.hasUpper() {
		if r.n.partial {
			return r.n, f.repair(r.n)
		}
		return r.n, nil
	}
	if r.n != nil {
		return r.n, f.copyUpGone(r.n)
	}
	return f.copyUpLower(r.lower)
}

// copyUpLower copies up lower inode i, which has no node.
func (f *FS) copyUpLower(i uint32) (*node, error) {
	names, err := f.visibleNames(i)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, syscall.ESTALE
	}
	first := names[0]
	if n := f.ids.nodes[uint64(i)+1]; n != nil { // copying its directory up found it
		return n, nil
	}
	n := &node{lower: i}
	w, fd, err := f.makeCopy(n)
	if err != nil {
		return nil, err
	}
	err = f.keepTimes(first.dir, func(dirfd int) error {
		return f.named(sidecar.New, first, place{}, n, func() error { return unix.Renameat(f.fds.work, w, dirfd, first.name) })
	})
	if err != nil {
		unix.Close(fd)
		f.unmake(w, n.isDir())
		return nil, err
	}
	f.ids.add(n)
	h := f.fds.insert(n, fd)
	defer f.fds.put(h)
	f.enter(first, n)
	if n.isDir() {
		n.dir = f.newState(n)
	} else if err := f.linkAll(n, names[1:]); err != nil {
		f.undoCopy(n)
		return nil, err
	}
	f.keepCtime(n, h.fd, n.times.ctime)
	return n, nil
}

// undoCopy takes back the copy-up of a file that could not get all its names:
// nothing has changed in it yet.
func (f *FS) undoCopy(n *node) {
	for _, p := range append([]place{n.at}, n.more...) {
		err := f.keepTimes(p.dir, func(dirfd int) error {
			return f.named(sidecar.Gone, p, place{}, n, func() error { return unix.Unlinkat(dirfd, p.name, 0) })
		})
		if err != nil {
			return // it stays, marked partial, and the next change tries again
		}
		n.dropPlace(p)
		f.change(p.dir, p.name, func(e *dirent) { e.real, e.node, e.ino = false, nil, 0 })
	}
	f.fds.drop(n)
	f.ids.remove(n)
}

// enter records in memory that the upper now has n at p.
func (f *FS) enter(p place, n *node) {
	n.addPlace(p)
	f.change(p.dir, p.name, func(e *dirent) { e.real, e.isDir, e.ino, e.node = true, n.isDir(), n.ino, n })
}

// linkAll gives the upper file of n the other names of its origin, so that its
// link count is the truth and no name shows the old file.
func (f *FS) linkAll(n *node, names []place) error {
	n.partial = true
	for _, p := range names {
		err := f.in2(n.at.dir, p.dir, func(from, to int) error {
			return f.keepTimes(p.dir, func(int) error {
				return f.named(sidecar.Link, n.at, p, n, func() error { return unix.Linkat(from, n.at.name, to, p.name, 0) })
			})
		})
		if err != nil {
			return err
		}
		f.enter(p, n)
	}
	n.partial = false
	return nil
}

// repair finishes what a crash may have interrupted in the copy-up of n, which
// has just been read from the upper directory.
func (f *FS) repair(n *node) error {
	if n.lower == noLower || n.isDir() {
		return nil
	}
	if n.metacopy {
		if err := f.hollow(n); err != nil {
			return err
		}
	}
	if f.x.Inode(n.lower).Nlink < 2 {
		return nil
	}
	names, err := f.visibleNames(n.lower)
	if err != nil {
		return err
	}
	return f.linkAll(n, names)
}

// hollow empties a metacopy whose data was being copied up.
func (f *FS) hollow(n *node) error {
	h, err := f.open(n)
	if err != nil {
		return err
	}
	defer f.fds.put(h)
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return err
	}
	size := f.x.Inode(n.lower).Size
	if n.tail {
		return f.hollowHead(n, h.fd, &st)
	}
	if _, err := unix.Seek(h.fd, 0, unix.SEEK_DATA); err == syscall.ENXIO && st.Size == size {
		return nil
	}
	if err := unix.Ftruncate(h.fd, 0); err != nil {
		return err
	}
	if err := unix.Ftruncate(h.fd, size); err != nil {
		return err
	}
	return futimens(h.fd, st.Atim, st.Mtim)
}

// copyUpGone gives an upper part without a name to a lower file that has lost
// its last name but is still open in a process.
func (f *FS) copyUpGone(n *node) error {
	w, fd, err := f.makeCopy(n)
	if err != nil {
		return err
	}
	n.setParked(w)
	f.fds.put(f.fds.insert(n, fd))
	if n.isDir() {
		n.dir = &dirState{ents: map[string]*dirent{}}
	}
	return nil
}

// makeCopy makes the upper part of lower inode n.lower in Work, complete but
// for its data, and fills in n. The caller owns fd.
func (f *FS) makeCopy(n *node) (w string, fd int, err error) {
	n.asLower(f.x)
	n.side = f.side.NewFile()
	in := f.x.Inode(n.lower)
	w = f.workName()
	if n.isDir() {
		if err := unix.Mkdirat(f.fds.work, w, realMode(in.Mode)); err != nil {
			return "", -1, err
		}
		fd, err = openat(f.fds.work, w, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	} else {
		fd, err = openat(f.fds.work, w, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, realMode(in.Mode))
	}
	if err != nil {
		return "", -1, err
	}
	if err := f.fillCopy(n, fd); err != nil {
		unix.Close(fd)
		f.unmake(w, n.isDir())
		return "", -1, err
	}
	return w, fd, nil
}

// unmake removes what could not be finished in Work.
func (f *FS) unmake(w string, dir bool) {
	flags := 0
	if dir {
		flags = unix.AT_REMOVEDIR
	}
	unix.Unlinkat(f.fds.work, w, flags)
}

// asLower sets what n is shown as to what its origin is shown as.
func (n *node) asLower(x *layer.Index) *node {
	if n.typ == 0 {
		in := x.Inode(n.lower)
		n.show(layer.Stat{UID: in.UID, GID: in.GID, Mode: in.Mode, Rdev: in.Rdev})
	}
	return n
}

// fillCopy gives fd all that lower inode n.lower has but its data.
func (f *FS) fillCopy(n *node, fd int) error {
	in := f.x.Inode(n.lower)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	n.ino = st.Ino
	if err := n.writeStat(fd, st.Mode); err != nil {
		return err
	}
	n.override = !plain(n.stat)
	origin := strconv.FormatUint(uint64(n.lower), 10)
	if err := n.setAttr(fd, layer.XattrOrigin, []byte(origin), 0); err != nil {
		return err
	}
	if err := n.giveXattrs(fd, f.x.Xattrs(n.lower)); err != nil {
		return err
	}
	switch {
	case n.isReg() && in.Size > 0:
		n.metacopy = true
		if err := n.setAttr(fd, layer.XattrMetacopy, []byte{}, 0); err != nil {
			return err
		}
		if err := unix.Ftruncate(fd, in.Size); err != nil {
			return err
		}
	case n.typ == syscall.S_IFLNK:
		if _, err := unix.Write(fd, []byte(f.x.Target(n.lower))); err != nil {
			return err
		}
	}
	t := unix.Timespec{Sec: in.Mtime, Nsec: int64(in.Nsec)}
	if err := futimens(fd, t, t); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	n.times = stamps{mtime: t, ctime: t, real: st.Ctim}
	return nil
}

// giveXattrs gives the new upper file fd of n its attributes.
func (n *node) giveXattrs(fd int, attrs []layer.Xattr) error {
	for _, a := range attrs {
		if err := n.setAttr(fd, layer.StoreXattr(a.Name), []byte(a.Value), 0); err != nil {
			return err
		}
		n.xattrs = true
		n.caps = n.caps || a.Name == xattrCaps
	}
	return nil
}

// visibleNames gives the places where a lookup finds lower inode i in its
// layer, that is where the upper has neither a whiteout nor another file in
// the way; the directories are copied up. tree locked.
func (f *FS) visibleNames(i uint32) ([]place, error) {
	var ps []place
	for _, name := range f.x.Names(i) {
		dn, alive, err := f.whereIs(name.Dir)
		if err != nil {
			return nil, err
		}
		if !alive {
			continue
		}
		if dn == nil || !dn.hasUpper() {
			if dn, err = f.copyUpLower(name.Dir); err != nil {
				return nil, err
			}
		}
		d, err := f.state(dn)
		if err != nil {
			return nil, err
		}
		e := d.ents[name.Name]
		if e == nil {
			ps = append(ps, place{dn, name.Name})
		} else if e.real && e.node == nil && !e.isDir && f.x.Inode(i).Nlink > 1 {
			// Perhaps the copy of i, from before a restart.
			if err := f.load(dn, e); err != nil {
				return nil, err
			}
		}
	}
	return ps, nil
}

// whereIs finds lower directory d: its node, or nil if it is untouched where
// its layer has it; alive is false if it has been removed. tree locked.
func (f *FS) whereIs(d uint32) (n *node, alive bool, err error) {
	if n := f.ids.nodes[uint64(d)+1]; n != nil {
		return n, !n.gone, nil
	}
	p, alive, err := f.whereIs(f.x.Parent(d))
	if err != nil {
		return nil, false, err
	}
	if alive {
		if p == nil {
			return nil, true, nil
		}
		name := f.x.Names(d)[0].Name
		s, err := f.state(p)
		if err != nil {
			return nil, false, err
		}
		e := s.ents[name]
		if e == nil {
			return nil, true, nil
		}
		if e.real && e.isDir {
			if r, _, err := f.find(p, name, true); err != nil {
				return nil, false, err
			} else if r.n.lower == d {
				return r.n, true, nil
			}
		}
	}
	if err := f.findMoved(); err != nil {
		return nil, false, err
	}
	n = f.ids.nodes[uint64(d)+1]
	return n, n != nil, nil
}

// findMoved walks the upper directory once per start, to find the directories
// that an earlier server has moved from where their layer has them.
func (f *FS) findMoved() error {
	if f.scanned {
		return nil
	}
	f.scanned = true
	var walk func(n *node) error
	walk = func(n *node) error {
		s, err := f.state(n)
		if err != nil {
			return err
		}
		for name, e := range s.ents {
			if !e.real || !e.isDir {
				continue
			}
			if e.node == nil {
				if err := f.load(n, e); err != nil {
					return err
				}
				f.idle = append(f.idle, e.node)
			}
			if c := e.node; c.lower != noLower {
				i, ok := f.lowerName(n, name)
				c.moved = !ok || i != c.lower
			}
			if err := walk(e.node); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(f.root)
}
