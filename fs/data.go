// The bytes of files. Lower bytes are read from flat.tar, checked, and handed to the
// kernel from the same buffer; upper bytes are those of the real file.

package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// mapFlat maps a flat.tar for mincore(2), see inMemory. The map is never read, because the file's
// owner may cut it short.
func mapFlat(fl *layer.Flat) ([]byte, error) {
	if fl.Size() == 0 || fl.Partial() { // whoever reads it may have to wait
		return nil, nil
	}
	return unix.Mmap(fl.Fd(), 0, int(fl.Size()), unix.PROT_NONE, unix.MAP_SHARED)
}

// readLower reads from byte off of lower file i on into b, fewer bytes only at its end.
// What it reads has been checked: a layer that is not what its digest says is EIO, and
// reported once. If it has to wait, it gives up when ctx ends: EINTR.
func (f *FS) readLower(ctx context.Context, i uint32, b []byte, off int64) (_ []byte, err error) {
	var n int
	if k := int(f.x.Inode(i).Layer); f.waits.partial && k < len(f.flats) && f.cfg.Flats[k].Partial() {
		n, err = f.readWaiting(ctx, i, b, off)
	} else {
		n, err = f.x.ReadAt(i, f.flats, b, off)
	}
	if err != nil && err != io.EOF {
		tell := func() { f.cfg.Damaged(fmt.Errorf("%s: %w", f.x.Path(i), err)) }
		switch {
		case err == syscall.EINTR:
			return nil, err
		case f.cfg.Damaged == nil:
		case errors.Is(err, layer.ErrAway): // after a long wait, and perhaps not the next time
			tell()
		default:
			f.damaged.Do(tell)
		}
		return nil, syscall.EIO
	}
	return b[:n], nil
}

// lowerLeft is how many bytes lower file i has from off on, at most n.
func (f *FS) lowerLeft(i uint32, off, n int64) int64 { return max(min(n, f.x.Inode(i).Size-off), 0) }

// Read is FUSE_READ.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (r fuse.ReadResult, st fuse.Status) {
	c := f.begin(opRead, &in.InHeader, "")
	defer c.end(&st)
	c.asks(int64(in.Size))
	off, size := int64(in.Offset), int64(in.Size)
	ctx := f.waits.mount
	if r := f.waits.find(in.Unique); r != nil {
		ctx = r
		defer f.waits.over(in.Unique)
	}
	if i, ok := f.ids.lowerOnly(in.NodeId); ok {
		c.layer(f.x.Inode(i).Layer)
		f.reads.add(i, off, size)
		buf, err := f.readLower(ctx, i, buf[:min(size, int64(len(buf)))], off)
		return fuse.ReadResultData(buf), status(err)
	}
	if err := f.bring(ctx, in.NodeId, off, off+size); err != nil {
		return nil, status(err)
	}
	n, h, err := f.openID(in.NodeId)
	if err != nil {
		return nil, status(err)
	}
	buf = buf[:min(size, int64(len(buf)))]
	if h == nil { // a lower file without a name
		buf, err := f.readLower(ctx, n.lower, buf, off)
		return fuse.ReadResultData(buf), status(err)
	}
	defer f.fds.put(h)
	c.upper()
	n.mu.RLock()
	defer n.mu.RUnlock()
	head := 0
	if n.metacopy {
		lower, err := f.readLower(ctx, n.lower, buf, off)
		if head = len(lower); err != nil || !n.tail || head == len(buf) {
			return fuse.ReadResultData(lower), status(err)
		}
	}
	k, err := pread(h.fd, buf[head:], off+int64(head))
	if err != nil {
		return nil, status(err)
	}
	return fuse.ReadResultData(buf[:head+k]), fuse.OK
}

// openID returns the node of id and its upper file, nil if it has none.
func (f *FS) openID(id uint64) (*node, *handle, error) {
	f.tree.RLock()
	defer f.tree.RUnlock()
	n := f.ids.nodes[id]
	if n == nil {
		return nil, nil, syscall.ESTALE
	}
	if !n.hasUpper() {
		return n, nil, nil
	}
	h, err := f.open(n)
	return n, h, err
}

