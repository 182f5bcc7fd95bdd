// Making names. What a real file shows by itself is
// made in place with one system call; what needs an attribute is made in Work
// and renamed into place, so that no crash leaves it half made. A whiteout of
// the same name stays: the real entry wins over it.

package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// target checks that name can be made in the directory id and returns the
// directory's node with an upper part. tree locked.
func (f *FS) target(c *call, id uint64, name string) (*node, error) {
	if f.root == nil {
		return nil, syscall.EROFS
	}
	if len(name) > nameMax {
		return nil, syscall.ENAMETOOLONG
	}
	if reserved(name) {
		c.note("a name beginning with .wh. cannot exist: it would mean a deletion in an image layer")
		return nil, syscall.EPERM
	}
	p, err := f.byID(id)
	if err != nil {
		return nil, err
	}
	if p.n != nil && p.n.gone {
		return nil, syscall.ENOENT
	}
	if !f.isDir(p) {
		return nil, syscall.ENOTDIR
	}
	d, err := f.copyUp(p)
	if err != nil {
		return nil, err
	}
	if _, err := f.state(d); err != nil {
		return nil, err
	}
	return d, nil
}

// create makes name in the directory id and fills in the reply.
func (f *FS) create(c *call, in *fuse.InHeader, name string, mode, umask, rdev uint32, link string, out *fuse.EntryOut) fuse.Status {
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	f.tree.Lock()
	defer f.tree.Unlock()
	d, err := f.target(c, in.NodeId, name)
	if err != nil {
		return status(err)
	}
	if r, _, err := f.find(d, name, true); err != nil {
		return status(err)
	} else if r.ok() {
		return fuse.Status(syscall.EEXIST)
	}
	if mode&syscall.S_IFMT == syscall.S_IFREG {
		if err := f.mayMake(); err != nil {
			return status(err)
		}
	}
	n := &node{lower: noLower, side: f.side.NewFile()}
	attrs, err := f.newStat(n, d, in, mode, umask, rdev)
	if err != nil {
		return status(err)
	}
	p := place{d, name}
	var fd int
	if plain(n.stat) && attrs == nil {
		fd, err = f.makeInPlace(n, p)
	} else {
		fd, err = f.makeInWork(n, p, attrs, link)
	}
	if err != nil {
		return status(err)
	}
	f.ids.add(n)
	if fd >= 0 {
		f.fds.put(f.fds.insert(n, fd))
	}
	f.enter(p, n)
	if n.isDir() {
		n.dir = f.newState(n)
	}
	if n.isReg() {
		f.spend(n.id, 0)
	}
	return status(f.entry(c, found{n: n}, out))
}

// newStat sets the owner and mode of n, which is new in directory d: as
// inode_init_owner in the kernel, a set-group-ID directory hands its group on,
// and to directories also the bit. inode(7), "The set-group-ID bit". It returns
// the attributes that n is to have.
func (f *FS) newStat(n, d *node, in *fuse.InHeader, mode, umask, rdev uint32) ([]layer.Xattr, error) {
	s := layer.Stat{Mode: mode, Rdev: rdev}
	s.UID, s.GID = f.owner(in)
	if dir := d.shown(); dir.Mode&syscall.S_ISGID != 0 {
		s.GID = dir.GID
		if mode&syscall.S_IFMT == syscall.S_IFDIR {
			s.Mode |= syscall.S_ISGID
		}
	}
	attrs, err := f.inherited(d, &s, umask)
	n.show(s)
	return attrs, err
}

func (n *node) shown() layer.Stat {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.stat
}

