// Rename(2). Source and target may each come from a
// layer, from the upper, or from both. What is renamed first gets an upper
// part where it is; of a directory that is one empty directory with the
// number of its origin, however much is in it. Then:
//
//	whiteout of the old name, if the layers have it    (the real entry still wins)
//	renameat2(2) of the upper entry                    (the moment of change)
//
// A crash before the second leaves everything as it was.

package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// Rename is FUSE_RENAME and FUSE_RENAME2.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) (st fuse.Status) {
	c := f.begin(opRename, &in.InHeader, oldName)
	defer c.end(&st)
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	f.tree.Lock()
	defer f.tree.Unlock()
	return status(f.rename(c, in, oldName, newName))
}

func (f *FS) rename(c *call, in *fuse.RenameIn, oldName, newName string) error {
	exchange := in.Flags == unix.RENAME_EXCHANGE
	if in.Flags != 0 && in.Flags != unix.RENAME_NOREPLACE && !exchange {
		return syscall.EINVAL // RENAME_WHITEOUT is for overlay file systems above this one
	}
	p1, src, err := f.lookupBoth(in.NodeId, oldName)
	if err != nil {
		return err
	}
	_, dst, err := f.lookupBoth(in.Newdir, newName)
	if err != nil {
		return err
	}
	c.found(f, src)
	if err := f.mayRename(src, dst, in.Flags); err != nil {
		return err
	}
	if _, err := f.copyUp(p1); err != nil {
		return err
	}
	d2, err := f.target(c, in.Newdir, newName)
	if err != nil {
		return err
	}
	d1, err := f.target(c, in.NodeId, oldName)
	if err != nil {
		return err
	}
	n, err := f.copyUp(src)
	if err != nil {
		return err
	}
	for up := d2; n.isDir() && up != nil; up = up.at.dir {
		if up == n {
			return syscall.EINVAL
		}
	}
	if dst, _, err = f.find(d2, newName, true); err != nil {
		return err
	}
	if dst.ok() && dst.n == n {
		return nil // two names of one file: rename(2) does nothing
	}
	if exchange {
		return f.exchange(n, place{d1, oldName}, dst, place{d2, newName})
	}
	return f.moveTo(n, place{d1, oldName}, dst, place{d2, newName})
}

// mayRename checks what depends on the kinds of source and target.
func (f *FS) mayRename(src, dst found, flags uint32) error {
	if !src.ok() {
		return syscall.ENOENT
	}
	if flags == unix.RENAME_EXCHANGE {
		if !dst.ok() {
			return syscall.ENOENT
		}
		return nil
	}
	if !dst.ok() {
		return nil
	}
	if flags == unix.RENAME_NOREPLACE {
		return syscall.EEXIST
	}
	switch {
	case f.isDir(src) && !f.isDir(dst):
		return syscall.ENOTDIR
	case !f.isDir(src) && f.isDir(dst):
		return syscall.EISDIR
	case f.isDir(dst):
		if empty, err := f.isEmpty(dst); err != nil {
			return err
		} else if !empty {
			return syscall.ENOTEMPTY
		}
	}
	return nil
}

// moveTo renames n from p to q, where dst is in the way, if anything.
func (f *FS) moveTo(n *node, p place, dst found, q place) error {
	var err error
	if dst.ok() {
		if dst, err = f.ownLinks(dst); err != nil {
			return err
		}
	}
	if err := f.whiteout(p.dir, p.name); err != nil {
		return err
	}
	if dst.n != nil && dst.n.hasUpper() {
		err = f.replace(n, p, dst.n, q)
	} else {
		err = f.renameReal(n, p, q, 0)
	}
	if err != nil {
		return err
	}
	if dst.ok() && dst.n == nil {
		f.lose(dst.lower)
	}
	n.dropPlace(p)
	f.change(p.dir, p.name, func(e *dirent) { e.real, e.node, e.ino = false, nil, 0 })
	f.enter(q, n)
	f.renamed(n)
	f.noteMove(n, q)
	if dst.n != nil {
		f.release(dst.n)
	}
	return nil
}

// renameReal renames the upper file of n from p to q, or exchanges the two.
func (f *FS) renameReal(n *node, p, q place, flags uint) error {
	verb := sidecar.Move
	if flags == unix.RENAME_EXCHANGE {
		verb = sidecar.Swap
	}
	return f.in2(p.dir, q.dir, func(a, b int) error {
		return f.named(verb, p, q, n, func() error { return unix.Renameat2(a, p.name, b, q.name, flags) })
	})
}

