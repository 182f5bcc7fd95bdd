// Removing names. The whiteout that hides the layers' file comes first, then the
// upper's own entry goes: a crash between the two changes nothing, since a real
// entry wins over a whiteout. A file that may still be open in a process is kept
// open here until the kernel forgets it, or moves to Work.

package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// whiteout hides the lower file that name would show in directory d, if there
// is one and nothing hides it yet.
func (f *FS) whiteout(d *node, name string) error {
	if _, ok := f.lowerName(d, name); !ok {
		return nil
	}
	if e := d.dir.ents[name]; e != nil && e.white {
		return nil
	}
	file, content := layer.WhiteoutFile(name)
	err := f.in(d, func(dirfd int) error {
		if content == "" {
			return f.makeEmpty(dirfd, file)
		}
		w := f.workName()
		fd, err := openat(f.fds.work, w, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err = unix.Write(fd, []byte(content)); err == nil {
			err = unix.Renameat(f.fds.work, w, dirfd, file)
		}
		if err != nil {
			unix.Unlinkat(f.fds.work, w, 0)
		}
		return err
	})
	if err == nil {
		f.change(d, name, func(e *dirent) { e.white = true })
	}
	return err
}

// makeEmpty makes an empty file, as whiteouts are: a further name of one in Work, because a new
// inode costs more than a name. link(2). tree locked.
func (f *FS) makeEmpty(dirfd int, name string) error {
	if f.empty == "" {
		w := f.workName()
		if err := unix.Mknodat(f.fds.work, w, syscall.S_IFREG|0o600, 0); err != nil {
			return err
		}
		f.empty = w
	}
	err := unix.Linkat(f.fds.work, f.empty, dirfd, name, 0)
	if err == syscall.EMLINK || err == syscall.EPERM || err == syscall.ENOSYS || err == syscall.EOPNOTSUPP {
		// It has as many names as it can (65,000 on ext4), or the disk has no hard links.
		unix.Unlinkat(f.fds.work, f.empty, 0)
		f.empty = ""
		err = unix.Mknodat(dirfd, name, syscall.S_IFREG|0o600, 0)
	}
	return err
}

// lookupBoth finds the directory id and name in it. tree locked.
func (f *FS) lookupBoth(id uint64, name string) (dir, r found, err error) {
	if f.root == nil {
		return dir, r, syscall.EROFS
	}
	if dir, err = f.byID(id); err != nil {
		return dir, r, err
	}
	if reserved(name) {
		return dir, found{lower: noLower}, nil
	}
	if dir.n == nil {
		return dir, f.findLower(dir.lower, name), nil
	}
	r, _, err = f.find(dir.n, name, true)
	return dir, r, err
}

// Unlink is FUSE_UNLINK.
func (f *FS) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) (st fuse.Status) {
	c := f.begin(opUnlink, in, name)
	defer c.end(&st)
	return status(f.remove(c, in.NodeId, name, false))
}

// Rmdir is FUSE_RMDIR.
func (f *FS) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) (st fuse.Status) {
	c := f.begin(opRmdir, in, name)
	defer c.end(&st)
	return status(f.remove(c, in.NodeId, name, true))
}

func (f *FS) remove(c *call, id uint64, name string, dir bool) error {
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	f.tree.Lock()
	defer f.tree.Unlock()
	p, r, err := f.lookupBoth(id, name)
	switch {
	case err != nil:
		return err
	case !r.ok():
		c.whiteout(r.white)
		return syscall.ENOENT
	case dir && !f.isDir(r):
		return syscall.ENOTDIR
	case !dir && f.isDir(r):
		return syscall.EISDIR
	}
	c.found(f, r)
	if dir {
		if empty, err := f.isEmpty(r); err != nil {
			return err
		} else if !empty {
			return syscall.ENOTEMPTY
		}
	}
	d, err := f.copyUp(p)
	if err != nil {
		return err
	}
	if _, err := f.state(d); err != nil {
		return err
	}
	if r, err = f.ownLinks(r); err != nil {
		return err
	}
	if err := f.whiteout(d, name); err != nil {
		return err
	}
	if r.n == nil {
		f.lose(r.lower)
		return nil
	}
	return f.removeReal(r.n, place{d, name})
}

// ownLinks copies up a lower file that has several names, since one of them is
// about to go: from then on the upper file's own link count is the truth.
func (f *FS) ownLinks(r found) (found, error) {
	if r.n == nil && (f.isDir(r) || f.x.Inode(r.lower).Nlink < 2) {
		return r, nil
	}
	if r.n != nil && r.n.hasUpper() && !r.n.partial {
		return r, nil
	}
	n, err := f.copyUp(r)
	return found{n: n, lower: noLower}, err
}

// isEmpty reports whether a directory shows no name.
func (f *FS) isEmpty(r found) (bool, error) {
	if r.n == nil {
		return f.x.DirLen(r.lower) == 0, nil
	}
	d, err := f.state(r.n)
	return err == nil && d.visible == 0, err
}

// lose records that lower inode i, which has no upper part, has lost its last
// name: processes that have it open go on reading it from its layer.
func (f *FS) lose(i uint32) {
	if f.ids.count[i].Load() == 0 {
		return
	}
	n := &node{lower: i, gone: true}
	f.ids.add(n.asLower(f.x))
}

// removeReal removes the upper file's name p of n.
func (f *FS) removeReal(n *node, p place) error {
	other := n.dropPlace(p)
	err := error(nil)
	unlink := func(fd int) error {
		return f.named(sidecar.Gone, p, place{}, n, func() error { return unix.Unlinkat(fd, p.name, 0) })
	}
	if other && !n.isDir() {
		err = f.in(p.dir, unlink)
	} else if h := f.hold(n, p); h != nil {
		err = f.loseName(n, h, func() error { return f.in(p.dir, unlink) })
	} else {
		err = f.park(n, p)
	}
	if err != nil {
		n.addPlace(p)
		return err
	}
	n.gone = n.gone || n.isDir()
	f.change(p.dir, p.name, func(e *dirent) { e.real, e.node, e.ino = false, nil, 0 })
	f.release(n)
	return nil
}
