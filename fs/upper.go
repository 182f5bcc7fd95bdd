// Everything that touches the real files of the upper
// and the work directory. Each is reached by one name relative to the
// descriptor of its directory, never through a path: so a path may be longer
// than PATH_MAX, and no symbolic link is ever followed (there is none).

package fs

import (
	"container/list"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// handle is an open upper file or directory, shared by the requests on it.
type handle struct {
	fd   int
	refs int
	n    *node
	elem *list.Element
}

// fdCache keeps up to max upper files open, the least recently used go first.
type fdCache struct {
	mu   sync.Mutex
	lru  list.List
	max  int
	work int // descriptor of the work directory
}

// breakFile is for a test: while a file of that name exists, the next use of a descriptor panics,
// with all the locks that a request may hold then. Only the test's linker sets it (-ldflags -X).
var breakFile string

func breakIfAsked() {
	if breakFile != "" && unix.Access(breakFile, unix.F_OK) == nil {
		panic("asked for by a test")
	}
}

// take returns n's open descriptor, if it has one, for use until put.
func (c *fdCache) take(n *node) *handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	breakIfAsked()
	h := n.fd
	if h != nil {
		h.refs++
		c.lru.MoveToFront(h.elem)
	}
	return h
}

// insert makes fd the open descriptor of n; if another was quicker, that one
// is used and fd closed.
func (c *fdCache) insert(n *node, fd int) *handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := n.fd; h != nil {
		unix.Close(fd)
		h.refs++
		return h
	}
	h := &handle{fd: fd, refs: 1, n: n}
	n.fd, h.elem = h, c.lru.PushFront(h)
	for e := c.lru.Back(); c.lru.Len() > c.max && e != nil; {
		old := e.Value.(*handle)
		e = e.Prev()
		if old.refs == 0 {
			c.remove(old)
		}
	}
	return h
}

func (c *fdCache) remove(h *handle) {
	c.lru.Remove(h.elem)
	h.n.fd = nil
	h.n = nil
	if h.refs == 0 {
		unix.Close(h.fd)
	}
}

func (c *fdCache) put(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.refs--
	if h.refs == 0 && h.n == nil {
		unix.Close(h.fd)
	}
}

// drop closes n's descriptor.
func (c *fdCache) drop(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	breakIfAsked()
	if n.fd != nil {
		c.remove(n.fd)
	}
}

// closeAll closes every descriptor; there are no more requests.
func (c *fdCache) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.lru.Front(); e != nil; e = c.lru.Front() {
		h := e.Value.(*handle)
		h.refs = 0
		c.remove(h)
	}
}

// open returns the upper file of n for reading and writing, or the upper
// directory for reading. tree must be locked, for reading at least, until it
// returns; the handle outlives that.
func (f *FS) open(n *node) (*handle, error) {
	if h := f.fds.take(n); h != nil {
		return h, nil
	}
	fd, err := f.openPlace(n.at, n.isDir())
	if err != nil {
		return nil, err
	}
	return f.fds.insert(n, fd), nil
}

// openFile is open without the lock.
func (f *FS) openFile(n *node) (*handle, error) {
	f.tree.RLock()
	defer f.tree.RUnlock()
	return f.open(n)
}

func (f *FS) openPlace(p place, dir bool) (int, error) {
	flags := unix.O_RDWR | unix.O_NONBLOCK
	if dir {
		flags = unix.O_RDONLY | unix.O_DIRECTORY
	}
	fd := -1
	err := f.in(p.dir, func(dirfd int) (err error) {
		fd, err = openat(dirfd, p.name, flags, 0)
		return err
	})
	return fd, err
}

// in calls fn with a descriptor of directory d, nil for Work.
func (f *FS) in(d *node, fn func(dirfd int) error) error {
	if d == nil {
		return fn(f.fds.work)
	}
	h, err := f.open(d)
	if err != nil {
		return err
	}
	defer f.fds.put(h)
	return fn(h.fd)
}

