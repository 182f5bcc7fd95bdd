// The table of children: who they are, in which job, and how they ended.

package sh

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	sigs "tiffin/userland/sig"
)

// A job is a process group: the processes of one statement, or one in the
// background.
type job struct {
	id         int // %N; 0 until it is in the table
	pgid       int // 0 until its first process runs, or without job control
	procs      []*proc
	text       string
	background bool
	notified   bool // its end has been told
}

// jobTable has all children. One goroutine collects them with wait4(-1), so it
// also reaps orphans when the shell is PID 1 (pid_namespaces(7)).
type jobTable struct {
	mu    sync.Mutex
	cond  sync.Cond     // a child changed its state, or a signal came
	procs map[int]*proc // running or stopped
	list  []*job        // background and stopped jobs, by id
	fg    *job          // the job of the statement that runs
	bang  int           // $!

	collecting bool

	tty       int // descriptor of the terminal; -1 without job control
	shellPgid int
	origPgid  int // foreground group to leave behind
	modes     *unix.Termios
}

func (t *jobTable) init() {
	t.cond.L = &t.mu
	t.procs = map[int]*proc{}
	t.tty = -1
}

// takeTerminal makes the shell the leader of its own process group, in the
// foreground: credentials(7), "Process groups". Without a terminal of its own
// the shell goes without job control.
func (t *jobTable) takeTerminal(tty int) error {
	fg, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil {
		return err
	}
	// Ignored, not caught: only so may a background process use tcsetpgrp.
	signal.Ignore(syscall.SIGTTOU)
	t.origPgid = fg
	if err := unix.Setpgid(0, 0); err != nil && err != unix.EPERM { // EPERM: a session leader
		return err
	}
	t.shellPgid = unix.Getpgrp()
	if err := unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, t.shellPgid); err != nil {
		return err
	}
	t.modes, err = unix.IoctlGetTermios(tty, unix.TCGETS)
	t.tty = tty
	return err
}

// giveBackTerminal undoes takeTerminal at the end.
func (t *jobTable) giveBackTerminal() {
	if t.tty >= 0 && t.origPgid != t.shellPgid {
		unix.IoctlSetPointerInt(t.tty, unix.TIOCSPGRP, t.origPgid)
	}
}

// collect starts the goroutine that waits for children.
func (t *jobTable) collect() {
	if t.collecting {
		return
	}
	t.collecting = true
	ch := make(chan os.Signal, 1)
	sigs.Notify(ch, syscall.SIGCHLD)
	go func() {
		for range ch {
			t.reap()
		}
	}()
}

// reap takes the state changes of all children. Unknown ones are orphans that
// PID 1 inherits; to wait for them is all that is due.
func (t *jobTable) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG|syscall.WUNTRACED|syscall.WCONTINUED, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			t.cond.Broadcast()
			return
		}
		p := t.procs[pid]
		if p == nil {
			continue
		}
		switch {
		case ws.Stopped():
			p.state, p.status, p.signal = stopped, 128+int(ws.StopSignal()), ws.StopSignal()
		case ws.Continued():
			p.state = running
		case ws.Signaled():
			p.state, p.status, p.signal, p.core = done, 128+int(ws.Signal()), ws.Signal(), ws.CoreDump()
		default:
			p.state, p.status, p.signal = done, ws.ExitStatus(), 0
		}
		if p.state == done {
			delete(t.procs, pid)
		}
		if t.tty >= 0 && p.job == t.fg && !p.job.running() {
			// At once: a Ctrl-C that comes while the terminal belongs to a group
			// without processes is lost.
			unix.IoctlSetPointerInt(t.tty, unix.TIOCSPGRP, t.shellPgid)
		}
	}
}

// stopped tells whether the process was stopped rather than ended.
func (p *proc) stopped() bool { return p.state == stopped }

// fork starts a process in job j. Everything happens under the lock, so that
// the collector cannot meet a process that is not in the table yet.
func (t *jobTable) fork(path string, args []string, attr *syscall.ProcAttr, j *job) (*proc, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.collect()
	if t.tty >= 0 {
		if !slices.ContainsFunc(j.procs, func(p *proc) bool { return p.state != done }) {
			j.pgid = 0 // all gone: a new group
		}
		attr.Sys = &syscall.SysProcAttr{Setpgid: true, Pgid: j.pgid}
		if j.pgid == 0 && !j.background {
			attr.Sys.Foreground, attr.Sys.Ctty = true, t.tty
		}
	}
	pid, err := syscall.ForkExec(path, args, attr)
	if err != nil {
		if t.tty >= 0 && !j.background && j.pgid == 0 {
			unix.IoctlSetPointerInt(t.tty, unix.TIOCSPGRP, t.shellPgid)
		}
		return nil, err
	}
	if t.tty >= 0 && j.pgid == 0 {
		j.pgid = pid
	}
	p := &proc{pid: pid, job: j}
	t.procs[pid] = p
	j.procs = append(j.procs, p)
	return p, nil
}

// foreground is the job that commands belong to now.
func (t *jobTable) foreground() *job {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fg == nil {
		t.fg = &job{}
	}
	return t.fg
}

