// The control socket is answered: one connection, one request.

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/wire"
	"tiffin/ns"
	"tiffin/ns/cgroup"
)

// listen opens the control socket and answers it until the supervisor ends.
func (s *supervisor) listen() error {
	l, err := control.Listen(s.c.Dir())
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				time.Sleep(10 * time.Millisecond) // out of descriptors, perhaps
				continue
			}
			go s.answer(c)
		}
	}()
	return nil
}

// answer serves one control connection.
func (s *supervisor) answer(c *control.Conn) {
	defer c.Close()
	m, err := c.Receive()
	if err != nil || !s.sessions.enter() {
		return // the client will see that nobody is here any more
	}
	defer s.sessions.leave()
	defer m.Close() // descriptors that no answer takes
	<-s.started
	if s.failed != nil {
		c.Fail(s.failed)
		return
	}
	switch m.Op {
	case control.OpAttach:
		s.attach(c, m)
	case control.OpExec:
		s.exec(c, m)
	case control.OpWait:
		<-s.ended
		c.Send(&control.Message{Op: control.AnsExit, Exit: s.exit})
	case control.OpSignal:
		c.Reply(s.signal(s.child, syscall.Signal(m.Signal)))
	case control.OpStop:
		s.stop(c, m)
	case control.OpFreeze:
		s.freeze(c)
	case control.OpLock:
		_ = c.Send(&control.Message{Op: control.AnsOK, Files: []*os.File{s.lock}})
	case control.OpConnect, control.OpDisconnect:
		s.change(c, m)
	case control.OpPause:
		c.Reply(s.pause())
	case control.OpUnpause:
		c.Reply(s.unpause())
	case control.OpCounts, control.OpTrace:
		if m.Trace != nil && m.Trace.Network {
			s.traceNetwork(c)
			return
		}
		if s.fs == nil {
			c.Fail(fmt.Errorf("container %s has its files unpacked: no file system of tiffin's is asked for them", s.c.Name))
			return
		}
		if m.Op == control.OpTrace {
			s.trace(c, m)
			return
		}
		c.Send(&control.Message{Op: control.AnsOK, Counts: s.fs.Counts()})
	case control.OpCopy:
		s.copy(c, m)
	default:
		c.Fail(fmt.Errorf("control connection: unknown operation %q", m.Op))
	}
}

// change has the container join or leave a network.
func (s *supervisor) change(c *control.Conn, m *control.Message) {
	var changed []control.Rewrite
	var err error
	if m.Op == control.OpConnect {
		changed, err = s.connect(m)
	} else if len(m.Networks) == 1 {
		changed, err = s.disconnect(m.Networks[0].Name)
	}
	if err != nil {
		c.Fail(err)
		return
	}
	_ = c.Send(&control.Message{Op: control.AnsOK, Names: changed})
}

// sessions counts the connections that are owed an answer, so that the
// supervisor does not end before it has given them.
type sessions struct {
	mu    sync.Mutex
	n     int
	over  bool          // no further ones
	empty chan struct{} // closed when over and n is 0
}

// enter counts a connection, unless it is too late for one.
func (s *sessions) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.n++
	}
	return !s.over
}

func (s *sessions) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n--; s.n == 0 && s.over {
		close(s.empty)
	}
}

// finish lets no more connections in and waits for the end of the others.
func (s *sessions) finish() {
	s.mu.Lock()
	s.over, s.empty = true, make(chan struct{})
	if s.n == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	<-s.empty
}

// command is a command that a client talks to: the container's first process,
// or one of exec.
type command struct {
	child *ns.Child
	io    *stdio
	out   []*os.File                     // where the client wants its output
	ended <-chan struct{}                // closed when exit is valid and all output was passed on
	exit  func() (status int, err error) // err: what the client has to know besides
	kill  bool                           // the command does not outlive its client
	first bool                           // this client has started the container, and its output is for it
}

