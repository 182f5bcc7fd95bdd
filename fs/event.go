// Events: what a listener, such as tiffin trace, is told about each request. Without a listener
// they cost nothing.

package fs

import (
	"fmt"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"tiffin/image/layer"
	"tiffin/image/union"
)

// Layer numbers of an Event besides those of the layers, which count from 0.
const (
	LayerNone  = -1 // nothing answered
	LayerUpper = -2 // the upper directory answered
)

// Event is one request and what the union decided about it.
type Event struct {
	Op          string          // opcode: "LOOKUP", "READ", …
	Path        string          // what it was about, from the root of the file system; of several names the first
	PID         uint32          // thread that asked, as the pid namespace of mount(2)'s caller numbers it; 0 is the kernel
	Layer       int             // layer that answered, or LayerUpper, LayerNone
	Whiteout    bool            // a whiteout was met: it hid the name, or what lower layers have under it
	Opaque      bool            // an opaque directory was met
	Verdicts    []union.Verdict // LOOKUP that the upper left to the layers, after SetLayers: what each said, the top first
	Bytes       int64           // bytes that READ, WRITE and COPY_FILE_RANGE ask for
	BytesCopied int64           // bytes copied up by this request
	Note        string          // why it was refused, where that is not obvious
	Errno       syscall.Errno   // 0 for success
	Duration    time.Duration
}

// SetLayers gives the indexes of the single layers, the bottom first, for the
// verdict of each in an Event.
func (f *FS) SetLayers(layers []*layer.Index) { f.layers.Store(&layers) }

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

// call is a request that has listeners. Without any it is nil, and its methods do
// nothing.
type call struct {
	f     *FS
	start time.Time
	ev    Event
}

// begin counts a request about name in, or the file itself, node in.NodeId.
func (f *FS) begin(o op, in *fuse.InHeader, name string) *call {
	f.counts[o].Add(1)
	if f.next.Load() != nil {
		if next := f.next.Swap(nil); next != nil {
			close(*next)
		}
	}
	if f.subs.Load() == nil {
		return nil
	}
	c := &call{f: f, start: time.Now(), ev: Event{Op: opNames[o], PID: in.Pid, Layer: LayerNone}}
	c.ev.Path = path.Join(f.pathNow(in.NodeId), name)
	return c
}

func (f *FS) pathNow(id uint64) string {
	f.tree.RLock()
	defer f.tree.RUnlock()
	return f.pathOf(id)
}

// end tells the listeners.
func (c *call) end(st *fuse.Status) {
	if c == nil {
		return
	}
	c.ev.Errno, c.ev.Duration = syscall.Errno(*st), time.Since(c.start)
	if l := c.f.subs.Load(); l != nil {
		for _, s := range *l {
			s.fn(c.ev)
		}
	}
}

// pathOf is a path of the file id now. tree locked.
func (f *FS) pathOf(id uint64) string {
	p := ""
	for id != rootID {
		n := f.ids.nodes[id]
		switch {
		case n != nil && n.at.dir != nil:
			p, id = "/"+n.at.name+p, n.at.dir.id
		case n != nil && n.gone || id > uint64(f.x.Len()):
			return "(deleted)" + p
		default:
			names := f.x.Names(uint32(id - 1))
			if len(names) == 0 {
				return p
			}
			p, id = "/"+names[0].Name+p, uint64(names[0].Dir)+1
		}
	}
	if p == "" {
		return "/"
	}
	return p
}

func (c *call) layer(n uint16) {
	if c != nil {
		c.ev.Layer = int(n)
	}
}

func (c *call) upper() {
	if c != nil {
		c.ev.Layer = LayerUpper
	}
}

// node says that n answers. tree locked.
func (c *call) node(f *FS, n *node) {
	switch {
	case c == nil:
	case n.hasUpper():
		c.ev.Layer = LayerUpper
	default:
		c.layer(f.x.Inode(n.lower).Layer)
	}
}

// found says that r answers.
func (c *call) found(f *FS, r found) {
	switch {
	case c == nil || !r.ok():
	case r.n != nil:
		c.node(f, r.n)
	default:
		c.layer(f.x.Inode(r.lower).Layer)
	}
}

func (c *call) whiteout(met bool) {
	if c != nil {
		c.ev.Whiteout = c.ev.Whiteout || met
	}
}

