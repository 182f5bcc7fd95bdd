package container

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"tiffin/fs"
	"tiffin/image/layer"
)

// Contract of this file: the supervisor's half of a trace. The file system
// never waits for whoever reads it: what does not fit into a queue is counted
// and left out.

const (
	// traceQueue is how many events may wait for their reader; with 20 layers
	// each takes 1 KiB.
	traceQueue = 4096
	// traceGrace is how long a reader may take for what is left in the queue when
	// the container has ended, and the supervisor wants to. The client that has
	// started the container may take as long as it lives.
	traceGrace = 2 * time.Second
)

// tracer listens to the file system for one reader.
type tracer struct {
	s       *supervisor
	filter  TraceFilter
	queue   chan traced
	dropped atomic.Uint64
	cancel  func()
}

type traced struct {
	ev fs.Event
	at time.Time // of its end
}

// newTracer begins to listen.
func (s *supervisor) newTracer(filter *TraceFilter) (*tracer, error) {
	if err := s.openLayers(); err != nil {
		return nil, err
	}
	t := &tracer{s: s, queue: make(chan traced, traceQueue)}
	if filter != nil {
		t.filter = *filter
	}
	t.cancel = s.fs.Subscribe(t.take)
	return t, nil
}

// openLayers gives the file system the indexes of the single layers, which only
// a trace needs: to open one means to read it.
func (s *supervisor) openLayers() error {
	s.layersOnce.Do(func() {
		xs := make([]*layer.Index, len(s.req.Indexes))
		for i, path := range s.req.Indexes {
			x, err := layer.OpenIndex(path)
			if err != nil {
				s.layersErr = fmt.Errorf("open the index of layer %d of container %s: %w", i, s.c.Name, err)
				return
			}
			xs[i] = x
		}
		s.fs.SetLayers(xs)
	})
	return s.layersErr
}

// take is called by the file system, whose request waits for it.
func (t *tracer) take(ev fs.Event) {
	if !t.filter.match(ev.Op, ev.Path) {
		return
	}
	select {
	case t.queue <- traced{ev, time.Now()}:
	default:
		t.dropped.Add(1)
	}
}

// stream sends events until the reader or the container is gone.
func (t *tracer) stream(c *conn) {
	defer t.cancel()
	gone := make(chan struct{})
	go func() {
		_, _ = c.receive() // nothing more is to come but the end
		close(gone)
	}()
	info := &TraceInfo{Layers: len(t.s.req.Flats), Uncached: t.s.req.Trace != nil}
	err := c.send(&message{Op: ansOK, Info: info})
	for err == nil {
		select {
		case e := <-t.queue:
			err = t.send(c, e)
		case <-gone:
			return
		case <-t.s.ended:
			t.rest(c)
			return
		}
	}
}

// rest sends what is in the queue, and that it was the last.
func (t *tracer) rest(c *conn) {
	for len(t.queue) > 0 {
		if t.send(c, <-t.queue) != nil {
			return
		}
	}
	if t.sendDropped(c) == nil {
		_ = c.send(&message{Op: ansExit, Exit: t.s.exit})
	}
}

func (t *tracer) send(c *conn, e traced) error {
	if err := t.sendDropped(c); err != nil {
		return err
	}
	return c.send(&message{Op: ansEvent, Event: newTraceEvent(e.ev, e.at, len(t.s.req.Flats))})
}

// sendDropped says how many events are missing. They are younger than what is
// in the queue: the place where it is said is only about right.
func (t *tracer) sendDropped(c *conn) error {
	if n := t.dropped.Swap(0); n > 0 {
		return c.send(&message{Op: ansEvent, Event: &TraceEvent{Dropped: n}})
	}
	return nil
}

// trace answers a request for events.
func (s *supervisor) trace(c *conn, m *message) {
	t, err := s.newTracer(m.Trace)
	if err != nil {
		c.fail(err)
		return
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.ended:
			_ = c.sock.SetWriteDeadline(time.Now().Add(traceGrace))
		case <-stop:
		}
	}()
	t.stream(c)
}

// traceStart traces the container from its first request on, to the connection
// that has come with the start.
func (s *supervisor) traceStart(to *os.File) error {
	t, err := s.newTracer(s.req.Trace)
	if err != nil {
		return err
	}
	c, err := newConn(to)
	if err != nil {
		t.cancel()
		return err
	}
	s.sessions.enter()
	go func() {
		defer s.sessions.leave()
		defer c.Close()
		t.stream(c)
	}()
	return nil
}
