// What stat(2) shows and what chmod(2), chown(2),
// utimensat(2) and truncate(2) change.

package fs

import (
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// forever is a time-out, in seconds, that the kernel clamps to its longest:
// nobody but the server changes the tree, so nothing needs asking twice.
const forever = math.MaxInt32

// blockSize is st_blksize, in bytes; dirSize the st_size of every directory,
// so that it does not change when a directory is copied up.
const (
	blockSize = 4096
	dirSize   = 4096
)

// lowerAttr is what lower inode i is shown as, from the index alone.
func (f *FS) lowerAttr(i uint32, out *fuse.Attr) {
	in := f.x.Inode(i)
	*out = fuse.Attr{Ino: uint64(i) + 1, Mode: in.Mode, Nlink: in.Nlink, Rdev: in.Rdev, Blksize: blockSize,
		Size: uint64(in.Size), Mtime: uint64(in.Mtime), Mtimensec: in.Nsec}
	out.Atime, out.Atimensec, out.Ctime, out.Ctimensec = out.Mtime, in.Nsec, out.Mtime, in.Nsec
	out.Uid, out.Gid = f.showUID(in.UID), f.showGID(in.GID)
	switch in.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		out.Blocks = f.lowerBlocks(i)
	case syscall.S_IFDIR:
		out.Size, out.Blocks = dirSize, dirSize/512
	case syscall.S_IFLNK:
		out.Size = uint64(len(f.x.Target(i)))
	}
}

// lowerBlocks is st_blocks of a lower file, in units of 512 bytes.
func (f *FS) lowerBlocks(i uint32) uint64 {
	in := f.x.Inode(i)
	if in.Flags&layer.Sparse == 0 {
		return uint64(in.Size+511) / 512
	}
	var n int64
	for _, e := range f.x.Extents(i) {
		n += e.Length
	}
	return uint64(n+511) / 512
}

func (f *FS) showUID(id uint32) uint32 {
	if f.cfg.MapUID == nil {
		return id
	}
	return f.cfg.MapUID(id)
}

func (f *FS) showGID(id uint32) uint32 {
	if f.cfg.MapGID == nil {
		return id
	}
	return f.cfg.MapGID(id)
}

// nodeAttr is what n is shown as. tree locked, for reading at least.
func (f *FS) nodeAttr(n *node, out *fuse.Attr) error {
	if !n.hasUpper() {
		f.lowerAttr(n.lower, out)
		if n.gone {
			out.Nlink = 0
		}
		return nil
	}
	st, err := f.fstat(n)
	if err != nil {
		return err
	}
	f.fillAttr(n, st, out)
	if n.isDir() {
		return f.dirAttr(n, out)
	}
	if n.parked {
		out.Nlink-- // its name in Work
	}
	return nil
}

