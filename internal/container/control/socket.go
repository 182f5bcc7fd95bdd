package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// The programs that speak the protocol, as the first argument of this binary. Each inherits its
// first connection at descriptor FD.
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
	return &Conn{sock: s}, nil
}

// Listener is the control socket of a running container.
type Listener struct{ l *net.UnixListener }

// Listen makes the control socket of the container in dir, in place of one that an earlier run has left.
func Listen(dir string) (*Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	defer d.Close()
	path := socketPath(d)
	_ = os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // its name leads through a descriptor that is closed by then
	return &Listener{l}, nil
}

// Accept waits for the next connection.
func (l *Listener) Accept() (*Conn, error) {
	sock, err := l.l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &Conn{sock: sock}, nil
}

// Close ends the socket; its name stays.
func (l *Listener) Close() error { return l.l.Close() }