// explain asks the layers one by one what they say about name in lower
// directory d.
func (c *call) explain(f *FS, d uint32, name string) {
	if c == nil {
		return
	}
	layers := f.layers.Load()
	if layers == nil {
		return
	}
	c.ev.Verdicts = union.Explain(*layers, path.Join(f.x.Path(d), name))
	for _, v := range c.ev.Verdicts {
		c.ev.Whiteout = c.ev.Whiteout || v.Answer == union.Whiteout
		c.ev.Opaque = c.ev.Opaque || v.Answer == union.Opaque
	}
}

// hidden notes that directory n, made anew where the layers have one too,
// hides what that has in it.
func (c *call) hidden(f *FS, n *node) {
	if c != nil && n.lower == noLower && n.at.dir != nil {
		_, c.ev.Opaque = f.lowerName(n.at.dir, n.at.name)
	}
}

// asks notes how many bytes are asked for.
func (c *call) asks(n int64) {
	if c != nil {
		c.ev.Bytes = n
	}
}

func (c *call) copied(n int64) {
	if c != nil {
		c.ev.BytesCopied += n
	}
}

func (c *call) note(s string) {
	if c != nil {
		c.ev.Note = s
	}
}

// op is the opcode of a request: enum fuse_opcode in linux/fuse.h.
type op uint8

const (
	opLookup        op = 1
	opForget        op = 2
	opGetattr       op = 3
	opSetattr       op = 4
	opReadlink      op = 5
	opSymlink       op = 6
	opMknod         op = 8
	opMkdir         op = 9
	opUnlink        op = 10
	opRmdir         op = 11
	opRename        op = 12
	opLink          op = 13
	opOpen          op = 14
	opRead          op = 15
	opWrite         op = 16
	opStatfs        op = 17
	opRelease       op = 18
	opFsync         op = 20
	opSetxattr      op = 21
	opGetxattr      op = 22
	opListxattr     op = 23
	opRemovexattr   op = 24
	opFlush         op = 25
	opOpendir       op = 27
	opReaddir       op = 28
	opReleasedir    op = 29
	opFsyncdir      op = 30
	opAccess        op = 34
	opCreate        op = 35
	opInterrupt     op = 36
	opIoctl         op = 39
	opBatchForget   op = 42
	opFallocate     op = 43
	opReaddirplus   op = 44
	opRename2       op = 45
	opLseek         op = 46
	opCopyFileRange op = 47
	opSyncfs        op = 50
	opTmpfile       op = 51
	numOps             = 64
)

var opNames = [numOps]string{
	opLookup: "LOOKUP", opForget: "FORGET", opGetattr: "GETATTR", opSetattr: "SETATTR", opReadlink: "READLINK",
	opSymlink: "SYMLINK", opMknod: "MKNOD", opMkdir: "MKDIR", opUnlink: "UNLINK", opRmdir: "RMDIR", opRename: "RENAME",
	opLink: "LINK", opOpen: "OPEN", opRead: "READ", opWrite: "WRITE", opStatfs: "STATFS", opRelease: "RELEASE",
	opFsync: "FSYNC", opSetxattr: "SETXATTR", opGetxattr: "GETXATTR", opListxattr: "LISTXATTR", opRemovexattr: "REMOVEXATTR",
	opBatchForget: "FORGET", opFlush: "FLUSH", opOpendir: "OPENDIR", opReaddir: "READDIR", opReleasedir: "RELEASEDIR", opFsyncdir: "FSYNCDIR",
	opAccess: "ACCESS", opCreate: "CREATE", opIoctl: "IOCTL", opFallocate: "FALLOCATE", opReaddirplus: "READDIRPLUS",
	opRename2: "RENAME", opLseek: "LSEEK", opCopyFileRange: "COPY_FILE_RANGE", opTmpfile: "TMPFILE",
}

func (o op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return fmt.Sprintf("request %d", uint8(o))
}

// Operations lists the names of the requests there are.
func Operations() []string {
	return slices.Compact(slices.Sorted(slices.Values(opNames[:])))[1:] // the first is ""
}

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

// NextRequest returns a channel that is closed at the next request about a file or directory, so
// that who waits for one need not look now and then. One may wait at a time.
func (f *FS) NextRequest() <-chan struct{} {
	next := make(chan struct{})
	f.next.Store(&next)
	return next
}
