// The control socket of a container: who listens at it, who may connect.

package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/wire"
)

// The programs that speak the protocol, as the first argument of this binary. Each inherits a
// connection.
const (
	SupervisorCommand = "__supervisor"
	HelperCommand     = "__helper" // started by the supervisor, in its namespaces
	InsideCommand     = "__inside" // started by a client, in a new user namespace with the container's ids
)

// ErrGone says that the process at the other end has gone away, without an answer.
var ErrGone = errors.New("the container's supervisor has gone away")

// socketPath is where the control socket of the container in dir is, given a
// descriptor of that directory: sun_path has room for 108 bytes only, unix(7),
// and a store may be at a longer path.
func socketPath(dir *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/control"
}

// Dial connects to the supervisor of the container in dir.
func Dial(dir *os.File) (*Conn, error) {
	s, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socketPath(dir), Net: "unix"})
	if err != nil {
		return nil, err
	}
	return newConn(s)
}

func newConn(s *net.UnixConn) (*Conn, error) {
	c, err := wire.New(s)
	if err != nil {
		s.Close()
	}
	return &Conn{c}, err
}

// Listener is the control socket of a running container.
type Listener struct{ l *net.UnixListener }

// Listen makes the control socket of the container in dir, in place of one that an earlier run
// has left.
func Listen(dir string) (*Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	defer d.Close()
	path := socketPath(d)
	_ = os.Remove(path)
	// Linux gives the name the mode that the socket has when it is bound, less the umask: at no
	// moment can another user connect.
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, e)
	}}
	bound, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	l := bound.(*net.UnixListener)
	l.SetUnlinkOnClose(false) // its name leads through a descriptor that is closed by then
	return &Listener{l}, nil
}

// Accept waits for the next connection of this process's user, and refuses those of others. The
// mode of the socket keeps others away, but a connected descriptor could be passed on to them.
func (l *Listener) Accept() (*Conn, error) {
	for {
		sock, err := l.l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		c, err := newConn(sock)
		if err != nil {
			return nil, err
		}
		uid, err := c.Peer()
		if err == nil && uid == os.Geteuid() {
			return c, nil
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Fail(errors.New("control connection: the container belongs to another user"))
		c.Close()
	}
}
