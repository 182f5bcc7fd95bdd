package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/union"
)

// Contract of this file: what a trace is made of, and how a client gets it.
// The supervisor's half is in tracer.go.

// TraceFilter chooses requests. Its zero value chooses all.
type TraceFilter struct {
	Ops  []string `json:"ops,omitempty"`  // opcodes of fuse(4) without FUSE_, in capitals
	Path string   `json:"path,omitempty"` // this file and all below it
}

func (f *TraceFilter) match(op, path string) bool {
	if len(f.Ops) > 0 && !slices.Contains(f.Ops, op) {
		return false
	}
	p := strings.TrimRight(f.Path, "/")
	return p == "" || path == p || strings.HasPrefix(path, p+"/")
}

// TraceInfo is what there is to know before the first event.
type TraceInfo struct {
	Layers   int  `json:"layers"`             // of the image
	Uncached bool `json:"uncached,omitempty"` // the kernel asks about everything, see StartOptions.Trace
}

// TraceEvent is one request to a container's file system.
type TraceEvent struct {
	Time     time.Time     `json:"time,omitzero"` // when it came
	Duration time.Duration `json:"ns,omitempty"`  // what serving it took
	PID      uint32        `json:"pid"`           // thread that asked, as the container numbers it; 0 is the kernel
	Op       string        `json:"op,omitempty"`
	Path     string        `json:"path,omitempty"`
	By       string        `json:"by,omitempty"`     // what answered: "upper" or "layer 2"; "" is nothing
	Layers   []TraceAnswer `json:"layers,omitempty"` // the upper directory, then the layers from the top
	Bytes    int64         `json:"bytes,omitempty"`  // asked for by READ, WRITE, COPY_FILE_RANGE
	Copied   int64         `json:"copied,omitempty"` // bytes copied up from a layer
	Error    string        `json:"error,omitempty"`  // name of an errno
	Note     string        `json:"note,omitempty"`

	// Dropped is how many requests are missing before this event: the reader
	// was too slow. Nothing else is set then.
	Dropped uint64 `json:"dropped,omitempty"`
}

// TraceAnswer is what one layer says about the path of a request.
type TraceAnswer struct {
	Layer  string `json:"layer"`        // "upper" or "layer 2"; the bottom one is "layer 0"
	Answer string `json:"answer"`       // in the words of union.Answer
	At     string `json:"at,omitempty"` // the path that decides, where it is another one or a whiteout
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
func newTraceEvent(e fs.Event, end time.Time, layers int) *TraceEvent {
	t := &TraceEvent{
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
func answers(e fs.Event, layers int) []TraceAnswer {
	all := []TraceAnswer{{Layer: upperName, Answer: upperAnswer(e).String()}}
	for n := layers - 1; n >= 0; n-- {
		a := TraceAnswer{Layer: layerName(n), Answer: union.NotAsked.String()}
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

// Tracing asks for a trace. Event is called for each request, in the order in
// which they were answered, from one goroutine; Begin once before. A caller
// that is slow in it loses events, which then says an event with Dropped.
type Tracing struct {
	Filter TraceFilter
	Begin  func(TraceInfo)
	Event  func(*TraceEvent)
}

// Trace calls t for the requests to the file system of a running container,
// until it ends or ctx is cancelled.
func (c *Container) Trace(ctx context.Context, t Tracing) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.send(&message{Op: opTrace, Trace: &t.Filter}); err != nil {
		return fmt.Errorf("ask the supervisor: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	err = t.read(conn)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errSupervisorGone):
		return fmt.Errorf("the trace of container %s has no end: it was read too slowly, or its supervisor was killed", c.Name)
	}
	return err
}

// read takes events from the connection until its other side is gone. Only an
// end without a word is an error.
func (t Tracing) read(c *conn) error {
	for {
		m, err := c.answer()
		switch {
		case err != nil:
			return err
		case m.Op == ansExit:
			return nil
		case m.Info != nil:
			t.Begin(*m.Info)
		case m.Event != nil:
			t.Event(m.Event)
		}
	}
}

// reading is a trace that comes with a session.
type reading struct {
	conn *conn
	done chan struct{} // closed: all events have been passed on
}

// begin makes the connection on which the supervisor is to send events, and
// returns its other end too.
func (t Tracing) begin() (*reading, *os.File, error) {
	mine, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	r := &reading{conn: mine, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer mine.Close()
		_ = t.read(mine) // however it ends, the session's own connection tells why
	}()
	return r, theirs, nil
}
