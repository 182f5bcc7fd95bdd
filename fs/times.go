// When a file was changed. With the writeback cache the kernel keeps mtime and ctime of regular
// files itself as long as it remembers a file: what it was told with the first reply, and what
// it says with SETATTR since. A WRITE may come before that or after. Other files, and all without
// that cache, have the times of the real file. But a ctime that moved by something nobody asked
// for, such as a copy-up or the new name that it needs in a directory, is shown as it was.
//
// SETATTR may never come. A worker of the kernel that writes dirty files back, after 30 s or for
// sync(2), does so as the user root; where root has no number in this user namespace,
// fuse_get_req in fs/fuse/dev.c refuses (EOVERFLOW), and the kernel tries no more. Nor has it
// anything to say after a WRITE if it has said it before: link(2), rename(2), setxattr(2) and their
// like send SETATTR while bytes of that file wait to be written (fuse_update_ctime in
// fs/fuse/dir.c), and open(2) with O_TRUNC does before a write(2) in the same tick of the clock.
// Nothing tells the server which of these it sees. Where a worker may be refused, it keeps the time
// of a WRITE that nothing is said about: somewhat late, but it hides no change.
//
// No call sets a real file's ctime. Where another is shown it is remembered, in the node and, when
// that goes, in the attribute user.tiffin.ctime (package layer, attrs.go). A server that is killed
// leaves the real times.

package fs