func pread(fd int, b []byte, off int64) (n int, err error) {
	for n < len(b) {
		k, err := unix.Pread(fd, b[n:], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil || k == 0 {
			return n, err
		}
		n += k
	}
	return n, nil
}

func pwrite(fd int, b []byte, off int64) (n int, err error) {
	for n < len(b) {
		k, err := unix.Pwrite(fd, b[n:], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// change is a change of a file's bytes that is asked for.
type change struct {
	id   uint64 // of the node
	off  int64  // where it begins
	data []byte // what is to be written there; nil: anything
	who  *fuse.InHeader
	kill bool // it ends set-user-ID and set-group-ID
}

// writeTo calls do with the upper file of id, n.mu locked for reading. The data of the origin has
// been copied up then, unless the change comes after it; the privileges that the change ends are
// gone.
func (f *FS) writeTo(c *call, ch change, do func(n *node, fd int) error) error {
	n, err := f.upperNode(ch.id)
	if err != nil {
		return err
	}
	h, err := f.openFile(n)
	if err != nil {
		return err
	}
	defer f.fds.put(h)
	c.upper()
	for {
		ready, err := f.tryWrite(n, h.fd, ch, do)
		if ready || err != nil {
			return err
		}
		if err := f.makeReady(c, n, h.fd, ch); err != nil {
			return err
		}
		ch.kill = false // whoever is privileged keeps some: see withoutSuid
	}
}

// tryWrite calls do, if everything is ready for it.
func (f *FS) tryWrite(n *node, fd int, ch change, do func(n *node, fd int) error) (ready bool, err error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !f.writable(n, ch.off, ch.data) || n.caps || ch.kill && n.isSuid() {
		return false, nil
	}
	return true, do(n, fd)
}

// makeReady copies up what the change needs, and takes away what a write takes away: file
// capabilities always, set-user-ID and set-group-ID if the kernel says so, write(2).
func (f *FS) makeReady(c *call, n *node, fd int, ch change) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := f.makeWritable(c, n, fd, ch.off, ch.data); err != nil {
		return err
	}
	if err := n.dropCaps(fd); err != nil || !ch.kill {
		return err
	}
	s := n.stat
	s.Mode = withoutSuid(s, ch.who)
	return n.putStat(fd, s)
}

// Writev leaves the work to Write.
func (f *FS) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// Write is FUSE_WRITE: mostly the kernel writing back dirty pages.
func (f *FS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (written uint32, st fuse.Status) {
	c := f.begin(opWrite, &in.InHeader, "")
	defer c.end(&st)
	c.asks(int64(in.Size))
	f.spend(in.NodeId, int64(in.Size))
	if err := f.bringForWrite(in.NodeId, int64(in.Offset), int64(len(data))); err != nil {
		return 0, status(err)
	}
	f.writing.Add(1)
	defer f.writing.Add(-1)
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	off := int64(in.Offset)
	ch := change{in.NodeId, off, data, &in.InHeader, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0}
	st = status(f.writeTo(c, ch, func(n *node, fd int) error {
		skip := 0 // bytes that the origin has already, see appends
		if n.metacopy {
			skip = int(max(f.x.Inode(n.lower).Size-off, 0))
		}
		k, err := pwrite(fd, data[skip:], off+int64(skip))
		if k > 0 {
			written, err = uint32(skip+k), nil
			f.noteWrite(n, in.Unique)
		}
		return err
	}))
	return written, st
}

func (n *node) isSuid() bool { return n.stat.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 }

// dropCaps removes security.capability. n.mu locked.
func (n *node) dropCaps(fd int) error {
	if !n.caps {
		return nil
	}
	err := n.removeAttr(fd, layer.StoreXattr(xattrCaps))
	if err == nil || err == syscall.ENODATA {
		n.caps, err = false, nil
	}
	return err
}
