// Requests that wait for bytes of a layer that is not all here: layer.Flat.Partial. They may wait
// for a minute, and end sooner when nobody wants the answer any more:
//
//   - The mount is gone. Whoever has unmounted it waits for the server.
//   - The thread that asked has been killed. The kernel says so with INTERRUPT, and says the same
//     of any signal with a handler. read(2) of a file on a disk is not EINTR because of that, and
//     few programs expect it. So the thread is looked at: Config.Killed. Of what the kernel reads
//     ahead it does not say so: nobody waits for that answer, and a killed thread just goes.
//
// Requests that need no such bytes must not wait for those that do. So one of these has no lock
// while it waits, and not the loop's token (loop.mayTakeTime): bring.

package fs

import (
	"context"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// lookAgain is the time between two looks at a thread that has got a signal.
const lookAgain = 100 * time.Millisecond

// waits are the requests that wait, or may have to.
type waits struct {
	partial bool            // there is a layer that is not all here
	mount   context.Context // ends with the mount
	unmount context.CancelFunc

	mu    sync.Mutex
	reads map[uint64]*waitingRead // by the number of the request

	look sync.Mutex // held while a thread is looked at: there may be many
}

// waitingRead is a READ that may have to wait.
type waitingRead struct {
	context.Context
	end context.CancelFunc
	pid uint32 // of the thread, as the kernel says it
}

func (w *waits) init(f *FS) {
	for _, fl := range f.cfg.Flats {
		w.partial = w.partial || fl.Partial()
	}
	w.mount, w.unmount = context.WithCancel(context.Background())
	w.reads = map[uint64]*waitingRead{}
}

// expect notes the READ in h before anybody can read the INTERRUPT of it.
func (w *waits) expect(h *fuse.InHeader) {
	if !w.partial || op(h.Opcode) != opRead {
		return
	}
	r := &waitingRead{pid: h.Pid}
	r.Context, r.end = context.WithCancel(w.mount)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads[h.Unique] = r
}

func (w *waits) find(unique uint64) *waitingRead {
	if !w.partial {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reads[unique]
}

// over forgets a READ that has been answered.
func (w *waits) over(unique uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.reads[unique]; r != nil {
		r.end()
		delete(w.reads, unique)
	}
}

// interrupt is FUSE_INTERRUPT. A thread that has outlived one signal gets no second INTERRUPT
// (request_wait_answer in fs/fuse/dev.c), and is looked at until it has its answer.
func (f *FS) interrupt(h *fuse.InHeader) {
	r := f.waits.find((*fuse.InterruptIn)(unsafe.Pointer(h)).Unique)
	if r == nil || f.cfg.Killed == nil {
		return
	}
	go func() {
		for r.Err() == nil {
			if f.isKilled(r.pid) {
				r.end()
				return
			}
			select {
			case <-r.Done():
			case <-time.After(lookAgain):
			}
		}
	}()
}

func (f *FS) isKilled(pid uint32) bool {
	f.waits.look.Lock()
	defer f.waits.look.Unlock()
	return f.cfg.Killed(pid)
}

// readWaiting is readAt of a layer that is not all here.
func (f *FS) readWaiting(ctx context.Context, i uint32, b []byte, off int64) (int, error) {
	flats := append(f.flats[:0:0], f.flats...)
	k := f.x.Inode(i).Layer
	flats[k] = f.cfg.Flats[k].Within(ctx)
	n, err := f.x.ReadAt(i, flats, b, off)
	if err != nil && ctx.Err() != nil {
		err = syscall.EINTR
	}
	return n, err
}

// bring waits until bytes from to to of file id are here, as far as it still has those of its
// origin: what is done under a lock after that need not wait. No lock is held.
func (f *FS) bring(ctx context.Context, id uint64, from, to int64) error {
	if !f.waits.partial {
		return nil
	}
	i, ok := f.originNow(id)
	if !ok || !f.cfg.Flats[f.x.Inode(i).Layer].Partial() {
		return nil
	}
	buf := make([]byte, copyChunk)
	for to = min(to, f.x.Inode(i).Size); from < to; {
		b, err := f.readLower(ctx, i, buf[:min(copyChunk, to-from)], from)
		if err != nil || len(b) == 0 {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// bringForWrite is bring for bytes that are to be changed: then the upper file gets all that its
// origin has, unless they are behind that. The kernel writes whole pages, so the first may begin
// with what is there: appends.
func (f *FS) bringForWrite(id uint64, off, n int64) error {
	if !f.waits.partial {
		return nil
	}
	i, ok := f.originNow(id)
	if !ok {
		return nil
	}
	size, from := f.x.Inode(i).Size, int64(0)
	if off+n > size {
		from = off
	}
	return f.bring(f.waits.mount, id, from, size)
}

// originNow is the lower file whose bytes file id has.
func (f *FS) originNow(id uint64) (uint32, bool) {
	if i, ok := f.ids.lowerOnly(id); ok {
		return i, true
	}
	f.tree.RLock()
	defer f.tree.RUnlock()
	n := f.ids.nodes[id]
	if n == nil || n.lower == noLower {
		return 0, false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.lower, n.metacopy || !n.hasUpper()
}
