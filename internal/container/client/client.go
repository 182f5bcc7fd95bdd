// A container is started, and asked for what its supervisor does.

package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/lazy"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/programs"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// StartOptions says how a container is started.
type StartOptions struct {
	// Stdout and Stderr are where the command's output goes. With both nil
	// the container is detached: it outlives the caller.
	Stdout, Stderr *os.File
	Rows, Cols     uint16 // size of the caller's terminal, for a container with one
	// Tied ends the container when the caller goes without a word: SIGHUP, the stop signal, and
	// SIGKILL after the stop timeout. Otherwise it goes on, detached.
	Tied bool
	// Env are further variables of the command, VAR=VALUE, that no file keeps.
	Env []string
	// Trace makes the kernel ask the file system about everything (fs.Config,
	// Uncached), and is called with each request. It needs Stdout.
	Trace *Tracing
	// Explain is told of each step of the runner when it has been done or skipped, in their
	// order, with what is built in the end. The runner waits until it returns, and gives up if
	// that is an error. nil: nothing is explained.
	Explain func(*ns.Spec, ns.Report, *Pause) error
	// StepDown allows another driver than fuse if that cannot be mounted, which only a start shows,
	// and is told which. The container must be new. nil: the driver was asked for.
	StepDown func(driver string, why error)
	// Unpacking is told how many bytes of the image are unpacked, and of how many, for drivers that
	// do that. nil: nobody is told.
	Unpacking func(done, all int64)
	// GiveUp is closed when the container is not wanted any more. Start then fails, unless it was
	// just done.
	GiveUp <-chan struct{}
	// Caught is closed when the caller hears of signals. The command does not begin before, since
	// one may come as soon as it prints something. nil: the caller does.
	Caught <-chan struct{}

	kept bool // the caller is the container's keeper
}

// Launch is a supervisor that does not know its container yet. Starting a
// process and giving it a user namespace takes some milliseconds, which the
// client uses to read its flags, to find the image and to make the container.
type Launch struct {
	root   string
	stderr *os.File
	conn   *control.Conn
	proc   *ns.UserProc
	mapped func() error // waits for the id maps
	err    error        // the others are not valid

	unpacking bool // it has said that it unpacks the image
}

// NewLaunch starts a supervisor for a container of the store at root; it waits for MapIDs. The only
// thing that a supervisor prints is the trace of a panic: for a container in the foreground it goes
// to stderr. beside is nil, or a pidfd of another supervisor, in whose user namespace it is to be.
func NewLaunch(root string, stderr, beside *os.File) *Launch {
	l := &Launch{root: root, stderr: stderr}
	var program *os.File
	if program, l.err = programs.Open(root, programs.Runtime); l.err != nil {
		return l
	}
	defer program.Close()
	u := ns.UserNS{
		Program: program, Args: []string{"tiffin", control.SupervisorCommand}, Dir: "/", Setsid: true,
		Stdio: [3]*os.File{nil, nil, stderr}, Beside: beside,
	}
	if l.proc, l.err = u.Clone(); l.err == nil {
		l.conn = &control.Conn{Conn: l.proc.Conn}
	}
	return l
}

// MapIDs lets it come up: with subordinate ids, or with a single one. It must be called once.
func (l *Launch) MapIDs(single bool) *Launch {
	if l.err == nil {
		l.mapped = l.proc.MapIDs(single)
	}
	return l
}

// ready waits until the ids are mapped.
func (l *Launch) ready() error {
	if l.err == nil {
		l.err = l.mapped()
	}
	return l.err
}

// Cancel sends the supervisor away, if it has not been given a container.
func (l *Launch) Cancel() {
	if l.ready() == nil {
		l.conn.Close()
		_, _ = l.proc.Wait()
	}
}

