// Questions and answers on a connection.

package control

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/wire"
)

// Conn is one end of a control connection.
type Conn struct{ *wire.Conn }

// Receive reads one message. It returns io.EOF when the other side is gone.
func (c *Conn) Receive() (*Message, error) {
	m := new(Message)
	if err := c.Conn.Receive(m); err != nil {
		return nil, err
	}
	return m, nil
}

// Reply answers with "ok", or with an error.
func (c *Conn) Reply(err error) {
	if err != nil {
		c.Fail(err)
		return
	}
	_ = c.Send(&Message{Op: AnsOK})
}

// Fail answers with an error.
func (c *Conn) Fail(err error) {
	_ = c.Send(&Message{Op: AnsError, Error: wire.NewError(err), Corrupt: errors.Is(err, layer.ErrCorrupt)})
}

// Call sends a request and returns the answer; an answer that is an error
// becomes one.
func (c *Conn) Call(m *Message) (*Message, error) {
	err := c.Send(m)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	}
	// A side that has hung up may have said why before.
	return c.Answer()
}

// Answer reads an answer; one that is an error becomes one, and ErrGone says that none will come.
func (c *Conn) Answer() (*Message, error) {
	m, err := c.Receive()
	if errors.Is(err, io.EOF) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	if m.Op != AnsError || m.Error == nil {
		return m, nil
	}
	m.Close()
	if m.Corrupt {
		return nil, corrupt{m.Error.Err()}
	}
	return nil, m.Error.Err()
}

// corrupt is a layer.ErrCorrupt that has come over a connection.
type corrupt struct{ error }

func (c corrupt) Unwrap() error        { return c.error }
func (c corrupt) Is(target error) bool { return target == layer.ErrCorrupt }