// main is the first process, for a client that has passed the descriptors out.
func (s *supervisor) main(out []*os.File, tied bool) *command {
	return &command{child: s.child, io: s.io, out: out, ended: s.ended, exit: func() (int, error) { return s.exit, s.unrecorded }, kill: tied}
}

// outputs checks descriptors for a command's standard output and error: there are both, or none.
func outputs(files []*os.File) error {
	if n := len(files); n != 0 && n != 2 {
		return fmt.Errorf("control connection: %d descriptors for standard output and error", n)
	}
	return nil
}

// attach lets another client see what the container's first process prints.
func (s *supervisor) attach(c *control.Conn, m *control.Message) {
	if err := outputs(m.Files); err != nil {
		c.Fail(err)
		return
	}
	s.io.attach(m.Files, false)
	s.converse(c, s.main(m.Files, false))
}

// converse tells the client that its command runs, passes its signals on, and
// tells it the exit status. If the client goes without a word, a command that
// belongs to it is ended.
func (s *supervisor) converse(c *control.Conn, cmd *command) {
	ok := &control.Message{Op: control.AnsOK}
	if stdin := cmd.io.input(); stdin != nil {
		ok.Files = []*os.File{stdin}
	}
	gone := make(chan bool, 1)
	if err := c.Send(ok); err != nil {
		gone <- true
	} else {
		// The client's copy is the only one now: when it closes it, the command
		// sees the end of its input. A terminal's other side stays open.
		if (cmd.kill || cmd.first) && cmd.child.Console == nil {
			cmd.io.closeInput()
		}
		go func() { gone <- !s.listenTo(c, cmd) }()
	}
	select {
	case <-cmd.ended:
		s.conclude(c, cmd)
	case <-cmd.io.lost: // its terminal is gone, as far as the client is concerned
		s.hangUp(cmd)
		s.conclude(c, cmd)
	case lost := <-gone:
		if cmd.first { // before its files are closed, which somebody may be writing to
			close(cmd.io.left)
			_ = forgetStderr()
		}
		cmd.io.detach(cmd.out)
		if lost && cmd.kill {
			cmd.io.abandon()
			s.hangUp(cmd)
		}
	}
	for _, f := range cmd.out {
		f.Close()
	}
}

// conclude tells the client how its command has ended.
func (s *supervisor) conclude(c *control.Conn, cmd *command) {
	if err := s.reason(nil); err != nil {
		c.Fail(err)
		return
	}
	status, err := cmd.exit()
	m := &control.Message{Op: control.AnsExit, Exit: status}
	if err = errors.Join(cmd.io.failure(cmd.out), err); err != nil {
		m.Error = wire.NewError(err)
	}
	_ = c.Send(m)
}

// listenTo does what the client of a running command asks. It returns when
// the client leaves: true if it said so.
func (s *supervisor) listenTo(c *control.Conn, cmd *command) bool {
	for {
		m, err := c.Receive()
		if err != nil {
			return false
		}
		switch m.Op {
		case control.OpSignal:
			if now := time.Now(); cmd.child == s.child && syscall.Signal(m.Signal) == unix.SIGTERM {
				s.asked.Store(&now)
			}
			_ = s.signal(cmd.child, syscall.Signal(m.Signal))
		case control.OpDetach:
			return true
		}
	}
}

// exec starts a command beside the container's first process. Its output goes
// to the client alone, not into the log.
func (s *supervisor) exec(c *control.Conn, m *control.Message) {
	cmd, err := s.startExec(c, m)
	if err != nil {
		c.Fail(err)
		return
	}
	s.converse(c, cmd)
}