// Start runs the container, whose lock the caller holds, on the image m. The
// lock passes to the supervisor; the caller closes its own copy when Start
// has returned. Errors carry an exit status: 127 if the command was not
// found, 126 if it could not be executed, 125 for the rest.
//
// If Start fails, the container has not run, nobody starts it again, and nothing is left of the
// attempt but its directory.
func Start(c *disk.Container, l *Launch, lock *os.File, m *cache.Mountable, o StartOptions) (s *Session, err error) {
	if !o.kept {
		begun, e := keep(c, lock)
		if e != nil {
			if l != nil {
				l.Cancel()
			}
			return nil, errs.Code(e, 125)
		}
		defer func() {
			if err != nil { // the state on disk may still be that of one that runs
				c.Forsake()
			}
			begun()
		}()
	}
	if m.Lazy != "" {
		if err := startLazily(c, m); err != nil {
			if l != nil {
				l.Cancel()
			}
			return nil, errs.Code(err, 125)
		}
	}
	begin := func(m *cache.Mountable) (err error) {
		if l == nil {
			l = NewLaunch(c.Root(), nil, nil).MapIDs(c.SingleID)
		}
		n, err := joinNetwork(c, &l)
		if err != nil {
			return err
		}
		defer n.close()
		s, err = l.start(c, lock, m, n, o)
		l = nil // a supervisor that could not start the container has ended
		return err
	}
	err = mended(c, m, begin)
	if err != nil && errs.CodeOf(err, 125) == 125 && c.Driver == "" && o.StepDown != nil && o.Trace == nil && m.Lazy == "" {
		if driver, why := PickDriver(filepath.Dir(filepath.Dir(c.Dir())), c.SingleID, true); driver != "" {
			if err = c.SetDriver(driver); err == nil {
				o.StepDown(driver, why)
				err = begin(m)
			}
		}
	}
	if err != nil {
		return nil, errs.Code(err, errs.CodeOf(err, 125))
	}
	return s, nil
}

// startLazily sees that somebody fetches what the container is going to read. Other drivers unpack
// what is believed of layers to where every image with these has it, and need all of them.
func startLazily(c *disk.Container, m *cache.Mountable) error {
	if c.Driver != "" {
		return errs.Hint(fmt.Errorf("container %s: --driver %s needs all of its image, which %w", c.Name, c.Driver, image.ErrPulling), "`tiffin pull` waits for the rest")
	}
	return lazy.Keep(c.Root(), m.Lazy)
}

// hesitation is how long a start that is given up may take to turn out to be done: the command may
// print already, while its client has not been told yet that it runs.
const hesitation = 2 * time.Second

// start gives the supervisor its container.
func (l *Launch) start(c *disk.Container, lock *os.File, m *cache.Mountable, n *joined, o StartOptions) (*Session, error) {
	if err := l.ready(); err != nil {
		return nil, probe.Explain(err)
	}
	if o.Caught != nil {
		<-o.Caught
	}
	req := &control.Message{Op: control.OpStart, Files: []*os.File{lock}, Start: &control.Start{
		Dir: c.Dir(), Union: m.UnionPath, Flats: m.FlatPaths, Blocks: m.BlockPaths, Indexes: m.IndexPaths, Starts: m.StartPath, Rows: o.Rows, Cols: o.Cols, Foreground: o.Stdout != nil, Tied: o.Tied,
		Notes: l.proc.Notes, Explain: o.Explain != nil, Env: o.Env,
	}}
	if o.Stdout != nil {
		req.Files = append(req.Files, o.Stdout, o.Stderr)
	}
	if err := l.limit(c, req.Start); err != nil {
		l.conn.Close()
		_, _ = l.proc.Wait()
		return nil, err
	}
	var trace *reading
	if o.Trace != nil {
		r, theirs, err := o.Trace.begin()
		if err != nil {
			return nil, err
		}
		defer theirs.Close()
		req.Start.Trace, req.Files, trace = &o.Trace.Filter, append(req.Files, theirs), r
	}
	n.add(req)
	begun, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-o.GiveUp:
			select {
			case <-begun: // what has ended the patience is for the command
			case <-time.After(hesitation): // what the supervisor waits for may never come
				_ = unix.Kill(l.proc.Pid, unix.SIGKILL)
			}
		case <-begun:
		}
	}()
	s, err := l.begin(req, o)
	close(begun)
	<-watched // before the process is waited for, and its number another one's
	if err != nil {
		// Its end ends whatever it had started: nothing uses the directory then.
		status, e := l.proc.Wait()
		select {
		case <-o.GiveUp: // it was we who killed it
		default:
			if e == nil {
				err = l.lost(c, err, status)
			}
		}
		return nil, withoutDriver(c, probe.Explain(err))
	}
	s.trace, s.Notes = trace, req.Start.Notes[len(l.proc.Notes):]
	return s, nil
}

// begin asks for the start, and hands on what the supervisor reports meanwhile.
func (l *Launch) begin(req *control.Message, o StartOptions) (*Session, error) {
	ans, err := l.conn.Call(req)
	for err == nil && ans.Op == control.AnsUnpacking {
		if l.unpacking = true; o.Unpacking != nil {
			o.Unpacking(ans.Unpacked, ans.Unpacking)
		}
		ans, err = l.conn.Answer()
	}
	if o.Explain != nil {
		own := l.proc.Report()
		ans, err = story(l.conn, ans, err, &own, o.Explain)
	}
	return session(l.conn, ans, err)
}

