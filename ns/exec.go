// What tiffin exec does: a helper joins the namespaces of a running container, and starts one
// more command in it.

package ns

import (
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/ns/cgroup"
)

// execSpec is what the helper of `tiffin exec` is told.
type execSpec struct {
	Process Process
	IDs     IDMap
	Flags   uintptr // namespaces to join
	Cgroup  *cgroup.Group
	Without []string
	Explain bool
	Until   int // > 0: do no more steps than this one, and be a shell: Shell
}

// Run starts the command in the container and returns when it has been executed, or failed to, as
// Start.Run does.
func (e *Exec) Run() (*Child, error) {
	if e.Container == nil || e.Container.pidfd == nil {
		return nil, errors.New("exec: no container")
	}
	spec := execSpec{
		Process: e.Process, IDs: e.IDs, Flags: e.Container.flags,
		Cgroup: e.Container.cgroup, Without: e.Without, Explain: e.Report != nil,
	}
	spec.Process.Rlimits = withFiles(spec.Process.Rlimits)
	return spec.run(e.Stdio, e.Container.pidfd, nil, e.Emulate, e.Report)
}

// run has a helper do what is specified, and follows it until it has executed the command.
// container is a pidfd of the container to join, nil if there is none yet; shell is the program to
// execute as a shell, nil for the command.
func (s *execSpec) run(stdio [3]*os.File, container, shell *os.File, emulate func(*Emulation) error, report func(Report)) (*Child, error) {
	c, conn, err := launch(ExecCommand, stdio, container, 0, 0)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	m := &message{Op: opJoin, Exec: s}
	for _, f := range []*os.File{container, shell} {
		if f != nil {
			m.files = append(m.files, f)
		}
	}
	if err := c.configure(conn, m); err != nil {
		c.kill()
		return nil, err
	}
	if err := c.follow(conn, &Start{Emulate: emulate, Report: report}); err != nil {
		return nil, err
	}
	return c, nil
}

// ExecMain is the helper of `tiffin exec`: it joins the container's namespaces in one thread and
// starts the command from there. It never returns.
//
// The helper itself stays outside of the pid namespace (setns concerns children only) and is
// invisible from inside. One program start is enough: namespaces, credentials, the filter and the
// table of descriptors are properties of the locked thread, and the child it clones inherits them:
// see accompany.
func ExecMain() {
	runtime.LockOSThread()
	_ = setComm("tiffin: exec")
	// The child that becomes the command is visible in the container before it does.
	// prctl(2), PR_SET_DUMPABLE keeps processes without CAP_SYS_PTRACE there from looking into it
	// (runc's CVE-2016-9962). Those with it find nothing in it but what is the container's.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	b := &builder{joining: true, root: -1, console: -1}
	m, err := b.configured(opJoin)
	if err == nil {
		err = b.join(m)
	}
	b.fail(err)
}

// join takes the steps of the helper.
func (b *builder) join(m *message) error {
	spec := m.Exec
	if spec == nil || spec.Flags != 0 && len(m.files) == 0 {
		return errors.New("read the configuration: there is none, or no container")
	}
	b.spec = &Spec{IDs: spec.IDs, Cgroup: spec.Cgroup, Without: spec.Without, Explain: spec.Explain}
	b.proc, b.joinFlags, b.until = &spec.Process, spec.Flags, spec.Until
	if spec.Flags != 0 {
		container := m.file()
		defer container.Close()
		b.pidfd = int(container.Fd())
	}
	err := b.runSteps()
	if err != nil || b.until == 0 {
		return err
	}
	shell := m.file()
	if shell == nil {
		return errors.New("read the configuration: no shell")
	}
	return b.runShell(int(shell.Fd()))
}