func (s *supervisor) startExec(c *control.Conn, m *control.Message) (*command, error) {
	o := m.Exec
	if o == nil {
		return nil, errors.New("control connection: exec of nothing")
	}
	if err := outputs(m.Files); err != nil {
		return nil, err
	}
	p := s.c.Process(s.ids)
	s.bound(&p)
	p.Args, p.Terminal, p.Rows, p.Cols = o.Args, o.TTY, o.Rows, o.Cols
	p.Env = disk.MergeEnv(s.c.Environment(o.TTY), o.Env)
	if o.Dir != "" {
		p.Cwd = o.Dir
	}
	if o.User != "" {
		p.User = o.User
	}
	io := newTerminal(nil)
	if !o.TTY {
		var err error
		if io, err = newStdio(o.Stdin, nil); err != nil {
			return nil, err
		}
	}
	io.attach(m.Files, !o.Detach)
	e := &ns.Exec{Container: s.child, IDs: s.ids, Process: p, Stdio: io.child, Without: s.c.Without, Emulate: s.emulate}
	if o.Explain {
		e.Report = s.explainExec(c, p)
	}
	child, err := s.runExec(e)
	if err != nil {
		io.close()
		return nil, s.unread(err)
	}
	io.started(child.Console)
	ended := make(chan struct{})
	cmd := &command{child: child, io: io, out: m.Files, ended: ended, kill: !o.Detach}
	var status int
	cmd.exit = func() (int, error) { return status, nil }
	go func() {
		defer close(ended)
		status, _ = child.Wait()
		// Children that it left behind may hold its output open for ever.
		io.drain(execGrace)
		child.Close()
	}()
	return cmd, nil
}

// runExec starts the command, unless the container is paused, and does not pause it meanwhile.
func (s *supervisor) runExec(e *ns.Exec) (*ns.Child, error) {
	s.paused.RLock()
	defer s.paused.RUnlock()
	if s.resume != nil {
		return nil, errs.Hint(fmt.Errorf("container %s is paused", s.c.Name), "`tiffin unpause` lets it go on")
	}
	return e.Run()
}

// explainExec returns what tells a client of the steps of an exec helper.
func (s *supervisor) explainExec(c *control.Conn, p ns.Process) func(ns.Report) {
	plan := s.c.Plan(s.ids)
	plan.Process = p
	if plan.Cgroup != nil {
		plan.Cgroup = &cgroup.Group{Dir: s.req.Cgroup, There: true}
	}
	tell := func(m *control.Message) {
		if c.Send(m) == nil {
			_, _ = c.Receive() // "next"; or the client is gone, which converse will find out
		}
	}
	tell(&control.Message{Op: control.AnsPlan, Plan: plan})
	return func(r ns.Report) { tell(&control.Message{Op: control.AnsReport, Report: &r}) }
}

// execGrace is how long the output of a command of exec is waited for when the
// command itself has ended.
const execGrace = 500 * time.Millisecond

// stop ends the container as `tiffin stop` does: its stop signal, some
// seconds, SIGKILL.
func (s *supervisor) stop(c *control.Conn, m *control.Message) {
	_ = s.signal(s.child, syscall.Signal(m.Signal))
	var timeout <-chan time.Time
	if m.Seconds >= 0 {
		timeout = time.After(time.Duration(m.Seconds) * time.Second)
	}
	select {
	case <-s.ended:
	case <-timeout:
		_ = s.child.Signal(unix.SIGKILL)
		<-s.ended
	}
	c.Send(&control.Message{Op: control.AnsExit, Exit: s.exit})
}

// freeze brings all that the container has written into its upper directory,
// and lets nothing change there until the connection ends.
func (s *supervisor) freeze(c *control.Conn) {
	if s.c.Walled() { // what the kernel has in memory is what everybody reads
		resume, err := s.still()
		if err != nil {
			c.Fail(err)
			return
		}
		defer resume()
	} else {
		if err := s.sync(); err != nil {
			c.Fail(err)
			return
		}
		s.fs.Freeze()
		defer s.fs.Thaw()
	}
	s.writeNotes() // the client will want to know which paths were made for mounts
	ok := &control.Message{Op: control.AnsOK}
	if s.c.InMemory() { // which the client does not see
		memory, err := os.Open(s.c.Memory())
		if err != nil {
			c.Fail(err)
			return
		}
		defer memory.Close()
		ok.Files = []*os.File{memory}
	}
	if c.Send(ok) == nil {
		_, _ = c.Receive()
	}
}
