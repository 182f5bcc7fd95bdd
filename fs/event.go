package fs

import (
	"syscall"
	"time"
)

// Layer numbers of an Event besides those of the layers, which count from 0.
const (
	LayerNone  = -1 // nothing answered
	LayerUpper = -2 // the upper directory answered
)

// Event is one request and what the union decided about it.
type Event struct {
	Op          string        // opcode: "LOOKUP", "READ", …
	Path        string        // what it was about, from the root of the file system
	PID         uint32        // process that asked, as the server's namespace numbers it; 0 is the kernel
	Layer       int           // layer that answered, or LayerUpper, LayerNone
	Whiteout    bool          // a whiteout hid the name
	Opaque      bool          // an opaque directory hid what is below it
	BytesCopied int64         // bytes copied up by this request
	Errno       syscall.Errno // 0 for success
	Duration    time.Duration
}

type subscriber struct{ fn func(Event) }

// Subscribe calls fn for every request from now on until cancel is called. fn
// is called from many goroutines at once and must be quick: the request waits.
func (f *FS) Subscribe(fn func(Event)) (cancel func()) {
	s := &subscriber{fn}
	f.editSubs(func(l []*subscriber) []*subscriber { return append(l, s) })
	return func() {
		f.editSubs(func(l []*subscriber) []*subscriber {
			for i, x := range l {
				if x == s {
					return append(l[:i], l[i+1:]...)
				}
			}
			return l
		})
	}
}

// editSubs replaces the list by a changed copy, so that readers need no lock.
func (f *FS) editSubs(edit func([]*subscriber) []*subscriber) {
	f.subsMu.Lock()
	defer f.subsMu.Unlock()
	var l []*subscriber
	if p := f.subs.Load(); p != nil {
		l = append(l, *p...)
	}
	l = edit(l)
	if len(l) == 0 {
		f.subs.Store(nil)
		return
	}
	f.subs.Store(&l)
}

// op numbers the requests for Counts and Event.
type op uint8

const (
	opLookup op = iota
	opForget
	opGetattr
	opSetattr
	opReadlink
	opSymlink
	opMknod
	opMkdir
	opUnlink
	opRmdir
	opRename
	opLink
	opOpen
	opRead
	opWrite
	opStatfs
	opRelease
	opFsync
	opSetxattr
	opGetxattr
	opListxattr
	opRemovexattr
	opFlush
	opOpendir
	opReaddir
	opReaddirplus
	opReleasedir
	opFsyncdir
	opAccess
	opCreate
	opIoctl
	opFallocate
	opLseek
	opCopyFileRange
	opTmpfile
	numOps
)

var opNames = [numOps]string{"LOOKUP", "FORGET", "GETATTR", "SETATTR", "READLINK", "SYMLINK", "MKNOD", "MKDIR",
	"UNLINK", "RMDIR", "RENAME", "LINK", "OPEN", "READ", "WRITE", "STATFS", "RELEASE", "FSYNC", "SETXATTR", "GETXATTR",
	"LISTXATTR", "REMOVEXATTR", "FLUSH", "OPENDIR", "READDIR", "READDIRPLUS", "RELEASEDIR", "FSYNCDIR", "ACCESS",
	"CREATE", "IOCTL", "FALLOCATE", "LSEEK", "COPY_FILE_RANGE", "TMPFILE"}

// Counts returns how many requests of each kind have been served so far, by
// the names of fuse(4)'s opcodes without FUSE_; kinds never asked for are
// left out. FORGET counts nodes, also of BATCH_FORGET.
func (f *FS) Counts() map[string]uint64 {
	m := map[string]uint64{}
	for i := range f.counts {
		if n := f.counts[i].Load(); n > 0 {
			m[opNames[i]] = n
		}
	}
	return m
}
