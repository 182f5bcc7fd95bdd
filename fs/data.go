// The bytes of files. Lower bytes go from the map of
// flat.tar to the kernel in one copy; upper bytes are those of the real file.

package fs

import (
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// flat is a mapped flat.tar.
type flat struct {
	fd      int
	data    []byte
	touched atomic.Bool // some of its pages may be resident
}

// letGo is how many bytes may be resident through the maps before all are
// given back: they stay in the page cache, but no longer count as ours. A page
// fault maps faultAround bytes at once, however little was asked for.
const (
	letGo       = 4 << 20
	faultAround = 64 << 10
)

func mapFlat(fd int) (*flat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	fl := &flat{fd: fd}
	if st.Size == 0 {
		return fl, nil
	}
	var err error
	fl.data, err = unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	return fl, err
}

func (fl *flat) unmap() {
	if fl.data != nil {
		unix.Munmap(fl.data)
	}
}

// letPagesGo counts n bytes about to be read through the map of fl, and gives
// the pages of all maps back when it is enough.
func (f *FS) letPagesGo(fl *flat, n int64) {
	fl.touched.Store(true)
	if f.resident.Add(n+faultAround) < letGo {
		return
	}
	f.resident.Store(0)
	for _, fl := range f.flats {
		if fl.data != nil && fl.touched.Swap(false) {
			unix.Madvise(fl.data, unix.MADV_DONTNEED)
		}
	}
}

// slice is bytes [off, off+n) of flat.tar, fewer if it has been cut short.
func (fl *flat) slice(off, n int64) []byte {
	size := int64(len(fl.data))
	if off < 0 || off >= size {
		return nil
	}
	return fl.data[off:min(off+n, size)]
}

var zeros [128 << 10]byte

// lowerBytes returns bytes [off, off+n) of lower file i as pieces of maps, to be read.
func (f *FS) lowerBytes(i uint32, off, n int64) [][]byte {
	if n = min(n, f.x.Inode(i).Size-off); n > 0 {
		f.letPagesGo(f.flats[f.x.Inode(i).Layer], n)
	}
	return f.lowerPieces(i, off, n)
}

// lowerPieces is lowerBytes for a caller that does not read the bytes.
func (f *FS) lowerPieces(i uint32, off, n int64) [][]byte {
	in := f.x.Inode(i)
	n = min(n, in.Size-off)
	if n <= 0 {
		return nil
	}
	fl := f.flats[in.Layer]
	if in.Flags&layer.Sparse == 0 {
		return [][]byte{fl.slice(in.Offset+off, n)}
	}
	var vs [][]byte
	hole := func(n int64) {
		for n > 0 {
			k := min(n, int64(len(zeros)))
			vs = append(vs, zeros[:k])
			n -= k
		}
	}
	end := off + n
	for _, e := range f.x.Extents(i) {
		if e.Logical+e.Length <= off {
			continue
		}
		if e.Logical >= end {
			break
		}
		if e.Logical > off {
			hole(e.Logical - off)
			off = e.Logical
		}
		k := min(e.Logical+e.Length, end) - off
		vs = append(vs, fl.slice(e.Physical+off-e.Logical, k))
		off += k
	}
	hole(end - off)
	return vs
}

// Read is FUSE_READ.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (r fuse.ReadResult, st fuse.Status) {
	c := f.begin(opRead, &in.InHeader, "")
	defer c.end(&st)
	c.asks(int64(in.Size))
	off, size := int64(in.Offset), int64(in.Size)
	if i, ok := f.ids.lowerOnly(in.NodeId); ok {
		c.layer(f.x.Inode(i).Layer)
		return fuse.ReadResultVector(f.lowerBytes(i, off, size)), fuse.OK
	}
	n, h, err := f.openID(in.NodeId)
	if err != nil {
		return nil, status(err)
	}
	if h == nil { // a lower file without a name
		return fuse.ReadResultVector(f.lowerBytes(n.lower, off, size)), fuse.OK
	}
	defer f.fds.put(h)
	c.upper()
	n.mu.RLock()
	defer n.mu.RUnlock()
	buf = buf[:min(size, int64(len(buf)))]
	var head [][]byte
	if n.metacopy {
		head = f.lowerBytes(n.lower, off, size)
		for _, b := range head {
			buf, off = buf[len(b):], off+int64(len(b))
		}
		if !n.tail || len(buf) == 0 {
			return fuse.ReadResultVector(head), fuse.OK
		}
	}
	k, err := pread(h.fd, buf, off)
	if err != nil {
		return nil, status(err)
	}
	return fuse.ReadResultVector(append(head, buf[:k])), fuse.OK
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

// forWrite returns the upper file of id, ready for data to be written at off,
// n.mu locked for reading: unless what is written comes after the data of the
// origin, that has been copied up. The caller must call done.
func (f *FS) forWrite(c *call, id uint64, off int64, data []byte) (n *node, h *handle, done func(), err error) {
	if n, err = f.upperNode(id); err != nil {
		return nil, nil, nil, err
	}
	f.tree.RLock()
	h, err = f.open(n)
	f.tree.RUnlock()
	if err != nil {
		return nil, nil, nil, err
	}
	n.mu.RLock()
	for !f.writable(n, off, data) {
		n.mu.RUnlock()
		n.mu.Lock()
		err = f.makeWritable(c, n, h.fd, off, data)
		n.mu.Unlock()
		if err != nil {
			f.fds.put(h)
			return nil, nil, nil, err
		}
		n.mu.RLock()
	}
	c.upper()
	return n, h, func() { n.mu.RUnlock(); f.fds.put(h) }, nil
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
	f.writing.Add(1)
	defer f.writing.Add(-1)
	f.freeze.RLock()
	defer f.freeze.RUnlock()
	n, h, done, err := f.forWrite(c, in.NodeId, int64(in.Offset), data)
	if err != nil {
		return 0, status(err)
	}
	defer done()
	kill := in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0
	if n.caps || kill && n.isSuid() {
		n.mu.RUnlock()
		err = n.killPriv(h.fd, kill, &in.InHeader)
		n.mu.RLock()
		if err != nil {
			return 0, status(err)
		}
	}
	off := int64(in.Offset)
	skip := 0 // bytes that the origin has already, see appends
	if n.metacopy {
		skip = int(max(f.x.Inode(n.lower).Size-off, 0))
	}
	defer f.keepTick(h.fd)()
	k, err := pwrite(h.fd, data[skip:], off+int64(skip))
	if k > 0 {
		return uint32(skip + k), fuse.OK
	}
	return 0, status(err)
}

// keepTick is called before a change of the bytes of upper file fd; what it returns is called
// after the change.
// If the clock has not ticked since the file's last change, the file keeps its times: with the
// writeback cache the kernel stamps a write(2) with the time of the last tick, and says nothing
// to the server if its inode has that already; the real file would get a later one (package
// comment, "WRITE comes after"). In another tick the real file's time has to stand, for the
// kernel's may never arrive. n.mu is locked for reading.
func (f *FS) keepTick(fd int) func() {
	var was unix.Stat_t
	if f.cfg.Uncached || unix.Fstat(fd, &was) != nil || !inThisTick(was.Mtim) {
		return func() {}
	}
	return func() {
		if inThisTick(was.Mtim) {
			futimens(fd, was.Atim, was.Mtim)
		}
	}
}

// inThisTick tells whether t is between the last tick of the clock, every 1 to 10 ms, and now.
func inThisTick(t unix.Timespec) bool {
	var tick, now unix.Timespec
	// clock_gettime(2): CLOCK_REALTIME_COARSE is the time of the last tick.
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &tick) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &now) != nil {
		return false
	}
	return tick.Nano() <= t.Nano() && t.Nano() <= now.Nano()
}

func (n *node) isSuid() bool { return n.stat.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 }

// killPriv takes away what a write takes away: file capabilities always,
// set-user-ID and set-group-ID if the kernel says so, write(2).
func (n *node) killPriv(fd int, suid bool, who *fuse.InHeader) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.dropCaps(fd); err != nil || !suid {
		return err
	}
	s := n.stat
	s.Mode = withoutSuid(s, who)
	return n.putStat(fd, s)
}

// dropCaps removes security.capability. n.mu locked.
func (n *node) dropCaps(fd int) error {
	if !n.caps {
		return nil
	}
	err := unix.Fremovexattr(fd, layer.StoreXattr(xattrCaps))
	if err == nil || err == syscall.ENODATA {
		n.caps, err = false, nil
	}
	return err
}
