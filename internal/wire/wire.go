// Package wire is the way in which all processes of a container talk: clients, supervisors, init
// and every helper.
//
// A connection is a Unix stream socket with one JSON object a line, either way. Descriptors travel
// with a line (SCM_RIGHTS, unix(7)), which says how many. A process that we start inherits nothing
// else: its connection is at descriptor [FD], the first line there is its configuration, and what
// it has to say, errors too, it sends back the same way.
//
// The sender is not believed. A line of more than 16 MiB, one that is no JSON, one that announces
// more descriptors than came, and too many descriptors are errors, after which the connection is of
// no use. Descriptors that no line has announced are closed with the connection.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// FD is the descriptor at which a process that was started for a container has its connection.
const FD = 3

const (
	// maxLine is how long a line may be, in bytes: an environment of the size that execve(2)
	// accepts, written as JSON, fits.
	maxLine = 16 << 20
	// maxFiles is how many descriptors may come before the line that they belong to. A start with
	// a trace has most: lock, standard output and error, and the trace's socket.
	maxFiles = 16
	// chunk is how much is read at once, in bytes: most lines.
	chunk = 8 << 10
)

// Message is what a line holds: a struct that is written as JSON, and has fields for the number of
// descriptors and for the descriptors themselves. The number must be part of the JSON.
type Message interface {
	Attached() (number *int, files *[]*os.File)
}

// Conn is one end of a connection.
type Conn struct {
	sock  Socket
	raw   syscall.RawConn
	buf   []byte // received and not yet used
	files []*os.File
	write sync.Mutex
}

// Socket is a stream socket: an *os.File, or a *net.UnixConn.
type Socket interface {
	syscall.Conn
	io.Closer
	SetDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// New makes a connection of a socket, which belongs to it from then on.
func New(s Socket) (*Conn, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("open a connection: %w", err)
	}
	return &Conn{sock: s, raw: raw}, nil
}

// Open makes a connection of a socket that was inherited or received, and closes f.
func Open(f *os.File) (*Conn, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a connection: %w", err)
	}
	return open(fd)
}

// open lets Go's poller wait for the socket, so that no thread has to.
func open(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open a connection: %w", err)
	}
	return New(os.NewFile(uintptr(fd), "connection"))
}

// Inherited is the connection of a process that does one thing after the other: waiting for a line
// blocks the calling thread.
func Inherited() (*Conn, error) {
	unix.CloseOnExec(FD)
	return New(os.NewFile(FD, "connection"))
}

// Pair returns the two ends of a connection, the second for another process to inherit.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "connection")
	mine, err := open(fds[0])
	if err != nil {
		theirs.Close()
	}
	return mine, theirs, err
}

// Close ends the connection, and closes descriptors that came and were not announced.
func (c *Conn) Close() error {
	closeAll(c.files)
	c.files = nil
	return c.sock.Close()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// File is a further descriptor of the connection, to be handed on.
func (c *Conn) File() (f *os.File, err error) {
	e := c.raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			f = os.NewFile(uintptr(n), "connection")
		}
	})
	return f, errors.Join(err, e)
}

// SetDeadline makes everything on the connection fail after that moment.
func (c *Conn) SetDeadline(t time.Time) { _ = c.sock.SetDeadline(t) }

// SetWriteDeadline makes Send fail after that moment.
func (c *Conn) SetWriteDeadline(t time.Time) { _ = c.sock.SetWriteDeadline(t) }

// Send writes a message together with its files, which stay open here. The error is EPIPE or
// ECONNRESET if the other side is gone.
func (c *Conn) Send(m Message) error {
	_, files := m.Attached()
	var fds []int
	for _, f := range *files {
		fds = append(fds, int(f.Fd()))
	}
	err := c.SendFDs(m, fds...)
	runtime.KeepAlive(files)
	return err
}

