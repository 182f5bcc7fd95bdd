// The loop moves requests from /dev/fuse to the methods of FS
// and their answers back, fuse(4). What a request means is not known here; go-fuse
// takes all but READ apart.
//
// Which worker reads depends on what waking up costs (appendix B of the book,
// "What a request costs"). One worker at a time holds the token, which is the right to read. It
// answers what takes no time itself and goes on reading: a client that waits for each answer
// always finds the same warm thread. Before what may take time, and when requests come
// faster than it answers them, it gives the token to another worker.

package fs

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

const (
	// spin is how long the reader asks for the next request before it goes to
	// sleep. Waking up costs as much, and the CPU's own idle loop in a guest
	// waits four times that.
	spin = 50 * time.Microsecond

	// crowded is how long a round of asking takes when another thread had the CPU meanwhile.
	crowded = 15 * time.Microsecond

	// atOnce is the largest READ or WRITE, in bytes, that the reader does itself: as much as
	// the kernel reads ahead at a time (VM_READAHEAD_PAGES).
	atOnce = 128 << 10

	// backlog is how many requests in a row must be found waiting to conclude that there is
	// more than one client.
	backlog = 4

	// standby is how many workers may wait for the token, and writers how many WRITEs of
	// up to maxWrite bytes may be in memory.
	standby = 2
	writers = 4

	// A request has a header, what its opcode needs and up to maxWrite bytes; the
	// kernel refuses to read(2) into less. An answer may be as large.
	bufferSize = maxWrite + 4096
)

// loop serves one mount.
type loop struct {
	f       *FS
	fd      int // /dev/fuse, O_NONBLOCK
	proto   *fuse.ProtocolServer
	token   chan struct{} // one, unless a worker has it
	waiting atomic.Int32  // workers that want it
	busy    atomic.Int32  // workers that answer without it
	workers sync.WaitGroup
	failed  atomic.Pointer[error] // why there is nothing more to read
	broken  chan struct{}         // closed when that is a panic
	stop    int                   // eventfd(2) that wakes who sleeps then

	mu   sync.Mutex
	free []*worker // that have gone: their buffers are used again
}

// serve answers requests until the file system is unmounted, or a panic ends it. left is false if
// some request still is under way after a panic.
func (l *loop) serve() (left bool, err error) {
	if err := unix.SetNonblock(l.fd, true); err != nil {
		return true, fmt.Errorf("prepare /dev/fuse: %w", err)
	}
	if l.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return true, fmt.Errorf("prepare the end of serving: eventfd: %w", err)
	}
	l.token, l.broken = make(chan struct{}, 1), make(chan struct{})
	l.token <- struct{}{}
	l.workers.Go(l.work)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		l.workers.Wait()
	}()
	select {
	case <-gone:
		l.end()
		return true, *l.failed.Load()
	case <-l.broken:
	}
	select {
	case <-gone:
		l.end()
		left = true
	case <-time.After(time.Second):
	}
	return left, *l.failed.Load()
}

// worker has what one needs to answer requests.
type worker struct {
	*loop
	buffers []byte // all of it: in and out
	in, out []byte
	quick   int // requests found waiting, in a row
}

// work is a worker's life: with the token and without, in turn, until there is nothing
// more to read or there are others enough.
func (l *loop) work() {
	w := l.hire()
	defer l.letGo(w)
	for {
		l.waiting.Add(1)
		<-l.token
		l.waiting.Add(-1)
		n, err := w.lead()
		if err != nil {
			l.failed.CompareAndSwap(nil, &err)
			l.f.waits.unmount()
			l.pass()
			return
		}
		l.f.waits.expect((*fuse.InHeader)(unsafe.Pointer(&w.in[0])))
		l.busy.Add(1)
		l.pass()
		w.follow(n)
		l.busy.Add(-1)
		if l.waiting.Load() >= standby {
			return
		}
	}
}

// hire returns a worker. Its buffers are memory only as far as they have been used, mmap(2); those
// from the collected heap would be zeroed, and so all be there.
func (l *loop) hire() *worker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := len(l.free) - 1; k >= 0 {
		w := l.free[k]
		l.free = l.free[:k]
		return w
	}
	b, err := unix.Mmap(-1, 0, 2*bufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		b = make([]byte, 2*bufferSize)
	}
	return &worker{loop: l, buffers: b, in: b[:bufferSize], out: b[bufferSize:]}
}

// trim gives back the memory of workers that have gone.
func (l *loop) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.free {
		_ = unix.Madvise(w.buffers, unix.MADV_DONTNEED)
	}
}

// end unmaps the buffers, when all workers have gone.
func (l *loop) end() {
	unix.Close(l.stop)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.free {
		_ = unix.Munmap(w.buffers)
	}
	l.free = nil
}