// in2 is in for two directories.
func (f *FS) in2(a, b *node, fn func(afd, bfd int) error) error {
	return f.in(a, func(afd int) error {
		return f.in(b, func(bfd int) error { return fn(afd, bfd) })
	})
}

func openat(dirfd int, name string, flags int, mode uint32) (fd int, err error) {
	for {
		// The times are those that somebody has set: O_NOATIME.
		fd, err = unix.Openat(dirfd, name, flags|unix.O_NOATIME|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// workName is a name in Work that was not used before.
func (f *FS) workName() string { return "t" + strconv.FormatUint(f.workSeq.Add(1), 36) }

// realMode is the mode that the upper file of something shown with mode has.
func realMode(mode uint32) uint32 {
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		return mode&0o777 | 0o700
	}
	return mode&0o777 | 0o600
}

// plain reports whether a real file made by the user shows s without an
// attribute: a missing override_stat means owner 0:0 and the real mode.
func plain(s layer.Stat) bool {
	t := s.Mode & syscall.S_IFMT
	return s.UID == 0 && s.GID == 0 && (t == syscall.S_IFREG || t == syscall.S_IFDIR) && s.Mode&0o7777 == realMode(s.Mode)
}

// writeStat makes the new file fd of n, of real mode real, show what n is shown as.
func (n *node) writeStat(fd int, real uint32) error {
	s := n.stat
	if !plain(s) {
		if err := n.setAttr(fd, layer.XattrOverride, []byte(s.String()), 0); err != nil {
			return err
		}
	}
	if m := realMode(s.Mode); m != real&0o7777 {
		return unix.Fchmod(fd, m)
	}
	return nil
}

// loadStat reads into n what the upper file fd is shown as. The lock of tree
// or the newness of n makes n.mu unnecessary.
func (n *node) loadStat(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	defer n.fixMode(fd, st.Mode)
	n.ino, n.lower, n.times = st.Ino, noLower, stampsOf(&st)
	n.show(layer.Stat{Mode: st.Mode&syscall.S_IFMT | st.Mode&0o777})
	names, err := n.listAttrs(fd)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		switch name {
		case layer.XattrOverride:
			v, err := n.getAttr(fd, name)
			if err != nil {
				return err
			}
			s, err := layer.ParseStat(v, st.Mode)
			if err != nil {
				return syscall.EIO
			}
			n.show(s)
			n.override = true
		case layer.XattrOrigin:
			v, err := n.getAttr(fd, name)
			if err != nil {
				return err
			}
			o, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return syscall.EIO
			}
			n.lower = uint32(o)
		case layer.XattrCtime:
			if err := n.loadCtime(fd); err != nil {
				return err
			}
		case layer.XattrMetacopy:
			v, err := n.getAttr(fd, name)
			if err != nil {
				return err
			}
			n.metacopy, n.tail = true, v == layer.MetacopyHead
		default:
			if shown, ok := layer.ShowXattr(name); ok {
				n.xattrs = true
				n.caps = n.caps || shown == xattrCaps
			}
		}
	}
	return nil
}

// fixMode finishes a chmod(2) that a crash interrupted between attribute and
// real mode.
func (n *node) fixMode(fd int, real uint32) {
	if m := realMode(n.stat.Mode); n.override && m != real&0o7777 {
		unix.Fchmod(fd, m)
	}
}

