// The steps of a start are told to the client, which answers before the next one.

package supervisor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/ns"
)

var errGivenUp = errors.New("the start was given up")

// explain returns what tells the client of the steps of init, nil if it does not want to know. The
// client prints before it answers, and only then the next step is done: what the command prints
// comes after its explanation. If the client of a container in the background goes away, init does
// not wait for it.
func (s *supervisor) explain(c *control.Conn, spec *ns.Spec) (func(ns.Report), error) {
	if !s.req.Explain {
		return nil, nil
	}
	if err := s.tell(c, spec, &control.Message{Op: control.AnsPlan, Plan: spec}); err != nil {
		return nil, err
	}
	return func(r ns.Report) {
		if s.tell(c, spec, &control.Message{Op: control.AnsReport, Report: &r}) != nil {
			_ = s.init.Signal(unix.SIGKILL) // Run then says that it is gone
		}
	}, nil
}

// tell sends the client a message, and does what it asks for until it wants the start to go on. It
// fails if the client does not want that.
func (s *supervisor) tell(c *control.Conn, spec *ns.Spec, m *control.Message) error {
	err := c.Send(m)
	for err == nil {
		var ans *control.Message
		if ans, err = c.Receive(); err != nil {
			break
		}
		switch ans.Op {
		case control.OpNext:
			return nil
		case control.OpQuit:
			return errGivenUp
		case control.OpShell:
			c.Reply(s.shell(spec, ans))
		}
	}
	if s.req.Foreground {
		return errGivenUp // there is no client that the command would run for
	}
	return nil
}

// shell runs a shell for the client between two steps.
func (s *supervisor) shell(spec *ns.Spec, m *control.Message) error {
	if m.Shell == nil || len(m.Files) != 2 {
		return fmt.Errorf("control connection: %q without a terminal and a shell", m.Op)
	}
	defer m.Close()
	return (&ns.Shell{Program: m.Files[1], Init: s.init, Spec: spec, Done: m.Shell.Done, Env: m.Shell.Env, Args: m.Shell.Args, TTY: m.Files[0]}).Run()
}
