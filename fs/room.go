// What a nearly full disk changes. With the writeback cache write(2) has succeeded before the
// server hears of it, and what does not fit any more is lost: close(2) and fsync(2) say so, but a
// shell's `echo hello > y` asks neither. So where the room is little, the kernel asks first.
//
//	room at the start       writeback cache?
//	less than cacheRoom     no: each write(2) is a WRITE, and its error is the caller's
//	more                    yes
//	… then less             yes, but each write(2) is asked about (GETATTR, below), and it is
//	                        ENOSPC if less than lastRoom is left
//	… then lastRoom         no file can be made (ENOSPC) either. The rest is for what the kernel
//	                        has accepted and not yet brought here
//
// What can still be lost is a part of one write(2) that is larger than half of lastRoom, of what
// was written through a mapping, or of what was accepted while another program took the rest of the
// disk; then close(2) and fsync(2) say so.
//
// The server must not have the kernel bring what it holds (NOTIFY_INVAL_INODE of bytes does): the
// thread that asks waits in the kernel, for another thread's answers, and no signal ends that. A
// server killed then leaves the thread, and with it the connection, for ever.
//
// How the kernel is made to ask: before a write(2) it wants to be sure of the file's size and mode
// (fuse_cache_write_iter in fs/fuse/file.c). If the attributes it has were called invalid it sends
// GETATTR, marked as one for an open file, which those for stat(2) are not; read(2) wants the size
// alone, which it knows itself (fuse_get_cache_mask). An error is the error of write(2).

package fs

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cacheRoom and leastRoom are in bytes.
const (
	cacheRoom = 256 << 20
	leastRoom = 16 << 20
)

// lastRoom is twice what the kernel holds of one FUSE file system in memory, in bytes, between
// leastRoom and cacheRoom. It holds 1 % of what may be dirty: "strictlimit" in mm/page-writeback.c;
// proc(5), /proc/vmstat, nr_dirty_threshold, in pages.
var lastRoom = sync.OnceValue(func() int64 {
	text, _ := os.ReadFile("/proc/vmstat")
	_, line, _ := strings.Cut(string(text), "\nnr_dirty_threshold ")
	line, _, _ = strings.Cut(line, "\n")
	pages, _ := strconv.ParseInt(line, 10, 64)
	return min(max(2*pages*int64(os.Getpagesize())/100, leastRoom), cacheRoom)
})

// roomPeriod is how long what statfs(2) has said is believed, if little is written meanwhile.
const roomPeriod = 100 * time.Millisecond

// room is what is known of the disk's free space.
type room struct {
	asked   atomic.Int64 // when, in nanoseconds since 1970
	trusted atomic.Int64 // bytes that may be written until it is asked again
	little  atomic.Bool  // less than cacheRoom
}

// diskRoom is how many bytes the disk of the upper directory has for this user; a disk that does
// not count them has enough.
func (f *FS) diskRoom() int64 {
	var st unix.Statfs_t
	if f.fds.work < 0 || unix.Fstatfs(f.fds.work, &st) != nil || st.Blocks == 0 {
		return 1 << 62
	}
	return int64(st.Bavail) * st.Bsize
}

// spend notes that n bytes are going to be written for file id, and has the kernel ask about the
// next write(2) to it, if there is little room.
func (f *FS) spend(id uint64, n int64) {
	if !f.writeback {
		return
	}
	now := time.Now().UnixNano()
	if f.room.trusted.Add(-n) < 0 || now-f.room.asked.Load() > int64(roomPeriod) {
		free := f.diskRoom()
		f.room.asked.Store(now)
		f.room.trusted.Store((free - cacheRoom) / 2)
		if little := free < cacheRoom; f.room.little.Swap(little) != little && little {
			go f.askAboutAll()
		}
	}
	if f.room.little.Load() {
		// After the reply, which would tell the kernel that its attributes are good.
		time.AfterFunc(time.Millisecond, func() { f.askAbout(id) })
	}
}

// mayMake tells whether the disk has room for another file.
func (f *FS) mayMake() error {
	f.spend(0, 0)
	if f.writeback && f.room.little.Load() && f.diskRoom() < lastRoom() {
		return syscall.ENOSPC
	}
	return nil
}

// askAbout has the kernel send GETATTR before the next write(2) to file id.
func (f *FS) askAbout(id uint64) {
	if l := f.loop.Load(); l != nil && id != 0 {
		l.forgetAttributes(id)
	}
}

// askAboutAll is askAbout for each file that the kernel knows.
func (f *FS) askAboutAll() {
	for i := range f.ids.count {
		if f.ids.count[i].Load() > 0 && f.x.Inode(uint32(i)).Mode&syscall.S_IFMT == syscall.S_IFREG {
			f.askAbout(uint64(i) + 1)
		}
	}
	for _, id := range f.nodeIDs() {
		f.askAbout(id)
	}
}

func (f *FS) nodeIDs() []uint64 {
	f.tree.RLock()
	defer f.tree.RUnlock()
	return slices.Collect(maps.Keys(f.ids.nodes))
}

// mayWrite answers the question of the kernel before a write(2) to the open file id, or just keeps
// the question coming.
func (f *FS) mayWrite(id uint64, open bool) error {
	l := f.loop.Load()
	if !f.writeback || !f.room.little.Load() || l == nil {
		return nil
	}
	l.forgetAttributes(id)
	if !open {
		return nil
	}
	free := f.diskRoom()
	if free >= cacheRoom {
		f.room.asked.Store(0) // look again
	}
	if free < lastRoom() {
		return syscall.ENOSPC
	}
	return nil
}