// futimens is futimens(3): utimensat(2) without a name. A time may be
// {0, UTIME_OMIT} or {0, UTIME_NOW}.
func futimens(fd int, atime, mtime unix.Timespec) error {
	ts := [2]unix.Timespec{atime, mtime}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// park moves the upper file p of n to Work, where it stays until the kernel
// forgets n: an open file lives on without a name. tree locked.
func (f *FS) park(n *node, p place) error {
	w := f.workName()
	err := f.in(p.dir, func(fd int) error {
		return f.named(sidecar.Gone, p, place{}, n, func() error { return unix.Renameat(fd, p.name, f.fds.work, w) })
	})
	if err != nil {
		return err
	}
	n.setParked(w)
	return nil
}

// hold opens the upper file of n, called p, and keeps it open until the kernel forgets n: so it can
// lose its last name without getting one in Work. It returns nil if the file has further names, is
// no regular file, or too many are held; and where the disk would itself give it another name in
// its directory. tree locked.
func (f *FS) hold(n *node, p place) *handle {
	if !n.isReg() || f.held >= f.fds.max/2 || f.renamesOpen {
		return nil
	}
	h := f.fds.take(n)
	if h == nil {
		fd, err := f.openPlace(p, false)
		if err != nil {
			return nil
		}
		h = f.fds.insert(n, fd)
	}
	var st unix.Stat_t
	if unix.Fstat(h.fd, &st) != nil || st.Nlink != 1 {
		f.fds.put(h)
		return nil
	}
	return h
}

// renamesOpen tells whether a disk renames a file that is removed while it is open, in its
// directory: NFS to .nfs…, what libfuse serves to .fuse_hidden…, SMB.
func renamesOpen(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return true
	}
	return false
}

// loseName calls do, which takes away the last name of n; h holds the file open. tree locked.
func (f *FS) loseName(n *node, h *handle, do func() error) error {
	if err := do(); err != nil {
		f.fds.put(h)
		return err
	}
	n.at, n.held = place{nil, "held"}, h // a name that is nowhere
	f.held++
	return nil
}

func (n *node) setParked(w string) {
	if n.at.name != "" {
		n.more = append(n.more, n.at)
	}
	n.at, n.parked = place{nil, w}, true
}

// discard removes the parked upper file of n, and the whiteouts in it if it is
// a directory. Errors have no one to go to; the next start clears Work.
func (f *FS) discard(n *node) {
	if !n.isDir() {
		unix.Unlinkat(f.fds.work, n.at.name, 0)
		return
	}
	f.discardDir(n.at.name)
}

func (f *FS) discardDir(name string) {
	if unix.Unlinkat(f.fds.work, name, unix.AT_REMOVEDIR) == nil {
		return
	}
	fd, err := openat(f.fds.work, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	removeAll(fd)
	unix.Close(fd)
	unix.Unlinkat(f.fds.work, name, unix.AT_REMOVEDIR)
}

// removeAll empties the directory fd.
func removeAll(fd int) {
	readNames(fd, func(name string, typ byte, _ uint64) error {
		if unix.Unlinkat(fd, name, 0) != syscall.EISDIR {
			return nil
		}
		if sub, err := openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
			removeAll(sub)
			unix.Close(sub)
		}
		unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
		return nil
	})
}

// readNames calls fn for each entry of directory fd, read to the end before the first call. typ is
// a DT_ constant of readdir(3). A descriptor that was read already is of no use: sshfs shows it an
// empty directory from then on, and for some time to everybody.
func readNames(fd int, fn func(name string, typ byte, ino uint64) error) error {
	fd, err := openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	type ent struct {
		name string
		typ  byte
		ino  uint64
	}
	var all []ent
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		for b := buf[:n]; len(b) > 0; {
			// struct linux_dirent64, getdents(2): ino 8, off 8, reclen 2, type 1, name.
			d := (*unix.Dirent)(unsafe.Pointer(&b[0]))
			name := b[19:d.Reclen]
			for i, c := range name {
				if c == 0 {
					name = name[:i]
					break
				}
			}
			if s := string(name); s != "." && s != ".." {
				all = append(all, ent{s, d.Type, d.Ino})
			}
			b = b[d.Reclen:]
		}
	}
	for _, e := range all {
		if err := fn(e.name, e.typ, e.ino); err != nil {
			return err
		}
	}
	return nil
}