func (l *loop) letGo(w *worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, w)
}

// pass gives the token to a worker that waits, or to a new one. There must always be
// a worker to read: a request under way may wait for long, as for a thaw.
func (l *loop) pass() {
	if l.failed.Load() == nil && l.waiting.Load() == 0 {
		l.workers.Go(l.work)
	}
	l.token <- struct{}{}
}

// lead reads and answers, until there is a request that should be answered without
// the token. It returns its length, in w.in.
func (w *worker) lead() (n int, err error) {
	defer w.catch(&err)
	w.quick = 0
	for {
		n, err = w.next()
		if err != nil {
			return 0, err
		}
		if w.quick >= backlog || w.mayTakeTime(n) {
			return n, nil
		}
		w.answer(n)
	}
}

// follow answers the request in w.in without the token.
func (w *worker) follow(n int) {
	var err error // the loop has it
	defer w.catch(&err)
	w.answer(n)
}

// catch ends serving after a panic. The request in hand gets no answer: the supervisor is told
// first, and then the connection ends for all.
func (w *worker) catch(err *error) {
	r := recover()
	if r == nil {
		return
	}
	h := (*fuse.InHeader)(unsafe.Pointer(&w.in[0]))
	*err = fmt.Errorf("the file system has failed at %s of %s: %v", op(h.Opcode), w.f.describe(h.NodeId), r)
	if !w.failed.CompareAndSwap(nil, err) {
		return
	}
	if w.f.cfg.Broken != nil {
		w.f.cfg.Broken(*err, debug.Stack())
	}
	close(w.broken)
	_, _ = unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// describe says for a person which file id is, whatever state the server is in.
func (f *FS) describe(id uint64) (s string) {
	s = fmt.Sprintf("node %d", id)
	if !f.tree.TryRLock() {
		return s
	}
	defer f.tree.RUnlock()
	defer func() { _ = recover() }() // it may be the index that is broken
	return f.pathOf(id)
}

// ended is the error that says that the file system is not mounted any more.
const ended = unix.ENODEV

// next waits for a request and returns its length. read(2) comes without the scheduler
// being told (RawSyscall): it does not block.
func (w *worker) next() (int, error) {
	if l := w.failed.Load(); l != nil {
		return 0, *l
	}
	var began, last time.Time
	for tries := 0; ; tries++ {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(w.fd), uintptr(unsafe.Pointer(&w.in[0])), uintptr(len(w.in)))
		switch {
		case e == 0 && int(n) >= int(unsafe.Sizeof(fuse.InHeader{})):
			if w.quick++; tries > 0 {
				w.quick = 0
			}
			return int(n), nil
		case e == unix.EAGAIN:
			if l := w.failed.Load(); l != nil {
				return 0, *l
			}
		case e == unix.ENOENT || e == unix.EINTR: // it was given up meanwhile: fuse_dev_do_read in fs/fuse/dev.c
			continue
		case e == ended || e == unix.ECONNABORTED: // the latter if it was about to hand a request over
			return 0, ended
		default:
			return 0, fmt.Errorf("read %d bytes from /dev/fuse: %w", int(n), e)
		}
		// Another thread had the CPU meanwhile, and what sleeps is woken sooner than what
		// has just run; or it is not worth while any more.
		now := time.Now()
		if began.IsZero() {
			began = now
		} else if now.Sub(began) > spin || tries > 1 && now.Sub(last) > crowded {
			w.sleep()
			began = time.Time{}
			continue
		}
		last = now
		// Others first: those of this program, then those of the machine. Where there
		// is one CPU only, the client is among them.
		runtime.Gosched()
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// sleep waits until there is something to read.
func (w *worker) sleep() {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.stop), Events: unix.POLLIN}}, -1)
}

// mayTakeTime tells whether others should not wait for the request in w.in.
func (w *worker) mayTakeTime(n int) bool {
	h := (*fuse.InHeader)(unsafe.Pointer(&w.in[0]))
	switch op(h.Opcode) {
	case opFsync, opFsyncdir, opFallocate, opCopyFileRange, opSyncfs:
		return true
	case opRead:
		in := (*fuse.ReadIn)(unsafe.Pointer(h))
		return in.Size > atOnce || w.f.waits.partial || !w.f.inMemory(in)
	case opWrite, opSetattr:
		return w.f.isFrozen() || (w.busy.Load() < writers || w.f.waits.partial) && (n > atOnce || w.f.copiesData(h))
	}
	return w.f.isFrozen() || op(h.Opcode) == opGetattr && w.f.room.little.Load() // mayWrite
}

