// A connection: lines of JSON in both directions, and the descriptors that travel with them. What
// a peer can make us hold is bounded.

package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/ns"
)

// maxMessage is how long a line may be, in bytes: an environment of the size
// that execve(2) accepts, written as JSON, fits.
const maxMessage = 16 << 20

// maxFiles is how many descriptors may come before the line that they belong to. A start with a
// trace has most: lock, standard output and error, and the trace's socket.
const maxFiles = 16

// FD is the descriptor at which a supervisor, or a helper, inherits its first connection. The one
// before is ns.HandshakeFD.
const FD = ns.HandshakeFD + 1

// Conn is one end of a control connection: a stream of lines, each a JSON
// object, so that `nc -U` can speak it.
type Conn struct {
	sock  *net.UnixConn
	buf   []byte // received and not yet used
	files []*os.File
	write sync.Mutex
}

// NewConn makes a Conn of an inherited socket, and closes f.
func NewConn(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open the control connection: %w", err)
	}
	return &Conn{sock: c.(*net.UnixConn)}, nil
}

// Close ends the connection, and closes descriptors that came and were not announced.
func (c *Conn) Close() error {
	for _, f := range c.files {
		f.Close()
	}
	c.files = nil
	return c.sock.Close()
}

// Send writes one message together with its files, which stay open here.
func (c *Conn) Send(m *Message) error {
	m.NumFiles = len(m.Files)
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	var rights []byte
	if len(m.Files) > 0 {
		fds := make([]int, len(m.Files))
		for i, f := range m.Files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	c.write.Lock()
	defer c.write.Unlock()
	n, _, err := c.sock.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) {
		_, err = c.sock.Write(b[n:])
	}
	return err
}

// Receive reads one message. It returns io.EOF when the other side is gone.
func (c *Conn) Receive() (*Message, error) {
	for seen := 0; ; { // of the buffer, no line ends in these bytes
		if i := bytes.IndexByte(c.buf[seen:], '\n'); i >= 0 {
			return c.take(seen + i)
		}
		seen = len(c.buf)
		if seen > maxMessage {
			return nil, fmt.Errorf("control connection: a message of more than %d bytes", maxMessage)
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// take makes a message of the first n bytes of the buffer.
func (c *Conn) take(n int) (*Message, error) {
	m := new(Message)
	if err := json.Unmarshal(c.buf[:n], m); err != nil {
		return nil, fmt.Errorf("control connection: %w", err)
	}
	c.buf = c.buf[n+1:]
	if m.NumFiles < 0 || m.NumFiles > len(c.files) {
		return nil, fmt.Errorf("control connection: %d descriptors announced, %d came", m.NumFiles, len(c.files))
	}
	m.Files, c.files = c.files[:m.NumFiles:m.NumFiles], c.files[m.NumFiles:]
	return m, nil
}

// fill reads what is there into the buffer.
func (c *Conn) fill() error {
	var b [4096]byte
	oob := make([]byte, unix.CmsgSpace(4*maxFiles)) // of 4 bytes each, cmsg(3)
	n, oobn, flags, _, err := c.sock.ReadMsgUnix(b[:], oob)
	if errors.Is(err, unix.ECONNRESET) {
		return io.EOF
	}
	if err != nil {
		return err
	}
	c.buf = append(c.buf, b[:n]...)
	if err := c.keepFiles(oob[:oobn]); err != nil {
		return err
	}
	// recvmsg(2), MSG_CTRUNC: there were more descriptors, and the kernel has closed them.
	if flags&unix.MSG_CTRUNC != 0 || len(c.files) > maxFiles {
		return fmt.Errorf("control connection: more than %d descriptors", maxFiles)
	}
	if n == 0 {
		return io.EOF
	}
	return nil
}

// keepFiles takes the descriptors out of what came beside the bytes.
func (c *Conn) keepFiles(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("control connection: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind, which has no descriptors
		}
		for _, fd := range fds {
			// net sets MSG_CMSG_CLOEXEC: no child inherits it by accident.
			c.files = append(c.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return nil
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
	_ = c.Send(&Message{Op: AnsError, Error: ns.ToWire(err), Corrupt: errors.Is(err, layer.ErrCorrupt)})
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

// SetDeadline makes everything on the connection fail after that moment.
func (c *Conn) SetDeadline(t time.Time) { _ = c.sock.SetDeadline(t) }

// SetWriteDeadline makes Send fail after that moment.
func (c *Conn) SetWriteDeadline(t time.Time) { _ = c.sock.SetWriteDeadline(t) }

// Pair returns the two ends of a connection, the second as a file for
// another process to inherit.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "control")
	mine, err := NewConn(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return mine, theirs, nil
}
