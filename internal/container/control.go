package container

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/ns"
)

// listen opens the control socket and answers it until the supervisor ends.
func (s *supervisor) listen() error {
	dir, err := os.Open(s.c.dir)
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	defer dir.Close()
	path := socketPath(dir)
	_ = os.Remove(path) // of an earlier run
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // its name leads through a descriptor that is closed by then
	go func() {
		for {
			sock, err := l.AcceptUnix()
			if err != nil {
				time.Sleep(10 * time.Millisecond) // out of descriptors, perhaps
				continue
			}
			go s.answer(&conn{sock: sock})
		}
	}()
	return nil
}

// answer serves one control connection.
func (s *supervisor) answer(c *conn) {
	defer c.Close()
	m, err := c.receive()
	if err != nil || !s.sessions.enter() {
		return // the client will see that nobody is here any more
	}
	defer s.sessions.leave()
	<-s.started
	if s.failed != nil {
		c.fail(s.failed)
		return
	}
	switch m.Op {
	case opAttach:
		s.attach(c, m)
	case opExec:
		s.exec(c, m)
	case opWait:
		<-s.ended
		c.send(&message{Op: ansExit, Exit: s.exit})
	case opSignal:
		s.reply(c, s.child.Signal(syscall.Signal(m.Signal)))
	case opStop:
		s.stop(c, m)
	case opFreeze:
		s.freeze(c)
	case opCounts:
		c.send(&message{Op: ansOK, Counts: s.fs.Counts()})
	case opTrace:
		s.trace(c, m)
	case opCopy:
		s.copy(c, m)
	default:
		c.fail(fmt.Errorf("control connection: unknown operation %q", m.Op))
	}
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

func (s *supervisor) reply(c *conn, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	c.send(&message{Op: ansOK})
}

// command is a command that a client talks to: the container's first process,
// or one of exec.
type command struct {
	child *ns.Child
	io    *stdio
	out   []*os.File      // where the client wants its output
	ended <-chan struct{} // closed when exit is valid and all output was passed on
	exit  func() int
	kill  bool // the command does not outlive its client
}

// main is the first process as the client sees it that has passed out.
func (s *supervisor) main(out []*os.File, owner bool) *command {
	return &command{child: s.child, io: s.io, out: out, ended: s.ended, exit: func() int { return s.exit }, kill: owner}
}

// attach lets another client see what the container's first process prints.
func (s *supervisor) attach(c *conn, m *message) {
	if len(m.files) == 2 {
		s.io.attach(m.files[0], m.files[1], false)
	}
	s.converse(c, s.main(m.files, false))
}

// converse tells the client that its command runs, passes its signals on, and
// tells it the exit status. If the client goes without a word, a command that
// belongs to it is killed.
func (s *supervisor) converse(c *conn, cmd *command) {
	ok := &message{Op: ansOK}
	if cmd.io.stdin != nil {
		ok.files = []*os.File{cmd.io.stdin}
	}
	gone := make(chan bool, 1)
	if err := c.send(ok); err != nil {
		gone <- true
	} else {
		// The client's copy is the only one now: when it closes it, the command
		// sees the end of its input. A terminal's other side stays open.
		if cmd.kill && cmd.child.Console == nil && cmd.io.stdin != nil {
			cmd.io.stdin.Close()
		}
		go func() { gone <- !s.listenTo(c, cmd) }()
	}
	select {
	case <-cmd.ended:
		c.send(&message{Op: ansExit, Exit: cmd.exit()})
	case lost := <-gone:
		if len(cmd.out) == 2 {
			cmd.io.detach(cmd.out[0], cmd.out[1])
		}
		if lost && cmd.kill {
			cmd.io.abandon()
			_ = cmd.child.Signal(unix.SIGKILL)
			<-cmd.ended
		}
	}
	for _, f := range cmd.out {
		f.Close()
	}
}

// listenTo does what the client of a running command asks. It returns when
// the client leaves: true if it said so.
func (s *supervisor) listenTo(c *conn, cmd *command) bool {
	for {
		m, err := c.receive()
		if err != nil {
			return false
		}
		switch m.Op {
		case opSignal:
			_ = cmd.child.Signal(syscall.Signal(m.Signal))
		case opDetach:
			return true
		}
	}
}

// ExecOptions describes a further command in a running container.
type ExecOptions struct {
	Args   []string `json:"args"`
	Env    []string `json:"env,omitempty"`
	Dir    string   `json:"dir,omitempty"`  // "" = the container's
	User   string   `json:"user,omitempty"` // "" = the container's
	TTY    bool     `json:"tty,omitempty"`
	Stdin  bool     `json:"stdin,omitempty"`
	Detach bool     `json:"detach,omitempty"`
	Rows   uint16   `json:"rows,omitempty"`
	Cols   uint16   `json:"cols,omitempty"`

	// Explain is told of each step of the helper, as StartOptions.Explain is of init's; nil: nothing is explained.
	Explain   func(*ns.Spec, ns.Report) `json:"-"`
	Explained bool                      `json:"explain,omitempty"` // set by Exec
}

// exec starts a command beside the container's first process. Its output goes
// to the client alone, not into the log.
func (s *supervisor) exec(c *conn, m *message) {
	cmd, err := s.startExec(c, m)
	if err != nil {
		c.fail(err)
		return
	}
	s.converse(c, cmd)
}

func (s *supervisor) startExec(c *conn, m *message) (*command, error) {
	o := m.Exec
	if o == nil {
		return nil, errors.New("control connection: exec of nothing")
	}
	p := s.c.process()
	p.Args, p.Terminal, p.Rows, p.Cols = o.Args, o.TTY, o.Rows, o.Cols
	p.Env = MergeEnv(s.c.environment(o.TTY), o.Env)
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
	if len(m.files) == 2 {
		io.attach(m.files[0], m.files[1], !o.Detach)
	}
	e := &ns.Exec{Container: s.child, IDs: s.ids, Process: p, Stdio: io.child, Without: s.c.Without}
	if o.Explained {
		e.Report = s.explainExec(c, p)
	}
	s.paused.RLock()
	child, err := e.Run()
	s.paused.RUnlock()
	if err != nil {
		io.close()
		return nil, err
	}
	io.started(child.Console)
	ended := make(chan struct{})
	cmd := &command{child: child, io: io, out: m.files, ended: ended, kill: !o.Detach}
	var status int
	cmd.exit = func() int { return status }
	go func() {
		defer close(ended)
		status, _ = child.Wait()
		// Children that it left behind may hold its output open for ever.
		io.drain(execGrace)
		child.Close()
	}()
	return cmd, nil
}

// explainExec returns what tells a client of the steps of an exec helper.
func (s *supervisor) explainExec(c *conn, p ns.Process) func(ns.Report) {
	plan := s.c.Plan(s.ids)
	plan.Process = p
	tell := func(m *message) {
		if c.send(m) == nil {
			_, _ = c.receive() // "next"; or the client is gone, which converse will find out
		}
	}
	tell(&message{Op: ansPlan, Plan: plan})
	return func(r ns.Report) { tell(&message{Op: ansReport, Report: &r}) }
}

// execGrace is how long the output of a command of exec is waited for when the
// command itself has ended.
const execGrace = 500 * time.Millisecond

// stop ends the container as `tiffin stop` does: its stop signal, some
// seconds, SIGKILL.
func (s *supervisor) stop(c *conn, m *message) {
	_ = s.child.Signal(syscall.Signal(m.Signal))
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
	c.send(&message{Op: ansExit, Exit: s.exit})
}

// freeze brings all that the container has written into its upper directory,
// and lets nothing change there until the connection ends.
func (s *supervisor) freeze(c *conn) {
	if s.c.overlay() { // what it has in memory is what everybody reads
		defer s.pause()()
	} else {
		if err := s.sync(); err != nil {
			c.fail(err)
			return
		}
		s.fs.Freeze()
		defer s.fs.Thaw()
	}
	s.writeNotes() // the client will want to know which paths were made for mounts
	if c.send(&message{Op: ansOK}) == nil {
		_, _ = c.receive()
	}
}

// SyncCommand is the name main dispatches on for the helper of sync.
const SyncCommand = "__sync"

// sync lets a helper process call syncfs(2) in the container's mount: the
// supervisor must not touch the file system that it serves itself.
func (s *supervisor) sync() error {
	s.mu.Lock()
	pid := s.state.Pid
	s.mu.Unlock()
	cmd := exec.Command("/proc/self/exe", SyncCommand, strconv.Itoa(pid))
	cmd.Args[0] = "tiffin"
	if out, err := cmd.CombinedOutput(); err != nil {
		select {
		case <-s.ended: // nothing is left to be written
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		return errs.Hint(fmt.Errorf("write out what the container has in memory: %w: %s", err, out), "see syncfs(2)")
	}
	return nil
}

// Sync is the main function of the helper: it writes out the root file system
// of process args[0], which /proc/pid/root, proc(5), opens without entering any
// namespace.
func Sync(args []string) int {
	if len(args) != 1 {
		return 2
	}
	f, err := os.Open("/proc/" + args[0] + "/root")
	if err == nil {
		err = unix.Syncfs(int(f.Fd()))
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	return 0
}