// SendFDs is Send with descriptors in place of files.
func (c *Conn) SendFDs(m Message, fds ...int) error {
	number, _ := m.Attached()
	*number = len(fds)
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	c.write.Lock()
	defer c.write.Unlock()
	for len(line) > 0 && err == nil {
		n := 0
		err = call(c.raw.Write, func(fd int) (err error) {
			// MSG_NOSIGNAL: that nobody is there is an error here, not a SIGPIPE.
			n, err = unix.SendmsgN(fd, line, rights, nil, unix.MSG_NOSIGNAL)
			return err
		})
		line, rights = line[n:], nil
	}
	return err
}

// call makes a system call when the socket is ready for it.
func call(ready func(func(fd uintptr) bool) error, f func(fd int) error) (err error) {
	e := ready(func(fd uintptr) bool {
		for err = f(int(fd)); err == unix.EINTR; {
			err = f(int(fd))
		}
		return err != unix.EAGAIN
	})
	if e != nil {
		return e
	}
	return err
}

// Receive reads a message. The error is io.EOF when the other side is gone.
func (c *Conn) Receive(m Message) error {
	for seen := 0; ; { // bytes of the buffer in which no line ends
		if i := bytes.IndexByte(c.buf[seen:], '\n'); i >= 0 {
			return c.take(seen+i, m)
		}
		seen = len(c.buf)
		if seen > maxLine {
			return fmt.Errorf("connection: a line of more than %d bytes", maxLine)
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// take makes a message of the first n bytes of the buffer.
func (c *Conn) take(n int, m Message) error {
	if err := json.Unmarshal(c.buf[:n], m); err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	if c.buf = c.buf[n+1:]; len(c.buf) == 0 {
		c.buf = nil // a long wait for the next line must not keep the memory of this one
	}
	number, files := m.Attached()
	if *number < 0 || *number > len(c.files) {
		return fmt.Errorf("connection: %d descriptors announced, %d came", *number, len(c.files))
	}
	*files, c.files = c.files[:*number:*number], c.files[*number:]
	return nil
}

// fill reads into the buffer what has come.
func (c *Conn) fill() error {
	c.buf = slices.Grow(c.buf, chunk)
	oob := make([]byte, unix.CmsgSpace(4*maxFiles)) // of 4 bytes each, cmsg(3)
	var n, oobn, flags int
	err := call(c.raw.Read, func(fd int) (err error) {
		// MSG_CMSG_CLOEXEC: no child inherits them by accident.
		n, oobn, flags, _, err = unix.Recvmsg(fd, c.buf[len(c.buf):cap(c.buf)], oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if errors.Is(err, unix.ECONNRESET) {
		return io.EOF
	}
	if err != nil {
		return err
	}
	c.buf = c.buf[:len(c.buf)+n]
	if err := c.keepFiles(oob[:oobn]); err != nil {
		return err
	}
	// recvmsg(2), MSG_CTRUNC: there were more descriptors, and the kernel has closed them.
	if flags&unix.MSG_CTRUNC != 0 || len(c.files) > maxFiles {
		return fmt.Errorf("connection: more than %d descriptors", maxFiles)
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
		return fmt.Errorf("connection: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind, which has no descriptors
		}
		for _, fd := range fds {
			c.files = append(c.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return nil
}

// Peer is the user at the other end, as this user namespace numbers it: SO_PEERCRED, unix(7).
func (c *Conn) Peer() (uid int, err error) {
	uid = -1
	e := c.raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid, errors.Join(err, e)
}

// Error is an error on its way from one process to another.
type Error struct {
	Message string
	Hint    string `json:",omitempty"`
	Code    int    `json:",omitempty"` // exit status, 0 = none given
}

// NewError takes an error apart.
func NewError(err error) *Error {
	return &Error{err.Error(), errs.HintOf(err), errs.CodeOf(err, 0)}
}

// Err puts it together again.
func (w *Error) Err() error {
	err := errors.New(w.Message)
	if w.Hint != "" {
		err = errs.Hint(err, w.Hint)
	}
	if w.Code != 0 {
		err = errs.Code(err, w.Code)
	}
	return err
}