// signalForeground signals what the statement has running.
func (t *jobTable) signalForeground(sig syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fg != nil && t.fg.pgid != 0 && t.fg.running() {
		syscall.Kill(-t.fg.pgid, sig)
	}
}

// newForeground begins a statement.
func (t *jobTable) newForeground(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fg = &job{text: text}
}

func (t *jobTable) lastBackground() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bang
}

// busy tells whether children are left.
func (t *jobTable) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.procs) > 0
}

// add puts a job in the table. The lock is held.
func (t *jobTable) add(j *job) {
	j.id = 1
	if n := len(t.list); n > 0 {
		j.id = t.list[n-1].id + 1
	}
	t.list = append(t.list, j)
}

// waitForeground waits until a process ends or is stopped, and takes the
// terminal back.
func (s *shell) waitForeground(p *proc) int {
	t := &s.jobs
	t.mu.Lock()
	defer t.mu.Unlock()
	for p.state == running || p.state == stopped && t.tty < 0 {
		t.cond.Wait()
	}
	if t.tty < 0 {
		return p.status
	}
	if p.state == done && p.job.running() {
		return p.status // the rest of the pipeline still has the terminal
	}
	t.reclaim(p)
	if p.state == stopped && p.job.id == 0 {
		t.add(p.job)
		fmt.Fprintf(os.Stderr, "\n%s\n", t.line(p.job, false))
		t.fg = &job{text: p.job.text}
	}
	if p.state == done && p.signal == syscall.SIGINT {
		fmt.Fprintln(os.Stderr)
		s.interrupt() // what else the statement would do is off, too
	} else if p.state == done && p.signal != 0 && p.signal != syscall.SIGPIPE {
		fmt.Fprintln(os.Stderr, signalText(p))
	}
	return p.status
}

// reclaim gives the terminal to the shell, in the modes it had unless the
// command ended well and may have changed them on purpose (stty). The lock is
// held.
func (t *jobTable) reclaim(p *proc) {
	unix.IoctlSetPointerInt(t.tty, unix.TIOCSPGRP, t.shellPgid)
	if p.state == done && p.status == 0 {
		if m, err := unix.IoctlGetTermios(t.tty, unix.TCGETS); err == nil {
			t.modes = m
		}
	} else if t.modes != nil {
		unix.IoctlSetTermios(t.tty, unix.TCSETSW, t.modes)
	}
}

// signalText says what ended a process, in the usual words.
func signalText(p *proc) string {
	text := p.signal.String()
	text = strings.ToUpper(text[:1]) + text[1:]
	if p.core {
		text += " (core dumped)"
	}
	return text
}

// running tells whether any process of the job runs. The lock is held.
func (j *job) running() bool {
	return slices.ContainsFunc(j.procs, func(p *proc) bool { return p.state == running })
}

// state of a job: running, stopped, or done with the last process's status.
func (j *job) state() (procState, *proc) {
	last := j.procs[len(j.procs)-1]
	st := done
	for _, p := range j.procs {
		if p.state == stopped {
			return stopped, p
		}
		if p.state == running {
			st = running
		}
	}
	return st, last
}

// line is a job as "jobs" prints it. The lock is held.
func (t *jobTable) line(j *job, long bool) string {
	mark := " "
	if n := len(t.list); n > 0 && t.list[n-1] == j {
		mark = "+"
	} else if n > 1 && t.list[n-2] == j {
		mark = "-"
	}
	st, p := j.state()
	text := "Running"
	switch {
	case st == stopped:
		text = "Stopped"
	case st == done && p.signal != 0:
		text = signalText(p)
	case st == done && p.status != 0:
		text = "Exit " + strconv.Itoa(p.status)
	case st == done:
		text = "Done"
	}
	pid := ""
	if long {
		pid = strconv.Itoa(p.pid) + " "
	}
	tail := ""
	if st == running && j.background {
		tail = " &"
	}
	return fmt.Sprintf("[%d]%s  %s%-22s %s%s", j.id, mark, pid, text, j.text, tail)
}

// notify tells of background jobs that ended, before a prompt, and forgets them.
func (t *jobTable) notify() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, j := range t.list {
		if st, _ := j.state(); st == done && !j.notified {
			fmt.Fprintln(os.Stderr, t.line(j, false))
			j.notified = true
		}
	}
	t.list = slices.DeleteFunc(t.list, func(j *job) bool { return j.notified })
}

// find finds a job by "%N", "%+", "%%", "%-", "%NAME", or by a process number.
func (t *jobTable) find(spec string) (*job, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		return nil, fmt.Errorf("%s: no such job", spec)
	}
	name, isJob := strings.CutPrefix(spec, "%")
	switch {
	case spec == "" || isJob && (name == "" || name == "%" || name == "+"):
		return t.list[len(t.list)-1], nil
	case isJob && name == "-":
		return t.list[max(0, len(t.list)-2)], nil
	}
	n, err := strconv.Atoi(name)
	for _, j := range t.list {
		if err == nil && isJob && j.id == n || isJob && err != nil && strings.HasPrefix(j.text, name) {
			return j, nil
		}
		if err == nil && !isJob && slices.ContainsFunc(j.procs, func(p *proc) bool { return p.pid == n }) {
			return j, nil
		}
	}
	return nil, fmt.Errorf("%s: no such job", spec)
}