// story hands on to explain the plan, the report of the client's own step if there is one, and the
// reports that follow. It returns the first answer that is neither plan nor report.
func story(conn *control.Conn, ans *control.Message, err error, own *ns.Report, explain func(*ns.Spec, ns.Report, *Pause) error) (*control.Message, error) {
	var plan *ns.Spec
	for err == nil {
		report := own
		if ans.Op == control.AnsPlan && ans.Plan != nil {
			plan = ans.Plan
		} else if ans.Op == control.AnsReport && ans.Report != nil && plan != nil {
			report = ans.Report
		} else {
			break
		}
		if report != nil {
			if err = explain(plan, *report, &Pause{conn, report.N}); err != nil {
				_ = conn.Send(&control.Message{Op: control.OpQuit})
				break
			}
		}
		ans, err = conn.Call(&control.Message{Op: control.OpNext})
	}
	return ans, err
}

// Suspend stops all processes of a container that runs, and Resume lets them go on.
func Suspend(c *disk.Container) error {
	_, err := request(c, &control.Message{Op: control.OpPause})
	return err
}

func Resume(c *disk.Container) error {
	_, err := request(c, &control.Message{Op: control.OpUnpause})
	return err
}

// request asks the supervisor of a running container for one thing.
func request(c *disk.Container, m *control.Message) (*control.Message, error) {
	conn, err := dial(c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Call(m)
}

// Kill sends a signal to the container's first process.
func Kill(c *disk.Container, sig syscall.Signal) error {
	if stop, _, err := c.HowToStop(); sig == unix.SIGKILL || err == nil && sig == stop {
		c.Forsake()
	}
	err := requestWithin(c, patience, &control.Message{Op: control.OpSignal, Signal: int(sig)})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if sig == unix.SIGKILL {
			return killSupervisor(c)
		}
		return errs.Hint(fmt.Errorf("container %s: its supervisor does not answer", c.Name), "`tiffin kill` without a signal ends both")
	}
	if errors.Is(err, control.ErrGone) {
		return fmt.Errorf("container %s %w", c.Name, ErrNotRunning)
	}
	if err == nil && sig == unix.SIGKILL {
		// Nothing can come in between, so wait for what is sure to happen.
		if err := requestWithin(c, patience, &control.Message{Op: control.OpWait}); errors.Is(err, os.ErrDeadlineExceeded) {
			return killSupervisor(c)
		}
	}
	return err
}

// patience is how long a supervisor may take for what should happen soon. If it is stopped
// (SIGSTOP) or stuck, it never answers.
var patience = 8 * time.Second

// Stop ends a running container: with its stop signal and, if it still runs
// after a number of seconds (negative: never; the container's own or 10
// if nil), with SIGKILL. A container that does not run is stopped already.
func Stop(c *disk.Container, seconds *int) error {
	sig, wait, err := c.HowToStop()
	if err != nil {
		return err
	}
	c.Forsake()
	if seconds != nil {
		wait = time.Duration(*seconds) * time.Second
	}
	stop := &control.Message{Op: control.OpStop, Signal: int(sig), Seconds: int(wait / time.Second)}
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if wait < 0 {
			_, err = request(c, stop)
		} else {
			err = requestWithin(c, wait+patience, stop)
		}
		if !errors.Is(err, control.ErrGone) || time.Now().After(end) {
			break
		}
		// Somebody who was about to go has hung up: a supervisor, or a keeper who starts it now.
		if s, e := c.State(); e != nil || !s.Alive() {
			break
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return killSupervisor(c)
	}
	if errors.Is(err, ErrNotRunning) || errors.Is(err, control.ErrGone) {
		return nil
	}
	return err
}

// Wait waits until the container does not run and returns its exit status.
func Wait(c *disk.Container) (int, error) {
	m, err := request(c, &control.Message{Op: control.OpWait})
	if err == nil {
		return m.Exit, nil
	}
	if !errors.Is(err, ErrNotRunning) && !errors.Is(err, control.ErrGone) {
		return 0, err
	}
	// A supervisor that is killed closes its files one by one: its lock may be held for a
	// moment after its connections are gone, and until then its container seems to run.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		s, err := c.State()
		if err != nil || s.Status != disk.Running {
			return s.ExitCode, err
		}
		if time.Now().After(end) {
			return 0, fmt.Errorf("container %s: %w, but its lock is held", c.Name, control.ErrGone)
		}
	}
}

// requestWithin is request for answers that carry nothing, with a limit.
func requestWithin(c *disk.Container, limit time.Duration, m *control.Message) error {
	conn, err := dial(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	_, err = conn.Call(m)
	return err
}
