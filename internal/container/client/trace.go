// The requests to a container's file system, one event for each.

package client

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/wire"
)

// Tracing asks for a trace. Event is called for each request, in the order in
// which they were answered, from one goroutine; Begin once before. If Event is
// slow, events are lost; another event then says how many, in Dropped.
type Tracing struct {
	Filter control.TraceFilter
	Begin  func(control.TraceInfo)
	Event  func(*control.TraceEvent)
}

// Trace calls t for the requests to the file system of a running container,
// until it ends or ctx is cancelled.
func Trace(ctx context.Context, c *disk.Container, t Tracing) error {
	conn, err := dial(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Send(&control.Message{Op: control.OpTrace, Trace: &t.Filter}); err != nil {
		return fmt.Errorf("ask the supervisor: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	err = t.read(conn)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, control.ErrGone):
		return fmt.Errorf("the trace of container %s has no end: it was read too slowly, or its supervisor was killed", c.Name)
	}
	return err
}

// read takes events from the connection until its other side is gone. Only an
// end without a word is an error.
func (t Tracing) read(c *control.Conn) error {
	for {
		m, err := c.Answer()
		switch {
		case err != nil:
			return err
		case m.Op == control.AnsExit:
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
	conn *control.Conn
	done chan struct{} // closed: all events have been passed on
}

// begin makes the connection on which the supervisor is to send events, and
// returns its other end too.
func (t Tracing) begin() (*reading, *os.File, error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, nil, err
	}
	mine := &control.Conn{Conn: conn}
	r := &reading{conn: mine, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer mine.Close()
		_ = t.read(mine) // however it ends, the session's own connection tells why
	}()
	return r, theirs, nil
}
