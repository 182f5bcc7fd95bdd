// What init, the exec helper and the supervisor say to each other: lines of package wire.

package ns

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/internal/wire"
)

// To a process that was started.
const (
	opMaps  = "maps"  // its user namespace has these ids
	opBuild = "build" // to init: Spec. Its ids are mapped by then
	opJoin  = "join"  // to the exec helper: Exec. Files: a pidfd of the container to join, and a shell
	opCable = "cable" // to the helper that lays one: Cable; the answer is opTap, perhaps with a file, or opError
	opNext  = "next"  // a report was read
)

// To the supervisor. When the command has been executed, the connection ends: it is close-on-exec.
const (
	opMounted  = "mounted"  // the root is mounted: serve the /dev/fuse that comes along
	opTap      = "tap"      // the interface is there: the other end of its cable comes along
	opConsole  = "console"  // the master side of the terminal comes along
	opReport   = "report"   // a step was done or skipped; the process waits for opNext
	opReady    = "ready"    // execve comes next
	opCommand  = "command"  // exec: a pidfd of the command comes along
	opListener = "listener" // system calls come to it from now on; and perhaps the container's /proc
	opError    = "error"    // it failed, and the process exits
)

type message struct {
	Op       string      `json:"op"`
	NumFiles int         `json:"files,omitempty"`
	IDs      *IDMap      `json:"ids,omitempty"`
	Spec     *Spec       `json:"spec,omitempty"`
	Exec     *execSpec   `json:"exec,omitempty"`
	Cable    *cable      `json:"cable,omitempty"`
	Report   *Report     `json:"report,omitempty"`
	Notes    []Note      `json:"notes,omitempty"`
	Created  []string    `json:"created,omitempty"`
	Error    *wire.Error `json:"error,omitempty"`
	Device   uint64      `json:"device,omitempty"`
	Proc     bool        `json:"proc,omitempty"` // the last file is the container's /proc
	Becomes  bool        `json:"becomes,omitempty"`
	files    []*os.File
}

func (m *message) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.files }

// file takes the descriptor that came with a message; nil if there is none.
func (m *message) file() *os.File {
	if len(m.files) == 0 {
		return nil
	}
	f := m.files[0]
	m.files = m.files[1:]
	return f
}

// close closes the descriptors that nobody took.
func (m *message) close() {
	for f := m.file(); f != nil; f = m.file() {
		f.Close()
	}
}

// configured receives the first message, the configuration.
func (b *builder) configured(op string) (m *message, err error) {
	m = new(message)
	if b.conn, err = wire.Inherited(); err == nil {
		err = b.conn.Receive(m)
	}
	if err == nil && m.Op != op {
		err = fmt.Errorf("%q instead of %q", m.Op, op)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return m, nil
}

// send tells the supervisor something, and hands it the descriptors.
func (b *builder) send(m *message, fds ...int) error {
	if err := b.conn.SendFDs(m, fds...); err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	return nil
}

// report tells of a step and waits until that was seen: nothing happens behind the back of
// whoever reads the explanation.
func (b *builder) report(r *Report) error {
	if err := b.send(&message{Op: opReport, Report: r}); err != nil {
		return err
	}
	err := b.conn.Receive(new(message))
	if errors.Is(err, io.EOF) {
		err = errors.New("it is gone")
	}
	if err != nil {
		return fmt.Errorf("wait for the supervisor: %w", err)
	}
	return nil
}

// answer sends a message to init, or to the exec helper. If it has gone, that is no error here:
// follow finds out why.
func answer(conn *wire.Conn, m *message) error {
	err := conn.Send(m)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("answer init: %w", err)
	}
	return nil
}
