// A command that runs in a container, its first or another one, is followed until it ends.

package client

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// Session is a client's connection to a command that runs: the first of a
// container, or one of Exec.
type Session struct {
	// Stdin is the other end of the command's standard input, for the caller to
	// write to and to close; with a terminal, its master side, which the caller
	// must not read. nil if the input is /dev/null.
	Stdin *os.File
	// Notes are what this machine could not do for the container, as far as the client had to do
	// it.
	Notes []ns.Note
	conn  *control.Conn
	trace *reading // nil without one
}

// begin sends a request that makes the connection a session. It closes the
// connection if that fails.
func begin(conn *control.Conn, m *control.Message) (*Session, error) {
	ans, err := conn.Call(m)
	return session(conn, ans, err)
}

// session makes a Session of the answer to its request.
func session(conn *control.Conn, ans *control.Message, err error) (*Session, error) {
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &Session{conn: conn}
	if len(ans.Files) == 1 {
		s.Stdin = ans.Files[0]
	}
	return s, nil
}

// Wait waits for the end of the command and returns its exit status. All its output has been
// written by then, and its trace passed on. If output could not be written, there is an error
// beside the status.
func (s *Session) Wait() (int, error) {
	m, err := s.conn.Answer()
	s.conn.Close()
	if s.trace != nil {
		<-s.trace.done
	}
	if errors.Is(err, control.ErrGone) {
		// The kernel has killed the command along with it.
		return 0, errs.Code(err, 128+int(unix.SIGKILL))
	}
	if err != nil {
		return 0, err
	}
	if m.Error != nil {
		err = m.Error.Err()
	}
	return m.Exit, err
}

// Signal sends a signal to the command.
func (s *Session) Signal(sig syscall.Signal) error {
	return s.conn.Send(&control.Message{Op: control.OpSignal, Signal: int(sig)})
}

// Detach leaves the command alone; Wait returns an error then.
func (s *Session) Detach() error {
	err := s.conn.Send(&control.Message{Op: control.OpDetach})
	if errors.Is(err, unix.EPIPE) {
		err = nil // the command has ended already, and the supervisor has hung up
	}
	s.conn.Close()
	if s.trace != nil {
		s.trace.conn.Close()
	}
	return err
}

// Attach connects to the first command of a running container; its output
// from now on also goes to stdout and stderr.
func Attach(c *disk.Container, stdout, stderr *os.File) (*Session, error) {
	conn, err := dial(c)
	if err != nil {
		return nil, err
	}
	return begin(conn, &control.Message{Op: control.OpAttach, Files: []*os.File{stdout, stderr}})
}

// Exec starts a further command in a running container. Errors carry an exit
// status as those of Start. With nil for stdout and stderr its output is lost.
// explain is called for each step of the helper, as StartOptions.Explain is for each of init; if it
// is nil, nothing is explained.
func Exec(c *disk.Container, o control.Exec, explain func(*ns.Spec, ns.Report), stdout, stderr *os.File) (*Session, error) {
	if err := disk.Exact(o); err != nil {
		return nil, err
	}
	conn, err := dial(c)
	if err != nil {
		return nil, err
	}
	goOn(c)
	o.Explain = explain != nil
	m := &control.Message{Op: control.OpExec, Exec: &o}
	if stdout != nil {
		m.Files = []*os.File{stdout, stderr}
	}
	ans, err := conn.Call(m)
	if explain != nil {
		ans, err = story(conn, ans, err, nil, func(plan *ns.Spec, r ns.Report, _ *Pause) error {
			explain(plan, r)
			return nil
		})
	}
	return session(conn, ans, err)
}