// whileLiving calls f, which does setns(2), again and again while it fails with ESRCH although the
// process lives. When a process of several threads executes a program, and not from its first
// thread, it is without namespaces for a moment: the first thread has ended and the other has not
// yet taken its place (the kernel's fs/exec.c, de_thread). So it is with `exec sleep` in a shell
// written in Go.
func whileLiving(pidfd int, f func() error) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		err := f()
		if !errors.Is(err, unix.ESRCH) || time.Now().After(end) {
			return err
		}
		// pidfd_open(2): readable when the process has ended.
		p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if n, e := unix.Poll(p, 0); e != nil || n > 0 {
			return err
		}
	}
}

// runJoin enters the container's namespaces.
func runJoin(b *builder) error {
	// setns(2), CLONE_NEWNS: refused if the thread shares its root and working directory with
	// others.
	if err := b.call(unix.Unshare(unix.CLONE_FS), "unshare(CLONE_FS)"); err != nil {
		return err
	}
	flags := b.joinFlags &^ unix.CLONE_NEWUSER // this process was started in it
	err := whileLiving(b.pidfd, func() error { return unix.Setns(b.pidfd, int(flags)) })
	if err := b.call(err, "setns(%d /* pidfd */, %s)", b.pidfd, cloneFlagNames(flags)); err != nil {
		return err
	}
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &callError{"open the container's root", err}
	}
	b.root = fd
	return nil
}

// accompany starts the command in the container, and ends with its exit status. The child is
// visible there before it executes the command, and with CAP_SYS_PTRACE others may then do with it
// as they like. So at the clone(2) it is nothing but a process of the container: it has the
// namespaces, the credentials and the filter of this thread, a copy of this process's memory
// (spawn), and no descriptor that is not the command's. What talks to the supervisor is another
// thread, with the table of descriptors that this one leaves. keep is a descriptor to leave open,
// or -1. Signals for the command go to itself: Child.Signal.
func (b *builder) accompany(path string, env []string, keep int) error {
	started := make(chan startedCommand)
	ready := make(chan struct{})
	go func() {
		ready <- struct{}{}
		s := <-started
		if s.err != nil {
			b.fail(execError(b.proc.Args[0], s.err))
		}
		// It is this process's child, and its number is its own until wait(2).
		pidfd, err := unix.PidfdOpen(s.pid, 0)
		if err == nil {
			// If this helper dies, the supervisor kills the command. No parent-death signal would:
			// Go takes a parent outside of the pid namespace for a dead one (getppid(2) is 0).
			err = b.send(&message{Op: opCommand}, pidfd)
			_ = unix.Close(pidfd)
		}
		if err != nil {
			_ = unix.Kill(s.pid, unix.SIGKILL)
		}
		b.wait(s.pid)
	}()
	<-ready
	// close_range(2), CLOSE_RANGE_UNSHARE: the others keep what this thread closes.
	err := closeAllBut(keep)
	if err != nil {
		started <- startedCommand{err: err}
	} else {
		var spaces uintptr
		if b.spec.leavesOut(withoutUserMap) {
			spaces = unix.CLONE_NEWUSER
		}
		s := spawn{path: path, spaces: spaces, argv: b.proc.Args, env: env, user: -1, session: true, terminal: b.proc.Terminal}
		pid, _, err := s.start()
		for fd := range 3 { // here too: see wait
			_ = unix.Close(fd)
		}
		started <- startedCommand{pid, err}
	}
	select {} // this thread is not fit for anything else
}

type startedCommand struct {
	pid int
	err error
}

// closeAllBut gives this thread a table of descriptors of its own, with 0, 1, 2 and keep in it.
func closeAllBut(keep int) error {
	const unshare = unix.CLOSE_RANGE_UNSHARE
	if keep < 3 {
		return unix.CloseRange(3, ^uint(0), unshare)
	}
	err := unix.CloseRange(uint(keep)+1, ^uint(0), unshare)
	if err == nil && keep > 3 {
		err = unix.CloseRange(3, uint(keep)-1, 0)
	}
	return err
}
