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

// flows joins those who tell with those who listen. They are asked to tell when the first listener
// comes, and to stop when the last has left.
type flows struct {
	mu      sync.Mutex
	tellers map[teller]bool
	readers map[*flowReader]bool
}

// teller is a program that carries bytes of the container's.
type teller interface{ Follow(on bool) }

// packets are the teller behind a connection to the network program.
type packets struct{ *wire.Conn }

// Follow implements teller. If the program is gone, so is what it could tell.
func (p packets) Follow(on bool) {
	op := network.OpFollow
	if !on {
		op = network.OpIgnore
	}
	_ = p.Send(&network.Message{Op: op})
}

// flowReader is one trace.
type flowReader struct {
	queue   chan *network.Flow
	dropped atomic.Uint64
}

// add knows a teller until it is told to forget it.
func (f *flows) add(t teller) (forget func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tellers == nil {
		f.tellers = map[teller]bool{}
	}
	f.tellers[t] = true
	if len(f.readers) > 0 {
		t.Follow(true)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.tellers, t)
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
	f.ask(1, true)
	return r
}

func (f *flows) leave(r *flowReader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
	f.ask(0, false)
}

// ask has everybody tell, or stop, if that many listen now. f.mu is held.
func (f *flows) ask(readers int, on bool) {
	if len(f.readers) != readers {
		return
	}
	for t := range f.tellers {
		t.Follow(on)
	}
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

// carried tells whether anything of the container's network passes through programs of tiffin.
func (s *supervisor) carried() error {
	if s.network != nil && !s.isForeign() || len(s.c.Ports) > 0 && s.ownNetwork() {
		return nil
	}
	return errs.Hint(fmt.Errorf("container %s has no network whose packets pass through tiffin: it is %s", s.c.Name, s.c.Network),
		"start one with --network user, or with a network that `tiffin network create` has made")
}

// traceNetwork answers a request for flows.
func (s *supervisor) traceNetwork(c *control.Conn) {
	if err := s.carried(); err != nil {
		c.Fail(err)
		return
	}
	s.streamFlows(c, s.flows.listen(), traceGrace)
}

// traceNetworkStart traces the network from the first packet on, to the connection that has come
// with the start.
func (s *supervisor) traceNetworkStart() error {
	if err := s.carried(); err != nil {
		return err
	}
	conn, err := wire.Open(s.traceTo)
	if err != nil {
		return err
	}
	r := s.flows.listen()
	s.streaming(conn, func(c *control.Conn) { s.streamFlows(c, r, 0) })
	s.req.Trace, s.traceTo = nil, nil // its files are not traced
	return nil
}

// lastFlows is how long the programs that carry its bytes may take to tell that a container which
// has ended says nothing any more.
const lastFlows = 50 * time.Millisecond

// streamFlows sends flows until the reader or the container is gone. After that the reader may take
// some time, if that is not 0.
func (s *supervisor) streamFlows(c *control.Conn, r *flowReader, grace time.Duration) {
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
	ended := s.ended
	var last <-chan time.Time
	for err == nil {
		select {
		case e := <-r.queue:
			err = send(*e)
		case <-gone:
			return
		case <-ended:
			if ended = nil; grace > 0 {
				c.SetWriteDeadline(time.Now().Add(grace))
			}
			last = time.After(lastFlows)
		case <-last:
			for err == nil && len(r.queue) > 0 {
				err = send(*<-r.queue)
			}
			_ = c.Send(&control.Message{Op: control.AnsExit, Exit: s.exit})
			return
		}
	}
}