// makeInPlace makes a file or directory whose real owner and mode say it all.
// A directory is opened only when something is done in it: fd is -1.
func (f *FS) makeInPlace(n *node, p place) (fd int, err error) {
	flags := 0
	if n.isDir() {
		flags = unix.AT_REMOVEDIR
	}
	err = f.in(p.dir, func(dirfd int) error {
		if n.isDir() {
			err := f.named(sidecar.New, p, place{}, n, func() error { return unix.Mkdirat(dirfd, p.name, realMode(n.stat.Mode)) })
			if err != nil {
				return err
			}
			var st unix.Stat_t
			err = unix.Fstatat(dirfd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW)
			if err == nil && st.Mode&0o7777 == realMode(n.stat.Mode) {
				n.ino, fd = st.Ino, -1
				return nil
			}
			fd, err = openat(dirfd, p.name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			return err
		}
		return f.named(sidecar.New, p, place{}, n, func() (err error) {
			fd, err = openat(dirfd, p.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, realMode(n.stat.Mode))
			return err
		})
	})
	if err != nil || fd < 0 {
		return -1, err
	}
	if err := n.settle(fd); err != nil {
		unix.Close(fd)
		f.in(p.dir, func(dirfd int) error {
			return f.named(sidecar.Gone, p, place{}, n, func() error { return unix.Unlinkat(dirfd, p.name, flags) })
		})
		return -1, err
	}
	return fd, nil
}

// settle learns the number of the new file fd and makes its mode right, which
// the server's umask(2) or a default ACL may have narrowed.
func (n *node) settle(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	n.ino, n.times = st.Ino, stampsOf(&st)
	n.override = !plain(n.stat)
	return n.writeStat(fd, st.Mode)
}

// makeInWork makes what needs attributes or content; link is the target of a
// symbolic link.
func (f *FS) makeInWork(n *node, p place, attrs []layer.Xattr, link string) (fd int, err error) {
	w := f.workName()
	if n.isDir() {
		if err := unix.Mkdirat(f.fds.work, w, realMode(n.stat.Mode)); err != nil {
			return -1, err
		}
		fd, err = openat(f.fds.work, w, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	} else {
		fd, err = openat(f.fds.work, w, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, realMode(n.stat.Mode))
	}
	if err == nil {
		err = n.settle(fd)
	}
	if err == nil {
		err = n.giveXattrs(fd, attrs)
	}
	if err == nil && link != "" {
		_, err = unix.Write(fd, []byte(link))
	}
	if err == nil {
		err = f.in(p.dir, func(dirfd int) error {
			return f.named(sidecar.New, p, place{}, n, func() error { return unix.Renameat(f.fds.work, w, dirfd, p.name) })
		})
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		f.unmake(w, n.isDir())
		return -1, err
	}
	return fd, nil
}

// Mknod is FUSE_MKNOD: regular files too, as CREATE is answered with ENOSYS.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) (st fuse.Status) {
	c := f.begin(opMknod, &in.InHeader, name)
	defer c.end(&st)
	rdev := in.Rdev
	if t := in.Mode & syscall.S_IFMT; t != syscall.S_IFCHR && t != syscall.S_IFBLK {
		rdev = 0
	}
	return f.create(c, &in.InHeader, name, in.Mode, in.Umask, rdev, "", out)
}

// Mkdir is FUSE_MKDIR.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) (st fuse.Status) {
	c := f.begin(opMkdir, &in.InHeader, name)
	defer c.end(&st)
	return f.create(c, &in.InHeader, name, in.Mode&0o7777|syscall.S_IFDIR, in.Umask, 0, "", out)
}

// Symlink is FUSE_SYMLINK.
func (f *FS) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) (st fuse.Status) {
	c := f.begin(opSymlink, in, name)
	defer c.end(&st)
	return f.create(c, in, name, syscall.S_IFLNK|0o777, 0, 0, target, out)
}

// Tmpfile is FUSE_TMPFILE, open(2) with O_TMPFILE: a file in Work until link(2)
// gives it a name.
func (f *FS) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) (st fuse.Status) {
	c := f.begin(opTmpfile, &in.InHeader, "")
	defer c.end(&st)
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	f.tree.Lock()
	defer f.tree.Unlock()
	if f.root == nil {
		return fuse.EROFS
	}
	d, err := f.target(c, in.NodeId, "")
	if err != nil {
		return status(err)
	}
	n := &node{lower: noLower, gone: true, side: f.side.NewFile()}
	attrs, err := f.newStat(n, d, &in.InHeader, in.Mode&0o7777|syscall.S_IFREG, in.Umask, 0)
	if err != nil {
		return status(err)
	}
	w := f.workName()
	fd, err := openat(f.fds.work, w, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, realMode(n.stat.Mode))
	if err != nil {
		return status(err)
	}
	if err = n.settle(fd); err == nil {
		err = n.giveXattrs(fd, attrs)
	}
	if err != nil {
		unix.Close(fd)
		unix.Unlinkat(f.fds.work, w, 0)
		return status(err)
	}
	n.setParked(w)
	f.ids.add(n)
	f.fds.put(f.fds.insert(n, fd))
	out.OpenOut.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return status(f.entry(c, found{n: n}, &out.EntryOut))
}

// Link is FUSE_LINK.
func (f *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) (st fuse.Status) {
	c := f.begin(opLink, &in.InHeader, name)
	defer c.end(&st)
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	f.tree.Lock()
	defer f.tree.Unlock()
	return status(f.link(c, in, name, out))
}

func (f *FS) link(c *call, in *fuse.LinkIn, name string, out *fuse.EntryOut) error {
	d, err := f.target(c, in.NodeId, name)
	if err != nil {
		return err
	}
	if r, _, err := f.find(d, name, true); err != nil {
		return err
	} else if r.ok() {
		return syscall.EEXIST
	}
	src, err := f.byID(in.Oldnodeid)
	if err != nil {
		return err
	}
	n, err := f.copyUp(src)
	if err != nil {
		return err
	}
	if n.isDir() {
		return syscall.EPERM
	}
	p := place{d, name}
	err = f.in2(n.at.dir, d, func(from, to int) error {
		return f.named(sidecar.Link, n.at, p, n, func() error { return unix.Linkat(from, n.at.name, to, name, 0) })
	})
	if err != nil {
		return err
	}
	f.enter(p, n)
	f.renamed(n)
	n.gone = false
	f.ids.byIno[n.ino] = n
	if n.parked && len(n.more) > 0 { // its name in Work has done its service
		if w := n.at; unix.Unlinkat(f.fds.work, w.name, 0) == nil {
			n.parked = false
			n.dropPlace(w)
		}
	}
	return f.entry(c, found{n: n}, out)
}
