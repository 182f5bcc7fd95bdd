package container

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/ns"
)

// Pause is a start that waits after a step, for as long as StartOptions.Explain does not return.
type Pause struct {
	conn *conn
	done int // number of the step
}

// Shell runs a shell in what there is of the container, and returns when it has ended. tty is its terminal, and env
// are variables for it.
func (p *Pause) Shell(program, tty *os.File, env []string) error {
	_, err := p.conn.call(&message{Op: opShell, Shell: &shellRequest{Done: p.done, Env: env}, files: []*os.File{tty, program}})
	return err
}

// shellRequest is what the client tells the supervisor of a shell.
type shellRequest struct {
	Done int      `json:"done"`
	Env  []string `json:"env"`
}

var errGivenUp = errors.New("the start was given up")

// explain returns what tells the client of the steps of init, nil if it does not want to know.
// The client prints before it answers, and only then the next step is done: what the command
// prints comes after its explanation. If the client of a container in the background goes, init does not wait for it.
func (s *supervisor) explain(c *conn, spec *ns.Spec) (func(ns.Report), error) {
	if !s.req.Explain {
		return nil, nil
	}
	if err := s.tell(c, spec, &message{Op: ansPlan, Plan: spec}); err != nil {
		return nil, err
	}
	return func(r ns.Report) {
		if s.tell(c, spec, &message{Op: ansReport, Report: &r}) != nil {
			_ = s.init.Signal(unix.SIGKILL) // Run then says that it is gone
		}
	}, nil
}

// tell tells the client something, and does what it asks for until it wants the start to go on. The error
// is that it does not want it to.
func (s *supervisor) tell(c *conn, spec *ns.Spec, m *message) error {
	err := c.send(m)
	for err == nil {
		var ans *message
		if ans, err = c.receive(); err != nil {
			break
		}
		switch ans.Op {
		case opNext:
			return nil
		case opQuit:
			return errGivenUp
		case opShell:
			s.reply(c, s.shell(spec, ans))
		}
	}
	if s.req.Foreground {
		return errGivenUp // nobody is there for whom the command would run
	}
	return nil
}

// shell runs a shell for the client between two steps.
func (s *supervisor) shell(spec *ns.Spec, m *message) error {
	if m.Shell == nil || len(m.files) != 2 {
		return fmt.Errorf("control connection: %q without a terminal and a shell", m.Op)
	}
	defer m.files[0].Close()
	defer m.files[1].Close()
	return (&ns.Shell{Program: m.files[1], Init: s.init, Spec: spec, Done: m.Shell.Done, Env: m.Shell.Env, TTY: m.files[0]}).Run()
}