// replace renames n from p to q in the place of old, an upper file or an empty
// directory, which is kept for as long as a process has it open.
func (f *FS) replace(n *node, p place, old *node, q place) error {
	if old.isDir() {
		return f.replaceDir(n, p, old, q)
	}
	if old.dropPlace(q) {
		if err := f.renameReal(n, p, q, 0); err != nil {
			old.addPlace(q)
			return err
		}
		return nil
	}
	if h := f.hold(old, q); h != nil {
		err := f.loseName(old, h, func() error { return f.renameReal(n, p, q, 0) })
		if err != nil {
			old.addPlace(q)
		}
		return err
	}
	w := f.workName()
	err := f.in(q.dir, func(fd int) error { return unix.Linkat(fd, q.name, f.fds.work, w, 0) })
	if err == nil {
		if err = f.renameReal(n, p, q, 0); err != nil {
			unix.Unlinkat(f.fds.work, w, 0)
		}
	}
	if err != nil {
		old.addPlace(q)
		return err
	}
	old.setParked(w)
	return nil
}

// replaceDir renames the directory at p to q in the place of old, which is
// empty for everybody but may have whiteouts in it, so that rename(2) would
// find it full. A stand-in that is really empty takes its place first: whenever
// a crash comes, an empty directory is at q, or the new one.
func (f *FS) replaceDir(n *node, p place, old *node, q place) error {
	w, in, err := f.standIn(old)
	if err != nil {
		return err
	}
	swap := func(in *node) error {
		return f.in(q.dir, func(fd int) error {
			return f.named(sidecar.Swap, q, place{}, in, func() error { return unix.Renameat2(f.fds.work, w, fd, q.name, unix.RENAME_EXCHANGE) })
		})
	}
	if err = swap(in); err == nil {
		if err = f.renameReal(n, p, q, 0); err != nil {
			swap(old)
		}
	}
	if err != nil {
		f.discardDir(w)
		if err == syscall.EINVAL {
			return f.replaceEmpty(n, p, old, q)
		}
		return err
	}
	old.dropPlace(q)
	old.gone = true
	old.setParked(w)
	return nil
}

// replaceEmpty is replaceDir on a disk that cannot exchange two names, such as NFS: rename(2),
// EINVAL. A crash in its middle leaves nothing at q.
func (f *FS) replaceEmpty(n *node, p place, old *node, q place) error {
	if err := f.whiteout(q.dir, q.name); err != nil {
		return err
	}
	old.dropPlace(q)
	if err := f.park(old, q); err != nil {
		old.addPlace(q)
		return err
	}
	err := f.renameReal(n, p, q, 0)
	if err == nil {
		old.gone = true
		return nil
	}
	if e := f.in(q.dir, func(fd int) error {
		return f.named(sidecar.New, q, place{}, old, func() error { return unix.Renameat(f.fds.work, old.at.name, fd, q.name) })
	}); e == nil {
		old.at, old.parked = place{}, false
		old.addPlace(q)
	}
	return err
}

// standIn makes an empty directory in Work that looks like old. Without an
// origin it is opaque.
func (f *FS) standIn(old *node) (w string, n *node, err error) {
	w, n = f.workName(), &node{side: f.side.NewFile()}
	if err := unix.Mkdirat(f.fds.work, w, 0o700); err != nil {
		return "", nil, err
	}
	fd, err := openat(f.fds.work, w, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		err = f.in(old, func(from int) error { return n.copyLooks(fd, old, from) })
		unix.Close(fd)
	}
	if err != nil {
		unix.Unlinkat(f.fds.work, w, unix.AT_REMOVEDIR)
		return "", nil, err
	}
	return w, n, nil
}

// copyLooks gives n, the directory fd, the attributes, mode and times of old, open as from.
func (n *node) copyLooks(fd int, old *node, from int) error {
	names, err := old.listAttrs(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == layer.XattrOrigin {
			continue
		}
		v, err := old.getAttr(from, name)
		if err == nil {
			err = n.setAttr(fd, name, []byte(v), 0)
		}
		if err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	n.ino = st.Ino
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, st.Mode&0o777); err != nil {
		return err
	}
	return futimens(fd, st.Atim, st.Mtim)
}

// exchange swaps n at p with dst at q.
func (f *FS) exchange(n *node, p place, dst found, q place) error {
	m, err := f.copyUp(dst)
	if err != nil {
		return err
	}
	for up := p.dir; m.isDir() && up != nil; up = up.at.dir {
		if up == m {
			return syscall.EINVAL
		}
	}
	if err := f.renameReal(n, p, q, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	n.dropPlace(p)
	m.dropPlace(q)
	f.enter(q, n)
	f.enter(p, m)
	f.renamed(n)
	f.renamed(m)
	f.noteMove(n, q)
	f.noteMove(m, p)
	return nil
}

// noteMove keeps the node of a lower directory that is no longer where its
// layer has it, since only the node knows where it is.
func (f *FS) noteMove(n *node, q place) {
	if n.isDir() && n.lower != noLower {
		i, ok := f.lowerName(q.dir, q.name)
		n.moved = !ok || i != n.lower
	}
}
