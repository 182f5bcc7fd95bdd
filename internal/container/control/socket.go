// The control socket of a container: who listens at it, who may connect.

package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"tiffin/internal/errs"
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

// socketName is that of the control socket in a container's directory.
const socketName = "control"

// Dial connects to the supervisor of the container in dir.
func Dial(dir *os.File) (*Conn, error) {
	c, err := wire.Dial(dir, socketName)
	if err != nil {
		return nil, err
	}
	return &Conn{c}, nil
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
	l, err := wire.Listen(d, socketName)
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("open the control socket: %w", err), "if the disk has no sockets, set TIFFIN_RUN_ROOT to a directory on another, for containers alone")
	}
	return &Listener{l}, nil
}

// Until makes Accept fail after that moment.
func (l *Listener) Until(t time.Time) { _ = l.l.SetDeadline(t) }

// Close stops listening. The name of the socket stays.
func (l *Listener) Close() error { return l.l.Close() }

// Accept waits for the next connection of this process's user, and refuses those of others. The
// mode of the socket keeps others away, but a connected descriptor could be passed on to them.
func (l *Listener) Accept() (*Conn, error) {
	for {
		sock, err := l.l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		w, err := wire.New(sock)
		if err != nil {
			sock.Close()
			return nil, err
		}
		c := &Conn{w}
		uid, err := c.Peer()
		if err == nil && uid == os.Geteuid() {
			return c, nil
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Fail(errors.New("control connection: the container belongs to another user"))
		c.Close()
	}
}
