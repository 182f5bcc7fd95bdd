// The supervisor's half of a trace. The file system never waits for the reader:
// events that do not fit into a queue are counted and left out.

package supervisor

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/image/union"
	"tiffin/internal/container/control"
	"tiffin/internal/wire"
)

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
	filter  control.TraceFilter
	queue   chan traced
	dropped atomic.Uint64
	cancel  func()
}

type traced struct {
	ev fs.Event
	at time.Time // of its end
}

// newTracer begins to listen.
func (s *supervisor) newTracer(filter *control.TraceFilter) (*tracer, error) {
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
	if !t.filter.Match(ev.Op, ev.Path) {
		return
	}
	select {
	case t.queue <- traced{ev, time.Now()}:
	default:
		t.dropped.Add(1)
	}
}

// stream sends events until the reader or the container is gone.
func (t *tracer) stream(c *control.Conn) {
	defer t.cancel()
	gone := make(chan struct{})
	go func() {
		_, _ = c.Receive() // nothing more is to come but the end
		close(gone)
	}()
	info := &control.TraceInfo{Layers: len(t.s.req.Flats), Uncached: t.s.req.Trace != nil}
	err := c.Send(&control.Message{Op: control.AnsOK, Info: info})
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
func (t *tracer) rest(c *control.Conn) {
	for len(t.queue) > 0 {
		if t.send(c, <-t.queue) != nil {
			return
		}
	}
	if t.sendDropped(c) == nil {
		_ = c.Send(&control.Message{Op: control.AnsExit, Exit: t.s.exit})
	}
}

func (t *tracer) send(c *control.Conn, e traced) error {
	if err := t.sendDropped(c); err != nil {
		return err
	}
	return c.Send(&control.Message{Op: control.AnsEvent, Event: newTraceEvent(e.ev, e.at, len(t.s.req.Flats))})
}

// sendDropped says how many events are missing. They are younger than what is
// in the queue: the place where it is said is only about right.
func (t *tracer) sendDropped(c *control.Conn) error {
	if n := t.dropped.Swap(0); n > 0 {
		return c.Send(&control.Message{Op: control.AnsEvent, Event: &control.TraceEvent{Dropped: n}})
	}
	return nil
}

// trace answers a request for events.
func (s *supervisor) trace(c *control.Conn, m *control.Message) {
	t, err := s.newTracer(m.Trace)
	if err != nil {
		c.Fail(err)
		return
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.ended:
			c.SetWriteDeadline(time.Now().Add(traceGrace))
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
	conn, err := wire.Open(to)
	if err != nil {
		t.cancel()
		return err
	}
	s.streaming(conn, t.stream)
	return nil
}

// streaming sends a trace to the client that has started the container.
func (s *supervisor) streaming(conn *wire.Conn, stream func(*control.Conn)) {
	c := &control.Conn{Conn: conn}
	s.sessions.enter()
	go func() {
		defer s.sessions.leave()
		defer c.Close()
		stream(c)
	}()
}

const upperName = "upper"

func layerName(n int) string {
	switch n {
	case fs.LayerUpper:
		return upperName
	case fs.LayerNone:
		return ""
	}
	return fmt.Sprintf("layer %d", n)
}

// newTraceEvent puts e, which ended at a moment, in the words of the protocol.
func newTraceEvent(e fs.Event, end time.Time, layers int) *control.TraceEvent {
	t := &control.TraceEvent{
		Time: end.Add(-e.Duration), Duration: e.Duration, PID: e.PID, Op: e.Op, Path: e.Path, By: layerName(e.Layer),
		Layers: answers(e, layers), Bytes: e.Bytes, Copied: e.BytesCopied, Note: e.Note,
	}
	if e.Errno != 0 {
		t.Error = unix.ErrnoName(e.Errno)
	}
	return t
}

// answers are those of the upper directory and of the layers, from the top. Only a
// LOOKUP asks several; any other request is about a file that has been found.
func answers(e fs.Event, layers int) []control.TraceAnswer {
	all := []control.TraceAnswer{{Layer: upperName, Answer: upperAnswer(e).String()}}
	for n := layers - 1; n >= 0; n-- {
		a := control.TraceAnswer{Layer: layerName(n), Answer: union.NotAsked.String()}
		if e.Layer == n {
			a.Answer = union.Hit.String()
		}
		for _, v := range e.Verdicts {
			if v.Layer == n {
				a.Answer, a.At = v.Answer.String(), v.At
			}
		}
		all = append(all, a)
	}
	return all
}

func upperAnswer(e fs.Event) union.Answer {
	switch {
	case e.Layer == fs.LayerUpper:
		return union.Hit
	case e.Op != "LOOKUP" || e.Errno != 0:
		return union.NotAsked
	case len(e.Verdicts) > 0: // the upper has left it to the layers
		return union.Miss
	case e.Whiteout:
		return union.Whiteout
	case e.Opaque:
		return union.Opaque
	}
	return union.Miss
}