import (
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// stamps is what is shown instead of the real times of an upper file.
type stamps struct {
	mtime, ctime unix.Timespec
	real         unix.Timespec // the real file's ctime: if it is another now, there was a change since
	saved        bool          // the attribute says the same
	said         uint64        // the number of the SETATTR that said so
}

// stampsOf are the times of a real file.
func stampsOf(st *unix.Stat_t) stamps { return stamps{mtime: st.Mtim, ctime: st.Ctim, real: st.Ctim} }

// kernelKeeps reports whether the kernel is the one who knows the times of n.
func (f *FS) kernelKeeps(n *node) bool { return n.isReg() && f.writeback }

// WorkersAreRefused tells whether the user root, as which the kernel writes back, has no number in
// this user namespace. /proc/sys is that user's: proc(5), and fs/proc/proc_sysctl.c.
func WorkersAreRefused() bool {
	const overflow = 65534 // user_namespaces(7), "Unmapped user and group IDs"
	var st unix.Stat_t
	return unix.Stat("/proc/sys", &st) != nil || st.Uid == overflow
}

// noteWrite is called when request number unique has changed bytes of n. n.mu locked for reading.
// Where workers are not refused it has nothing to note: a SETATTR follows each change, though
// not each WRITE, which may be on its way when the SETATTR passes it.
func (f *FS) noteWrite(n *node, unique uint64) {
	if !f.refused {
		return
	}
	// A change in the same tick of the kernel's clock as the last one leaves its times as they are.
	if unique > n.times.said && !inThisTick(n.times.mtime) {
		n.unsaid.Store(true)
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

// shownTimes are st_mtime and st_ctime of n, whose real file's are in st. n.mu locked.
func (f *FS) shownTimes(n *node, st *unix.Stat_t) (mtime, ctime unix.Timespec) {
	// Where the clock has ticks, a change within that of a copy-up leaves real as it is. A change
	// of names sets mtime then; setAttr and others call timesAreReal.
	if f.kernelKeeps(n) && !n.unsaid.Load() || st.Ctim == n.times.real && st.Mtim == n.times.mtime {
		return n.times.mtime, n.times.ctime
	}
	return st.Mtim, st.Ctim
}

// timesAreReal is called when somebody has asked for a change of n. n.mu locked.
func (f *FS) timesAreReal(n *node) {
	if !f.kernelKeeps(n) {
		n.times = stamps{}
	}
}

// renamed is called when somebody has asked for another name of n.
func (f *FS) renamed(n *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.timesAreReal(n)
}

// keepCtime is called when the real file fd of n has got another ctime, but this one is shown.
func (f *FS) keepCtime(n *node, fd int, ctime unix.Timespec) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var st unix.Stat_t
	if !f.kernelKeeps(n) && unix.Fstat(fd, &st) == nil {
		n.times = stamps{mtime: st.Mtim, ctime: ctime, real: st.Ctim}
	}
}

// keepTimes runs fn and then sets back the times of directory d: no one asked
// for the change that fn makes in it.
func (f *FS) keepTimes(d *node, fn func(dirfd int) error) error {
	return f.in(d, func(dirfd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(dirfd, &st); err != nil {
			return err
		}
		ctime := f.ctimeOf(d, &st)
		err := fn(dirfd)
		if err == nil {
			// What fn did is done: a time that is wrong is no reason to say that
			// it has failed.
			_ = futimens(dirfd, st.Atim, st.Mtim)
			f.keepCtime(d, dirfd, ctime)
		}
		return err
	})
}

// ctimeOf is the ctime that n is shown with.
func (f *FS) ctimeOf(n *node, st *unix.Stat_t) unix.Timespec {
	n.mu.RLock()
	defer n.mu.RUnlock()
	_, ctime := f.shownTimes(n, st)
	return ctime
}

// noteTimes remembers what the kernel has said, and the real file has. n.mu locked.
func (f *FS) noteTimes(n *node, in *fuse.SetAttrIn) {
	f.timesAreReal(n)
	n.times.saved, n.times.said = false, in.Unique
	if in.Valid&fuse.FATTR_MTIME != 0 {
		n.unsaid.Store(false)
		n.times.mtime = unix.Timespec{Sec: int64(in.Mtime), Nsec: int64(in.Mtimensec)}
	}
	if in.Valid&fuse.FATTR_CTIME != 0 {
		n.times.ctime = unix.Timespec{Sec: int64(in.Ctime), Nsec: int64(in.Ctimensec)}
	}
}

// saveTimes makes the upper file of n say what it is shown with. tree locked.
func (f *FS) saveTimes(n *node) {
	if !n.hasUpper() || n.parked || n.held != nil || n.gone || n.times == (stamps{}) && !n.ctimed {
		return
	}
	st, err := f.fstat(n)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	mtime, ctime := f.shownTimes(n, st)
	if mtime == st.Mtim && (ctime == st.Ctim && !n.ctimed || n.times.saved && st.Ctim == n.times.real) {
		return
	}
	h, err := f.open(n)
	if err != nil {
		return
	}
	defer f.fds.put(h)
	if mtime != st.Mtim {
		_ = futimens(h.fd, unix.Timespec{Nsec: unix.UTIME_OMIT}, mtime)
	}
	now := time.Now().Unix()
	if n.side != nil && unix.Fstat(h.fd, st) == nil {
		now = st.Ctim.Sec // which an attribute in a sidecar does not change
	}
	v := fmt.Sprintf("%d.%09d %d", ctime.Sec, ctime.Nsec, now)
	if n.setAttr(h.fd, layer.XattrCtime, []byte(v), 0) == nil && unix.Fstat(h.fd, st) == nil {
		n.times, n.ctimed = stamps{mtime, ctime, st.Ctim, true, n.times.said}, true
	}
}

// loadCtime reads what saveTimes has written into the attribute of the upper file fd of n.
func (n *node) loadCtime(fd int) error {
	v, err := n.getAttr(fd, layer.XattrCtime)
	if err != nil {
		return err
	}
	var c unix.Timespec
	var then int64
	if _, err := fmt.Sscanf(v, "%d.%d %d", &c.Sec, &c.Nsec, &then); err != nil {
		return syscall.EIO
	}
	n.ctimed = true
	if since := n.times.real.Sec - then; since == 0 || since == 1 || since == -1 {
		n.times.ctime, n.times.saved = c, true
	}
	return nil
}

// saveAllTimes is saveTimes for all nodes.
func (f *FS) saveAllTimes() {
	f.tree.Lock()
	defer f.tree.Unlock()
	if f.root != nil {
		f.saveTree(f.root)
	}
}

// saveTree is saveTimes for n and what is below: of a file that is to be opened, the directory is
// open. tree locked.
func (f *FS) saveTree(n *node) {
	f.saveTimes(n)
	if n.dir == nil {
		return
	}
	for name, e := range n.dir.ents {
		if e.node != nil && e.node.at == (place{n, name}) {
			f.saveTree(e.node)
		}
	}
}
