// Connections to a socket with a name.

package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPath is where a socket in a directory is, given a descriptor of that: sun_path has room for
// 108 bytes only, unix(7), and a store may be at a longer path.
func socketPath(dir *os.File, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name
}

// Dial connects to a socket in a directory.
func Dial(dir *os.File, name string) (*Conn, error) {
	s, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socketPath(dir, name), Net: "unix"})
	if err != nil {
		return nil, err
	}
	c, err := New(s)
	if err != nil {
		s.Close()
	}
	return c, err
}

// Listen makes a socket in a directory, in place of one that is left. It stays when it is closed.
func Listen(dir *os.File, name string) (*net.UnixListener, error) {
	path := socketPath(dir, name)
	_ = os.Remove(path)
	// Linux gives the name the mode that the socket has when it is bound, less the umask: at no
	// moment can another user connect.
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, e)
	}}
	bound, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l := bound.(*net.UnixListener)
	l.SetUnlinkOnClose(false) // its name leads through a descriptor that is closed by then
	return l, nil
}
