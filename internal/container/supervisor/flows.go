// Traces of the network: what the programs tell that carry the container's packets.

package supervisor

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tiffin/internal/container/control"
	"tiffin/internal/errs"
	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// flows joins those who tell with those who listen. A program is asked to tell when the first
// listener comes, and goes on until it ends.
type flows struct {
	mu       sync.Mutex
	programs map[*wire.Conn]bool // asked?
	readers  map[*flowReader]bool
}

// flowReader is one trace.
type flowReader struct {
	queue   chan *network.Flow
	dropped atomic.Uint64
}

// add knows a program until it is told to forget it.
func (f *flows) add(program *wire.Conn) (forget func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.programs == nil {
		f.programs = map[*wire.Conn]bool{}
	}
	f.programs[program] = false
	f.ask()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.programs, program)
	}
}

// ask has all programs tell, if anyone listens. f.mu is held.
func (f *flows) ask() {
	for p, asked := range f.programs {
		if !asked && len(f.readers) > 0 {
			f.programs[p] = p.Send(&network.Message{Op: network.OpFollow}) == nil
		}
	}
}

// listen adds a reader.
func (f *flows) listen() *flowReader {
	r := &flowReader{queue: make(chan *network.Flow, traceQueue)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == nil {
		f.readers = map[*flowReader]bool{}
	}
	f.readers[r] = true
	f.ask()
	return r
}

func (f *flows) leave(r *flowReader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

// pass gives an event to all readers.
func (f *flows) pass(e *network.Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		select {
		case r.queue <- e:
		default:
			r.dropped.Add(1)
		}
	}
}

// traceNetwork answers a request for flows.
func (s *supervisor) traceNetwork(c *control.Conn) {
	if s.network == nil || s.isForeign() {
		c.Fail(errs.Hint(fmt.Errorf("container %s has no network whose packets pass through tiffin: it is %s", s.c.Name, s.c.Network),
			"start one with --network user, or with a network that `tiffin network create` has made"))
		return
	}
	r := s.flows.listen()
	defer s.flows.leave(r)
	gone := make(chan struct{})
	go func() {
		_, _ = c.Receive() // nothing more is to come but the end
		close(gone)
	}()
	err := c.Send(&control.Message{Op: control.AnsOK, Info: &control.TraceInfo{}})
	send := func(e network.Flow) error {
		e.Dropped += r.dropped.Swap(0)
		return c.Send(&control.Message{Op: control.AnsEvent, Event: &control.TraceEvent{Flow: &e}})
	}
	for err == nil {
		select {
		case e := <-r.queue:
			err = send(*e)
		case <-gone:
			return
		case <-s.ended:
			c.SetWriteDeadline(time.Now().Add(traceGrace))
			for err == nil && len(r.queue) > 0 {
				err = send(*<-r.queue)
			}
			_ = c.Send(&control.Message{Op: control.AnsExit, Exit: s.exit})
			return
		}
	}
}
