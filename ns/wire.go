// Messages between init or the exec helper and the supervisor: one packet each, with at most one
// descriptor, seqpacket of unix(7).

package ns

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// The descriptors of __init and __exec.
const (
	specFD    = 3 // memfd with the Spec, or execSpec, as JSON
	controlFD = 4 // SOCK_SEQPACKET socket to the supervisor: messages, one a packet
	extraFD   = 5 // exec: pidfd of the container
)

// Kinds of messages from init and exec to the supervisor. When the command has been
// executed, the socket closes: it is close-on-exec.
const (
	msgMounted = "mounted" // the root is mounted: serve the /dev/fuse that comes along
	msgConsole = "console" // the master side of the terminal comes along
	msgReport  = "report"  // a step was done or skipped; the process waits for an answer of one byte
	msgReady   = "ready"   // execve comes next
	msgCommand = "command" // exec: a pidfd of the command comes along
	msgError   = "error"   // it failed, and the process exits
)

type message struct {
	Kind    string
	Error   *WireError `json:",omitempty"`
	Report  *Report    `json:",omitempty"`
	Notes   []Note     `json:",omitempty"`
	Created []string   `json:",omitempty"`
}

// maxMessage is the largest message in bytes; reports are cut to fit.
const maxMessage = 64 << 10

// WireError is an error on its way from one process to another.
type WireError struct {
	Message string
	Hint    string `json:",omitempty"`
	Code    int    `json:",omitempty"` // exit status, 0 = none given
}

// ToWire takes an error apart.
func ToWire(err error) *WireError {
	return &WireError{err.Error(), errs.HintOf(err), errs.CodeOf(err, 0)}
}

// Err puts it together again.
func (w *WireError) Err() error {
	err := errors.New(w.Message)
	if w.Hint != "" {
		err = errs.Hint(err, w.Hint)
	}
	if w.Code != 0 {
		err = errs.Code(err, w.Code)
	}
	return err
}

// send sends m, and the descriptor fd if it is not -1.
func (b *builder) send(m message, fd int) error {
	doc, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(doc) > maxMessage && m.Report != nil {
		m.Report.Calls, m.Report.Before, m.Report.After = []string{"(too many to show)"}, "", ""
		if doc, err = json.Marshal(m); err != nil {
			return err
		}
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	// MSG_NOSIGNAL: that the supervisor is gone is an error here, not a SIGPIPE.
	if err := unix.Sendmsg(b.control, doc, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	return nil
}

// report tells of a step and waits until that was seen: nothing happens behind the back of
// whoever reads the explanation.
func (b *builder) report(r *Report) error {
	if err := b.send(message{Kind: msgReport, Report: r}, -1); err != nil {
		return err
	}
	return b.await()
}

// await waits until the supervisor has done its part: mapped the ids, or shown a report.
func (b *builder) await() error {
	var ack [1]byte
	for {
		n, err := unix.Read(b.control, ack[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("wait for the supervisor: %w", err)
		case n == 0:
			return errors.New("wait for the supervisor: it is gone")
		default:
			return nil
		}
	}
}

// acknowledge lets the other side of await go on.
func acknowledge(socket int) error {
	if err := unix.Sendmsg(socket, []byte{1}, nil, nil, unix.MSG_NOSIGNAL); err != nil && err != unix.EPIPE {
		return fmt.Errorf("answer init: %w", err)
	}
	return nil
}

// receive waits for a message. It returns nil when the other side has closed. fd is -1 if
// no descriptor came along.
func receive(socket int, buf []byte) (m *message, fd int, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(socket, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	fd = -1
	if oobn > 0 {
		fd = parseRights(oob[:oobn])
	}
	switch {
	case err == unix.ECONNRESET || err == nil && n == 0:
		return nil, fd, nil
	case err != nil:
		return nil, fd, fmt.Errorf("hear from init: %w", err)
	case flags&unix.MSG_TRUNC != 0:
		return nil, fd, errors.New("hear from init: message too long")
	}
	m = new(message)
	if err := json.Unmarshal(buf[:n], m); err != nil {
		return nil, fd, fmt.Errorf("hear from init: %w", err)
	}
	return m, fd, nil
}

func parseRights(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1
	}
	return fds[0]
}

// memfd returns an anonymous file with doc in it, to be inherited: memfd_create(2).
// Unlike a pipe it needs nobody to write while the reader comes up.
func memfd(name string, doc []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	if _, err := unix.Pwrite(fd, doc, 0); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("write the configuration: %w", err)
	}
	return fd, nil
}

// readSpec decodes the document at specFD and closes it.
func readSpec(into any) error {
	defer unix.Close(specFD)
	var st unix.Stat_t
	if err := unix.Fstat(specFD, &st); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	doc := make([]byte, st.Size)
	if n, err := unix.Pread(specFD, doc, 0); err != nil || n < len(doc) {
		return fmt.Errorf("read the configuration: %d bytes of %d: %w", n, len(doc), err)
	}
	if err := json.Unmarshal(doc, into); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return nil
}
