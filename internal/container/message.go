package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/ns"
)

// message is one line of the control protocol, in either direction. Which
// fields mean something depends on Op; appendix A of the book, "The control protocol".
type message struct {
	Op     string `json:"op"`
	Files  int    `json:"files,omitempty"` // descriptors that travel with it, SCM_RIGHTS
	Signal int    `json:"signal,omitempty"`
	// Seconds is how long "stop" waits before it kills; negative: for ever.
	Seconds int `json:"seconds,omitempty"`

	Start *startRequest `json:"start,omitempty"`
	Exec  *ExecOptions  `json:"exec,omitempty"`
	Trace *TraceFilter  `json:"trace,omitempty"`
	Shell *shellRequest `json:"shell,omitempty"`
	// Inside is for the helper of inside.go, which answers these alone.
	Inside *insideRequest `json:"inside,omitempty"`
	Copy   *copyRequest   `json:"copy,omitempty"`

	Error  *ns.WireError     `json:"error,omitempty"`
	Exit   int               `json:"exit,omitempty"`
	Counts map[string]uint64 `json:"counts,omitempty"`
	Info   *TraceInfo        `json:"info,omitempty"`
	Event  *TraceEvent       `json:"event,omitempty"`
	Copied *copyResult       `json:"copied,omitempty"`
	Plan   *ns.Spec          `json:"plan,omitempty"`
	Report *ns.Report        `json:"report,omitempty"`

	files []*os.File
}

// Operations: what a client asks.
const (
	opStart  = "start"  // only on the socket that the supervisor inherits; 1 file: the lock, or 3: and as attach; with a trace one more, last
	opAttach = "attach" // 2 files: where standard output and error go
	opExec   = "exec"   // 2 files, as attach
	opSignal = "signal" // to the command that this connection started or attached to
	opDetach = "detach" // leave; the command goes on
	opStop   = "stop"
	opWait   = "wait"
	opFreeze = "freeze" // until the connection ends
	opCounts = "counts"
	opTrace  = "trace"
	opCopy   = "copy"  // with 1 file for a tarball, to or from the container
	opNext   = "next"  // the report was read: go on with the next step
	opShell  = "shell" // before that: 2 files, the terminal for a shell and its program; the answer comes when it has ended
	opQuit   = "quit"  // instead: do not go on
	// To the helper in a container's user namespace; 1 file: where its output goes.
	opDiff  = "diff"  // the changes, as JSON
	opPack  = "pack"  // the changes, as a layer
	opErase = "erase" // Dir and all that is in it
)

// Answers.
const (
	ansOK    = "ok"    // perhaps with 1 file: where standard input goes
	ansExit  = "exit"  // the command has ended; nothing follows
	ansError = "error" // nothing follows
	ansEvent = "event" // of a trace; more follow
	// Before "ok", of a start that is to be explained:
	ansPlan   = "plan"   // what is going to be built
	ansReport = "report" // a step was done, or skipped; the next one waits for opNext
)

// maxMessage is how long a line may be, in bytes: an environment of the size
// that execve(2) accepts, written as JSON, fits.
const maxMessage = 16 << 20

// conn is one end of a control connection: a stream of lines, each a JSON
// object, so that `nc -U` can speak it.
type conn struct {
	sock  *net.UnixConn
	buf   []byte // received and not yet used
	files []*os.File
	write sync.Mutex
}

// newConn makes a conn of an inherited socket, and closes f.
func newConn(f *os.File) (*conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open the control connection: %w", err)
	}
	return &conn{sock: c.(*net.UnixConn)}, nil
}

func (c *conn) Close() error {
	for _, f := range c.files {
		f.Close()
	}
	c.files = nil
	return c.sock.Close()
}

// send writes one message together with its files, which stay open here.
func (c *conn) send(m *message) error {
	m.Files = len(m.files)
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	var rights []byte
	if len(m.files) > 0 {
		fds := make([]int, len(m.files))
		for i, f := range m.files {
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

// receive reads one message. It returns io.EOF when the other side is gone.
func (c *conn) receive() (*message, error) {
	for {
		if i := bytes.IndexByte(c.buf, '\n'); i >= 0 {
			return c.take(i)
		}
		if len(c.buf) > maxMessage {
			return nil, fmt.Errorf("control connection: a message of more than %d bytes", maxMessage)
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// take makes a message of the first n bytes of the buffer.
func (c *conn) take(n int) (*message, error) {
	m := new(message)
	if err := json.Unmarshal(c.buf[:n], m); err != nil {
		return nil, fmt.Errorf("control connection: %w", err)
	}
	c.buf = c.buf[n+1:]
	if m.Files < 0 || m.Files > len(c.files) {
		return nil, fmt.Errorf("control connection: %d descriptors announced, %d came", m.Files, len(c.files))
	}
	m.files, c.files = c.files[:m.Files:m.Files], c.files[m.Files:]
	return m, nil
}

// fill reads what is there into the buffer.
func (c *conn) fill() error {
	var b [4096]byte
	var oob [128]byte // room for 16 descriptors and more; the kernel drops what does not fit
	n, oobn, _, _, err := c.sock.ReadMsgUnix(b[:], oob[:])
	if err != nil {
		if errors.Is(err, unix.ECONNRESET) {
			return io.EOF
		}
		return err
	}
	if n == 0 {
		return io.EOF
	}
	c.buf = append(c.buf, b[:n]...)
	if oobn == 0 {
		return nil
	}
	scms, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return fmt.Errorf("control connection: %w", err)
	}
	for i := range scms {
		fds, err := unix.ParseUnixRights(&scms[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			// net sets MSG_CMSG_CLOEXEC: no child inherits it by accident.
			c.files = append(c.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return nil
}

// fail answers with an error.
func (c *conn) fail(err error) { c.send(&message{Op: ansError, Error: ns.ToWire(err)}) }

// call sends a request and returns the answer; an answer that is an error
// becomes one.
func (c *conn) call(m *message) (*message, error) {
	err := c.send(m)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	}
	// A side that has hung up may have said why before.
	return c.answer()
}

func (c *conn) answer() (*message, error) {
	m, err := c.receive()
	if errors.Is(err, io.EOF) {
		return nil, errSupervisorGone
	}
	if err != nil {
		return nil, err
	}
	if m.Op == ansError && m.Error != nil {
		return nil, m.Error.Err()
	}
	return m, nil
}

var (
	errNotRunning     = errors.New("container is not running")
	errSupervisorGone = errors.New("the container's supervisor has gone away")
)

// socketPath is where the control socket of the container in dir is, given a
// descriptor of that directory: sun_path has room for 108 bytes only, unix(7),
// and a store may be at a longer path.
func socketPath(dir *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/control"
}

// dial connects to the container's supervisor.
func (c *Container) dial() (*conn, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, c.Name)
	}
	defer dir.Close()
	// A running container whose lock is free has lost its supervisor; one
	// whose lock is held and that does not listen yet is just starting.
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		s, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socketPath(dir), Net: "unix"})
		if err == nil {
			return &conn{sock: s}, nil
		}
		if !locked(c.path("lock")) || time.Now().After(end) {
			return nil, fmt.Errorf("container %s: %w", c.Name, errNotRunning)
		}
	}
}
