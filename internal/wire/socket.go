// Connections to a socket with a name.

package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
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
	path := socketPath(dir, name)
	c, err := dial(path)
	if !errors.Is(err, unix.ECONNREFUSED) {
		return c, err
	}
	elsewhere, e := os.ReadFile(path) // of a socket: ENXIO
	if e != nil {
		return nil, err
	}
	if c, err = dial(string(elsewhere)); err != nil {
		return nil, err
	}
	// Everybody's directory may have been cleared, and another user have taken the name.
	if uid, err := c.Peer(); err != nil || uid != os.Geteuid() {
		c.Close()
		return nil, errors.Join(err, unix.ECONNREFUSED)
	}
	return c, nil
}

func dial(path string) (*Conn, error) {
	s, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	c, err := New(s)
	if err != nil {
		s.Close()
	}
	return c, err
}

// Listen makes a socket in a directory, in place of one that is left. It stays when it is closed,
// until Remove. Where the disk has no sockets, as sshfs, there is a file with the path of one, in a
// new directory of os.TempDir that others cannot enter.
func Listen(dir *os.File, name string) (*net.UnixListener, error) {
	path := socketPath(dir, name)
	_ = Remove(path)
	l, err := bind(path)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
		return l, err
	}
	elsewhere, e := os.MkdirTemp("", "tiffin-socket-")
	if e != nil {
		return nil, errors.Join(err, e)
	}
	socket := filepath.Join(elsewhere, name)
	if l, e = bind(socket); e == nil {
		if e = os.WriteFile(path, []byte(socket), 0o600); e == nil {
			return l, nil
		}
		l.Close()
	}
	os.RemoveAll(elsewhere)
	return nil, errors.Join(err, e)
}

// Remove removes what Listen has made.
func Remove(path string) error {
	if elsewhere, err := os.ReadFile(path); err == nil {
		socket := string(elsewhere)
		if fi, err := os.Lstat(socket); err == nil && fi.Mode().Type() == os.ModeSocket {
			os.Remove(socket)
			os.Remove(filepath.Dir(socket))
		}
	}
	return os.Remove(path)
}

// bind is a variable for a test on a disk without sockets.
var bind = func(path string) (*net.UnixListener, error) {
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