// answer does what the request in w.in asks for.
func (w *worker) answer(n int) {
	h := (*fuse.InHeader)(unsafe.Pointer(&w.in[0]))
	switch op(h.Opcode) {
	case opInterrupt:
		w.f.interrupt(h) // no answer is needed
	case opRead:
		w.read((*fuse.ReadIn)(unsafe.Pointer(h)))
	default:
		k, st := w.proto.HandleRequest([][]byte{w.in[:n]}, [][]byte{w.out})
		if !st.Ok() {
			w.reply(h, st, nil)
		} else if k > 0 {
			w.write([][]byte{w.out[:k]})
		}
	}
}

// read answers READ: what is read lies behind the head of the answer in w.out, and
// goes to the kernel without being copied once more.
func (w *worker) read(in *fuse.ReadIn) {
	r, st := w.f.Read(nil, in, w.out[unsafe.Sizeof(fuse.OutHeader{}):])
	if !st.Ok() {
		w.reply(&in.InHeader, st, nil)
		return
	}
	data, _ := r.Bytes(nil)
	w.reply(&in.InHeader, fuse.OK, [][]byte{data})
}

// reply writes an answer. It reports false if the kernel could not take it.
func (w *worker) reply(to *fuse.InHeader, st fuse.Status, data [][]byte) bool {
	var h fuse.OutHeader
	h.Unique, h.Status, h.Length = to.Unique, -int32(st), uint32(unsafe.Sizeof(h))
	for _, b := range data {
		h.Length += uint32(len(b))
	}
	head := unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))
	return w.write(append([][]byte{head}, data...))
}

// write sends a message. The process that asked may have given up (ENOENT), and the mount may be
// gone (ENODEV): then no one waits for it.
func (l *loop) write(message [][]byte) bool {
	for {
		_, err := unix.Writev(l.fd, message)
		switch err {
		case nil, unix.ENOENT, unix.ENODEV:
			return true
		case unix.EINTR:
		default:
			return false
		}
	}
}

// forgetAttributes makes the kernel forget the attributes of a file, and not its pages:
// FUSE_NOTIFY_INVAL_INODE with an offset below 0.
func (l *loop) forgetAttributes(id uint64) {
	type message struct {
		fuse.OutHeader
		fuse.NotifyInvalInodeOut
	}
	m := message{NotifyInvalInodeOut: fuse.NotifyInvalInodeOut{Ino: id, Off: -1}}
	m.OutHeader = fuse.OutHeader{Length: uint32(unsafe.Sizeof(m)), Status: -fuse.NOTIFY_INVAL_INODE}
	l.write([][]byte{unsafe.Slice((*byte)(unsafe.Pointer(&m)), unsafe.Sizeof(m))})
}

// inMemory tells whether a READ of a lower file needs no disk: mincore(2).
func (f *FS) inMemory(in *fuse.ReadIn) bool {
	i, ok := f.ids.lowerOnly(in.NodeId)
	if !ok {
		return true // most probably: what was written lately
	}
	// Whole blocks are read: layer.Flat. A sparse file may need pages from anywhere.
	inode := f.x.Inode(i)
	n := f.lowerLeft(i, int64(in.Offset), int64(in.Size))
	if n == 0 {
		return true
	}
	if inode.Flags&layer.Sparse != 0 || int(inode.Layer) >= len(f.maps) {
		return false
	}
	m := f.maps[inode.Layer]
	start := (inode.Offset + int64(in.Offset)) &^ (layer.BlockSize - 1)
	end := min((inode.Offset+int64(in.Offset)+n+layer.BlockSize-1)&^(layer.BlockSize-1), int64(len(m)))
	if start < 0 || start >= end {
		return false
	}
	var pages [(atOnce + 2*layer.BlockSize) / 4096]byte
	_, _, e := unix.RawSyscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[start])), uintptr(end-start), uintptr(unsafe.Pointer(&pages[0])))
	if e != 0 {
		return false
	}
	for _, p := range pages[:(end-start+4095)/4096] {
		if p&1 == 0 {
			return false
		}
	}
	return true
}

// copiesData tells whether a WRITE or SETATTR may have to copy data up first.
func (f *FS) copiesData(h *fuse.InHeader) bool {
	if op(h.Opcode) == opSetattr && (*fuse.SetAttrIn)(unsafe.Pointer(h)).Valid&fuse.FATTR_SIZE == 0 {
		return false
	}
	n := f.inUpper(h.NodeId)
	if n == nil {
		return true
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.metacopy
}

// isFrozen tells whether changes have to wait, see Freeze.
func (f *FS) isFrozen() bool {
	if !f.freeze.TryRLock() {
		return true
	}
	defer f.freeze.RUnlock()
	return false
}