// fstat is fstat(2) of the upper file.
func (f *FS) fstat(n *node) (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	if h := f.fds.take(n); h != nil {
		defer f.fds.put(h)
		return st, unix.Fstat(h.fd, st)
	}
	return st, f.in(n.at.dir, func(dirfd int) error {
		return unix.Fstatat(dirfd, n.at.name, st, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// fillAttr joins what is remembered (n.stat) with what is real (st).
func (f *FS) fillAttr(n *node, st *unix.Stat_t, out *fuse.Attr) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	mtime, ctime := f.shownTimes(n, st)
	*out = fuse.Attr{Ino: n.shownIno(), Mode: n.stat.Mode, Nlink: uint32(st.Nlink), Rdev: n.stat.Rdev,
		Owner: fuse.Owner{Uid: f.showUID(n.stat.UID), Gid: f.showGID(n.stat.GID)}, Size: uint64(st.Size), Blocks: uint64(st.Blocks),
		Blksize: blockSize,
		Atime:   uint64(st.Atim.Sec), Atimensec: uint32(st.Atim.Nsec),
		Mtime: uint64(mtime.Sec), Mtimensec: uint32(mtime.Nsec),
		Ctime: uint64(ctime.Sec), Ctimensec: uint32(ctime.Nsec)}
	switch {
	case n.metacopy && n.tail:
		out.Blocks += f.lowerBlocks(n.lower)
	case n.metacopy:
		out.Size, out.Blocks = uint64(f.x.Inode(n.lower).Size), f.lowerBlocks(n.lower)
	case !n.isReg():
		out.Blocks = 0
	}
}

// dirAttr completes the attributes of a directory. tree locked; if the state
// has not been read yet, the caller must hold the write lock.
func (f *FS) dirAttr(n *node, out *fuse.Attr) error {
	out.Size, out.Blocks = dirSize, dirSize/512
	if n.gone {
		out.Nlink, out.Size, out.Blocks = 0, 0, 0
		return nil
	}
	d, err := f.state(n)
	if err != nil {
		return err
	}
	out.Nlink = 2 + uint32(d.subdirs)
	return nil
}

// withNode runs fn with the node of id under the lock it needs to answer about
// attributes: the write lock if a directory has to be read first.
func (f *FS) withNode(id uint64, fn func(n *node) error) error {
	if again, err := f.withRead(id, fn); !again {
		return err
	}
	f.tree.Lock()
	defer f.tree.Unlock()
	n := f.ids.nodes[id]
	if n == nil {
		return syscall.ESTALE
	}
	return fn(n)
}

// withRead is withNode under the read lock; again says that it takes the write lock.
func (f *FS) withRead(id uint64, fn func(n *node) error) (again bool, err error) {
	f.tree.RLock()
	defer f.tree.RUnlock()
	n := f.ids.nodes[id]
	if n == nil {
		return false, syscall.ESTALE
	}
	if n.isDir() && n.dir == nil && !n.gone {
		return true, nil
	}
	return false, fn(n)
}

// GetAttr is FUSE_GETATTR.
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) (st fuse.Status) {
	c := f.begin(opGetattr, &in.InHeader, "")
	defer c.end(&st)
	out.AttrValid = f.valid
	if err := f.mayWrite(in.NodeId, in.Flags_&fuse.FUSE_GETATTR_FH != 0); err != nil {
		return status(err)
	}
	if i, ok := f.ids.lowerOnly(in.NodeId); ok {
		c.layer(f.x.Inode(i).Layer)
		f.lowerAttr(i, &out.Attr)
		return fuse.OK
	}
	return status(f.withNode(in.NodeId, func(n *node) error {
		c.node(f, n)
		return f.nodeAttr(n, &out.Attr)
	}))
}

const timeBits = fuse.FATTR_ATIME | fuse.FATTR_MTIME | fuse.FATTR_CTIME

// SetAttr is FUSE_SETATTR. With the writeback cache the kernel keeps size and
// times of regular files itself, sends them with every change and when it
// writes dirty data back, and ignores what the reply says about them.
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) (st fuse.Status) {
	c := f.begin(opSetattr, &in.InHeader, "")
	defer c.end(&st)
	if in.Valid&fuse.FATTR_SIZE != 0 { // what remains is copied
		if err := f.bring(f.waits.mount, in.NodeId, 0, int64(min(in.Size, math.MaxInt64))); err != nil {
			return status(err)
		}
	}
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	out.AttrValid = f.valid
	if f.root == nil {
		return fuse.EROFS
	}
	if f.onlyTimes(in, &out.Attr) {
		return fuse.OK
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		f.spend(in.NodeId, 0)
	}
	n, err := f.upperNode(in.NodeId)
	if err != nil {
		return status(err)
	}
	done, err := f.timesByName(n, in)
	if !done {
		err = f.changeAttr(c, n, in)
	}
	if err != nil {
		return status(err)
	}
	c.upper()
	return status(f.withNode(in.NodeId, func(n *node) error { return f.nodeAttr(n, &out.Attr) }))
}

// changeAttr does the work of SetAttr on the open upper file of n.
func (f *FS) changeAttr(c *call, n *node, in *fuse.SetAttrIn) error {
	h, err := f.openFile(n)
	if err != nil {
		return err
	}
	defer f.fds.put(h)
	return f.setAttr(c, n, h.fd, in)
}

// timesByName sets times, if nothing else is to be changed, without opening
// the file for it: after each rename(2) and unlink(2) the kernel sends them.
// done is false where there is more to do, or a descriptor at hand.
func (f *FS) timesByName(n *node, in *fuse.SetAttrIn) (done bool, err error) {
	if in.Valid&^(timeBits|fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) != 0 || chownsNothing(in) {
		return false, nil
	}
	f.tree.RLock()
	defer f.tree.RUnlock()
	if h := f.fds.take(n); h != nil {
		f.fds.put(h)
		return false, nil
	}
	if !n.hasUpper() {
		return false, nil
	}
	if !n.mu.TryLock() { // copying takes its time, and the tree is locked
		return false, nil
	}
	defer n.mu.Unlock()
	a, m := times(in)
	err = f.in(n.at.dir, func(dirfd int) error {
		return unix.UtimesNanoAt(dirfd, n.at.name, []unix.Timespec{a, m}, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err == nil {
		f.noteTimes(n, in)
	}
	return true, err
}

// onlyTimes answers when the kernel writes back the times of a file that has lost its last name.
// Processes that have it open see mtime and ctime as the kernel has them, and no other process can
// open it. So nothing is copied up for the times, and nothing written.
func (f *FS) onlyTimes(in *fuse.SetAttrIn, out *fuse.Attr) bool {
	if in.Valid&^(timeBits|fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) != 0 || chownsNothing(in) {
		return false
	}
	f.tree.RLock()
	defer f.tree.RUnlock()
	n := f.ids.nodes[in.NodeId]
	switch {
	case n != nil && n.held != nil && f.writeback && in.Valid&fuse.FATTR_ATIME == 0:
		if f.nodeAttr(n, out) != nil {
			return false
		}
	case n != nil && n.gone && !n.hasUpper():
		f.lowerAttr(n.lower, out)
		out.Nlink = 0
	default:
		return false
	}
	if in.Valid&fuse.FATTR_ATIME != 0 {
		out.Atime, out.Atimensec = in.Atime, in.Atimensec
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		out.Mtime, out.Mtimensec = in.Mtime, in.Mtimensec
	}
	if in.Valid&fuse.FATTR_CTIME != 0 {
		out.Ctime, out.Ctimensec = in.Ctime, in.Ctimensec
	}
	return true
}

// upperNode returns the node of id with an upper part, copying up its metadata
// if need be.
func (f *FS) upperNode(id uint64) (*node, error) {
	if n := f.inUpper(id); n != nil {
		return n, nil
	}
	f.tree.Lock()
	defer f.tree.Unlock()
	r, err := f.byID(id)
	if err != nil {
		return nil, err
	}
	return f.copyUp(r)
}

// editUpper runs edit with the upper file of id, n.mu locked.
func (f *FS) editUpper(id uint64, edit func(n *node, fd int) error) error {
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	if f.root == nil {
		return syscall.EROFS
	}
	n, err := f.upperNode(id)
	if err != nil {
		return err
	}
	h, err := f.openFile(n)
	if err != nil {
		return err
	}
	defer f.fds.put(h)
	n.mu.Lock()
	defer n.mu.Unlock()
	return edit(n, h.fd)
}

// inUpper returns the node of id if it has all of its upper part, or nil.
func (f *FS) inUpper(id uint64) *node {
	f.tree.RLock()
	defer f.tree.RUnlock()
	if n := f.ids.nodes[id]; n != nil && n.hasUpper() && !n.partial {
		return n
	}
	return nil
}

// byID is what a node id stands for. tree locked.
func (f *FS) byID(id uint64) (found, error) {
	if n := f.ids.nodes[id]; n != nil {
		return found{n: n, lower: noLower}, nil
	}
	if i, ok := f.ids.lowerOnly(id); ok {
		return found{lower: i}, nil
	}
	return found{}, syscall.ESTALE
}

// setAttr changes n. What can fail for want of space comes first; once the
// size has changed, an error about the times no longer counts.
func (f *FS) setAttr(c *call, n *node, fd int, in *fuse.SetAttrIn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	resize := in.Valid&fuse.FATTR_SIZE != 0
	if resize && n.isDir() {
		return syscall.EISDIR
	}
	if err := f.setStat(n, fd, in); err != nil {
		return err
	}
	if resize {
		if err := f.truncate(c, n, fd, int64(in.Size)); err != nil {
			return err
		}
	}
	if in.Valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME) != 0 {
		a, m := times(in)
		if err := futimens(fd, a, m); err != nil && !resize {
			return err
		}
	}
	f.noteTimes(n, in)
	return nil
}

// times are the access and modification time to set, for utimensat(2).
func times(in *fuse.SetAttrIn) (a, m unix.Timespec) {
	a, m = unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_OMIT}
	if in.Valid&fuse.FATTR_ATIME != 0 {
		a = pickTime(in.Valid&fuse.FATTR_ATIME_NOW != 0, in.Atime, in.Atimensec)
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		m = pickTime(in.Valid&fuse.FATTR_MTIME_NOW != 0, in.Mtime, in.Mtimensec)
	}
	return a, m
}

func pickTime(now bool, sec uint64, nsec uint32) unix.Timespec {
	if now {
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	return unix.Timespec{Sec: int64(sec), Nsec: int64(nsec)}
}

// setStat changes owner and mode. n.mu locked.
func (f *FS) setStat(n *node, fd int, in *fuse.SetAttrIn) error {
	s := n.stat
	if in.Valid&fuse.FATTR_UID != 0 {
		s.UID = in.Uid
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		s.GID = in.Gid
	}
	if in.Valid&fuse.FATTR_MODE != 0 {
		s.Mode = s.Mode&syscall.S_IFMT | in.Mode&0o7777
		if err := n.chmodACL(fd, s.Mode); err != nil {
			return err
		}
	} else if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 || s.Mode&syscall.S_IFMT != syscall.S_IFDIR && chownsNothing(in) {
		s.Mode = withoutSuid(n.stat, &in.InHeader)
	}
	if in.Valid&(fuse.FATTR_SIZE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		if err := n.dropCaps(fd); err != nil {
			return err
		}
	}
	return n.putStat(fd, s)
}

// chownsNothing recognises chown(2) with -1 for both ids. Like every chown it takes the
// set-user-ID bit away, except from directories. The request has only the time in it, and without
// the writeback cache, where the server keeps the time, nothing at all.
func chownsNothing(in *fuse.SetAttrIn) bool {
	return in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER|fuse.FATTR_CTIME) == 0
}

// withoutSuid is the mode of a file shown as s after a write or a chown by the
// caller who, by the rule of setattr_should_drop_sgid in the kernel: without group
// execution the set-group-ID bit goes only if the caller is neither in the group
// nor privileged. Supplementary groups are not known here and do not count.
func withoutSuid(s layer.Stat, who *fuse.InHeader) uint32 {
	mode := s.Mode &^ syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 || who.Uid != 0 && who.Gid != s.GID {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// putStat makes n shown as s. n.mu locked.
func (n *node) putStat(fd int, s layer.Stat) error {
	if s == n.stat {
		return nil
	}
	attr := n.override || !plain(s)
	if attr {
		if err := n.setAttr(fd, layer.XattrOverride, []byte(s.String()), 0); err != nil {
			return err
		}
	}
	if m := realMode(s.Mode); m != realMode(n.stat.Mode) {
		if err := unix.Fchmod(fd, m); err != nil {
			n.restoreStat(fd)
			return err
		}
	}
	n.stat, n.override = s, attr
	return nil
}

// restoreStat puts the attribute back as it was, as far as possible.
func (n *node) restoreStat(fd int) {
	if n.override {
		n.setAttr(fd, layer.XattrOverride, []byte(n.stat.String()), 0)
	} else {
		n.removeAttr(fd, layer.XattrOverride)
	}
}

// status turns an error of a system call into the reply's error code.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	if e, ok := err.(syscall.Errno); ok {
		return fuse.Status(e)
	}
	return fuse.ToStatus(err)
}
