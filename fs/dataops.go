// The rarer operations on bytes: holes, ranges, sync.

package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Fallocate is FUSE_FALLOCATE; the kernel lets only FALLOC_FL_KEEP_SIZE,
// PUNCH_HOLE and ZERO_RANGE through. fallocate(2).
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) (st fuse.Status) {
	c := f.begin(opFallocate, &in.InHeader, "")
	defer c.end(&st)
	if err := f.bringForWrite(in.NodeId, int64(in.Offset), int64(in.Length)); err != nil {
		return status(err)
	}
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	// The kernel tells WRITE and SETATTR when privileges end, but not this and COPY_FILE_RANGE; it
	// would do so unless the caller had CAP_FSETID in the initial user namespace, where nobody
	// here is.
	ch := change{id: in.NodeId, off: int64(in.Offset), who: &in.InHeader, kill: true}
	return status(f.writeTo(c, ch, func(n *node, fd int) error {
		defer f.noteWrite(n, in.Unique)
		return unix.Fallocate(fd, in.Mode, int64(in.Offset), int64(in.Length))
	}))
}

// CopyFileRange is FUSE_COPY_FILE_RANGE, copy_file_range(2); the kernel has
// written the dirty pages of both ranges back before.
func (f *FS) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (written uint32, st fuse.Status) {
	c := f.begin(opCopyFileRange, &in.InHeader, "")
	defer c.end(&st)
	c.asks(int64(in.Len))
	n := int64(min(in.Len, 1<<30))
	from, at := int64(in.OffIn), int64(in.OffOut)
	err := f.bring(f.waits.mount, in.NodeId, from, from+n)
	if err == nil {
		err = f.bringForWrite(in.NodeIdOut, at, n)
	}
	if err != nil {
		return 0, status(err)
	}
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	src, i, err := f.readable(in.NodeId, from)
	lower := src == nil
	if err == nil && lower { // what comes after the origin's data, if anything
		src, _, err = f.readable(in.NodeId, max(from, f.x.Inode(i).Size))
	}
	if err != nil {
		return 0, status(err)
	}
	if src != nil {
		defer f.fds.put(src)
	}
	ch := change{id: in.NodeIdOut, off: at, who: &in.InHeader, kill: true}
	st = status(f.writeTo(c, ch, func(out *node, fd int) error {
		defer f.noteWrite(out, in.Unique)
		if lower {
			k, err := f.copyRangeLower(fd, i, from, at, n)
			written = uint32(k)
			if err != nil || src == nil || from+k < f.x.Inode(i).Size {
				return err
			}
			from, at, n = from+k, at+k, n-k
		}
		m, err := unix.CopyFileRange(src.fd, &from, fd, &at, int(n), int(in.Flags))
		if written > 0 {
			err = nil // some of it has been copied: that is the answer
		}
		written += uint32(max(m, 0))
		return err
	}))
	return written, st
}

// readable returns where the bytes of id from off on are: in an upper file, or
// in a lower inode as far as that goes.
func (f *FS) readable(id uint64, off int64) (*handle, uint32, error) {
	if i, ok := f.ids.lowerOnly(id); ok {
		return nil, i, nil
	}
	n, h, err := f.openID(id)
	if err != nil || h == nil {
		return nil, n.origin(), err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.metacopy && !(n.tail && off >= f.x.Inode(n.lower).Size) {
		f.fds.put(h)
		return nil, n.lower, nil
	}
	return h, 0, nil
}

func (n *node) origin() uint32 {
	if n == nil {
		return 0
	}
	return n.lower
}

// copyRangeLower copies from lower file i to fd, at most up to its end.
func (f *FS) copyRangeLower(fd int, i uint32, from, to, n int64) (done int64, err error) {
	buf := make([]byte, min(copyChunk, f.lowerLeft(i, from, n)))
	for left := f.lowerLeft(i, from, n); left > 0; left = f.lowerLeft(i, from+done, n-done) {
		b, err := f.readLower(f.waits.mount, i, buf[:min(left, copyChunk)], from+done)
		k := 0
		if err == nil {
			k, err = pwrite(fd, b, to+done)
			done += int64(k)
		}
		if err != nil {
			if done > 0 {
				break
			}
			return 0, err
		}
	}
	return done, nil
}

// Lseek is FUSE_LSEEK, SEEK_DATA and SEEK_HOLE only, in a union that cannot be changed. In others
// the kernel has dirty pages and lengths that are not known here, and asks without writing them
// back. No answer would be right then but ENOSYS: the kernel says itself that all is data, as
// lseek(2) allows, and does not ask again. To have it write back first, by an invalidation, is to
// wait in the kernel for an answer of one's own: a server killed meanwhile leaves processes that
// nothing ends.
func (f *FS) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) (st fuse.Status) {
	c := f.begin(opLseek, &in.InHeader, "")
	defer c.end(&st)
	i, ok := f.ids.lowerOnly(in.NodeId)
	if f.root != nil || !ok {
		return fuse.ENOSYS
	}
	p, err := f.seekLower(i, int64(in.Offset), int(in.Whence))
	out.Offset = uint64(p)
	return status(err)
}

func (f *FS) seekLower(i uint32, off int64, whence int) (int64, error) {
	size := f.x.Inode(i).Size
	if off < 0 || off >= size {
		return 0, syscall.ENXIO
	}
	for _, e := range f.x.Extents(i) {
		end := e.Logical + e.Length
		switch {
		case off >= end || e.Length == 0:
		case whence == unix.SEEK_DATA:
			return max(off, e.Logical), nil
		case off < e.Logical:
			return off, nil
		default:
			off = end
		}
	}
	if whence == unix.SEEK_DATA {
		return 0, syscall.ENXIO
	}
	return min(off, size), nil
}

// Fsync is FUSE_FSYNC, fsync(2): the real file's.
func (f *FS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) (st fuse.Status) {
	c := f.begin(opFsync, &in.InHeader, "")
	defer c.end(&st)
	return f.sync(in)
}

// FsyncDir is FUSE_FSYNCDIR.
func (f *FS) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) (st fuse.Status) {
	c := f.begin(opFsyncdir, &in.InHeader, "")
	defer c.end(&st)
	return f.sync(in)
}

func (f *FS) sync(in *fuse.FsyncIn) fuse.Status {
	if f.cfg.Volatile {
		return fuse.ENOSYS // the kernel asks no more, and still writes out what it has: fuse_fsync
	}
	if _, ok := f.ids.lowerOnly(in.NodeId); ok {
		return fuse.OK
	}
	_, h, err := f.openID(in.NodeId)
	if err != nil || h == nil {
		return status(err)
	}
	defer f.fds.put(h)
	if err := f.side.Sync(); err != nil {
		return status(err)
	}
	if in.FsyncFlags&1 != 0 { // FUSE_FSYNC_FDATASYNC
		return status(unix.Fdatasync(h.fd))
	}
	return status(unix.Fsync(h.fd))
}

// StatFs is FUSE_STATFS: that of the disk which takes the changes.
func (f *FS) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) (st fuse.Status) {
	c := f.begin(opStatfs, in, "")
	defer c.end(&st)
	if f.root == nil {
		n := uint64(f.x.Len())
		*out = fuse.StatfsOut{Bsize: blockSize, Frsize: blockSize, NameLen: nameMax, Files: n}
		for _, fl := range f.cfg.Flats {
			out.Blocks += uint64(fl.Size()+blockSize-1) / blockSize
		}
		return fuse.OK
	}
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(f.fds.work, &s); err != nil {
		return status(err)
	}
	out.FromStatfsT(&s)
	out.NameLen = nameMax
	return fuse.OK
}
