// How the three processes talk: packets of JSON on a socket pair, with a descriptor at times.

package fstest

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// wire is one end of a socket pair on which the processes exchange JSON
// messages, each of them one packet, unix(7) SOCK_SEQPACKET, at times with a
// file descriptor beside it (SCM_RIGHTS).
type wire struct{ fd int }

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
}

const maxMessage = 256 << 10 // bytes

// newWire returns one end, and the other as a file to pass to a child.
func newWire() (*wire, *os.File, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range p {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*maxMessage)
	}
	return &wire{p[0]}, os.NewFile(uintptr(p[1]), "wire"), nil
}

// send sends m, and fd too unless it is negative.
func (w *wire) send(m message, fd int) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	return ignoreEINTR(func() error { return unix.Sendmsg(w.fd, b, oob, nil, unix.MSG_NOSIGNAL) })
}

// receive waits for a message; the descriptor is -1 if none came with it. The
// error is io.EOF-like (os.ErrClosed) when the other end is gone.
func (w *wire) receive() (message, int, error) {
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	err := ignoreEINTR(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(w.fd, b, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return message{}, -1, err
	}
	if n == 0 {
		return message{}, -1, os.ErrClosed
	}
	var m message
	if err := json.Unmarshal(b[:n], &m); err != nil {
		return message{}, -1, err
	}
	fd := -1
	if cs, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(cs) == 1 {
		if fds, err := unix.ParseUnixRights(&cs[0]); err == nil && len(fds) == 1 {
			fd = fds[0]
		}
	}
	return m, fd, nil
}

// ask sends m and waits for the answer.
func (w *wire) ask(m message) (message, int, error) {
	if err := w.send(m, -1); err != nil {
		return message{}, -1, err
	}
	r, fd, err := w.receive()
	if err == nil && r.Err != "" {
		if err = fmt.Errorf("%s", r.Err); r.What != "" {
			err = &errMissing{r.What, err}
		}
	}
	return r, fd, err
}

func (w *wire) close() { unix.Close(w.fd) }

func ignoreEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
