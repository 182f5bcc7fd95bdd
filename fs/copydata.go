// How a metacopy becomes a copy. When bytes of the origin are changed, all of
// them are copied. When bytes are only added after them, nothing is copied: the
// upper file gets a tail, and stays a hole before it.
//
//	metacopy         ""        the origin's data
//	… with a tail    "head"    the origin's data, then the upper file's own
//	copy             no mark   the upper file's data
//
// Each step is one change of the mark user.tiffin.metacopy, and so complete or
// absent after a crash.

package fs

import (
	"bytes"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// truncate sets the size of n. Of a metacopy it copies up only what remains.
// n.mu locked.
func (f *FS) truncate(c *call, n *node, fd int, size int64) error {
	if err := n.dropMark(fd); err != nil {
		return err
	}
	if n.metacopy && (size < f.x.Inode(n.lower).Size || !f.growTail(n, fd)) {
		return f.copyData(c, n, fd, size)
	}
	return unix.Ftruncate(fd, size)
}

// copyData fills the metacopy n with the first size bytes of its origin, makes
// them durable and only then takes the mark away: a crash before leaves the
// metacopy, whatever is in it. Without space it leaves it empty, as it was.
// n.mu locked.
func (f *FS) copyData(c *call, n *node, fd int, size int64) error {
	if !n.metacopy {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if n.tail {
		return f.copyHead(c, n, fd, size, &st)
	}
	whole := f.x.Inode(n.lower).Size
	err := unix.Ftruncate(fd, 0)
	if err == nil && size > 0 {
		err = f.copyExtents(c, fd, n.lower, min(size, whole))
	}
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if err == nil && size > 0 {
		err = f.syncData(fd)
	}
	if err == nil {
		err = n.removeAttr(fd, layer.XattrMetacopy)
	}
	if err != nil {
		unix.Ftruncate(fd, 0)
		unix.Ftruncate(fd, whole)
		futimens(fd, st.Atim, st.Mtim)
		return err
	}
	n.metacopy = false
	return nil
}

// copyExtents writes the first size bytes of lower file i to fd, leaving holes.
func (f *FS) copyExtents(c *call, fd int, i uint32, size int64) error {
	buf := make([]byte, min(size, copyChunk))
	for _, e := range f.x.Extents(i) {
		n := min(e.Length, size-e.Logical)
		for at := e.Logical; n > 0; {
			b, err := f.readLower(f.waits.mount, i, buf[:min(n, copyChunk)], at)
			if err == nil && len(b) == 0 {
				err = syscall.EIO
			}
			if err == nil {
				_, err = pwrite(fd, b, at)
			}
			if err != nil {
				return err
			}
			at, n = at+int64(len(b)), n-int64(len(b))
			c.copied(int64(len(b)))
		}
	}
	return nil
}

// copyChunk is how many bytes are copied up at a time.
const copyChunk = 256 << 10

// appends reports whether data written at off leaves what metacopy n has from
// its origin as it is. The kernel writes whole pages: the first may begin with
// unchanged bytes of the origin. nil stands for any data.
func (f *FS) appends(n *node, off int64, data []byte) bool {
	if !n.metacopy {
		return true
	}
	head := f.x.Inode(n.lower).Size - off
	if head <= 0 {
		return true
	}
	if head >= int64(len(data)) {
		return false
	}
	was, err := f.readLower(f.waits.mount, n.lower, make([]byte, head), off)
	return err == nil && bytes.HasPrefix(data, was)
}

// writable reports whether data can be written at off to the upper file of n as it is.
func (f *FS) writable(n *node, off int64, data []byte) bool {
	if !n.metacopy {
		return !n.tail
	}
	return n.tail && f.appends(n, off, data)
}

// makeWritable copies up what writable asks for. n.mu locked.
func (f *FS) makeWritable(c *call, n *node, fd int, off int64, data []byte) error {
	if err := n.dropMark(fd); err != nil {
		return err
	}
	if f.appends(n, off, data) && f.growTail(n, fd) {
		return nil
	}
	return f.copyData(c, n, fd, f.x.Inode(n.lower).Size)
}

// growTail makes metacopy n one with a tail, which is empty: the size of the
// upper file counts from now on. It reports false where there must be a copy
// instead. n.mu locked.
func (f *FS) growTail(n *node, fd int) bool {
	if !n.metacopy || n.tail {
		return true
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Size != f.x.Inode(n.lower).Size {
		return false
	}
	n.tail = n.setAttr(fd, layer.XattrMetacopy, []byte(layer.MetacopyHead), 0) == nil
	return n.tail
}

// copyHead is copyData for a metacopy with a tail, which stays where it is.
// st is how the upper file was. n.mu locked.
//
// If the upper file is shorter than the origin, all its data is here: a crash before the mark is
// taken away leaves the same as one after it (hollowHead).
func (f *FS) copyHead(c *call, n *node, fd int, size int64, st *unix.Stat_t) error {
	head := f.x.Inode(n.lower).Size
	err := f.copyExtents(c, fd, n.lower, min(size, head))
	if err == nil && size > 0 {
		err = f.syncData(fd)
	}
	if err == nil && size < head {
		if err = unix.Ftruncate(fd, size); err == nil {
			n.metacopy = false
		}
	}
	if err != nil {
		punch(fd, head)
		futimens(fd, st.Atim, st.Mtim)
		return err
	}
	n.metacopy = false
	if err := n.dropMark(fd); err != nil && size >= head {
		n.metacopy = true
		return err
	}
	return nil
}

// dropMark takes away the mark of a copy that was a metacopy with a tail. It must be gone before
// the file is written to: when the file is longer than its origin again, the mark would make it a
// metacopy. n.mu locked.
func (n *node) dropMark(fd int) error {
	if n.metacopy || !n.tail {
		return nil
	}
	err := n.removeAttr(fd, layer.XattrMetacopy)
	if err == nil || err == syscall.ENODATA {
		n.tail, err = false, nil
	}
	return err
}

// hollowHead is hollow for a metacopy with a tail. A file that has become
// shorter than its origin was being truncated, and has all its data.
func (f *FS) hollowHead(n *node, fd int, st *unix.Stat_t) error {
	head := f.x.Inode(n.lower).Size
	if st.Size < head {
		n.metacopy = false
		return n.dropMark(fd)
	}
	// The block in which the tail begins may begin before it.
	if p, err := unix.Seek(fd, 0, unix.SEEK_DATA); err != nil || p >= head&^(blockSize-1) {
		return nil
	}
	punch(fd, head)
	return futimens(fd, st.Atim, st.Mtim)
}

// punch gives back the space of the first n bytes of fd, which are not read any
// more, if the disk can.
func punch(fd int, n int64) {
	unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, n)
}

// syncData is fdatasync(2) of an upper file, where anybody would want it after a power cut.
func (f *FS) syncData(fd int) error {
	if f.cfg.Volatile {
		return nil
	}
	return unix.Fdatasync(fd)
}
