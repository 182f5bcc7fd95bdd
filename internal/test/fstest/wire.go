// How the three processes talk: by messages of package wire.

package fstest

import (
	"errors"
	"fmt"
	"os"

	"tiffin/internal/wire"
)

// message is every message there is; Op says which fields matter.
type message struct {
	Op     string            `json:",omitempty"`
	Err    string            `json:",omitempty"`
	What   string            `json:",omitempty"` // the capability that is missing
	Counts map[string]uint64 `json:",omitempty"`
	Events []string          `json:",omitempty"`
	N      int               `json:",omitempty"`
	Errno  int               `json:",omitempty"`
	Faults bool              `json:",omitempty"`
	Hit    bool              `json:",omitempty"`
	Errs   []string          `json:",omitempty"` // the server's report
	FDs    int               `json:",omitempty"`
	files  []*os.File
}

func (m *message) Attached() (number *int, files *[]*os.File) { return &m.FDs, &m.files }

// file is the descriptor that came with m.
func (m *message) file() (*os.File, error) {
	if len(m.files) != 1 {
		return nil, fmt.Errorf("%d descriptors came", len(m.files))
	}
	return m.files[0], nil
}

// receive waits for a message. An error that the other end sent is an error here.
func receive(c *wire.Conn) (*message, error) {
	m := &message{}
	err := c.Receive(m)
	if err == nil && m.Err != "" {
		if err = errors.New(m.Err); m.What != "" {
			err = &errMissing{m.What, err}
		}
	}
	return m, err
}

// ask sends m and waits for the answer.
func ask(c *wire.Conn, m *message) (*message, error) {
	if err := c.Send(m); err != nil {
		return nil, err
	}
	return receive(c)
}
