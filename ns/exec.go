// tiffin exec: a helper joins the namespaces of a running container, and starts one more command
// in it.

package ns

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// execSpec is what the helper of `tiffin exec` is told.
type execSpec struct {
	Process Process
	IDs     IDMap
	Flags   uintptr // namespaces to join
	Without []string
	Explain bool
	Until   int // > 0: do no more steps than this one, and be a shell: Shell
	Shell   int // then: descriptor of the shell
}

// Run starts the command in the container and returns when it has been executed, or failed to, as
// Start.Run does.
func (e *Exec) Run() (*Child, error) {
	if e.Container == nil || e.Container.pidfd == nil {
		return nil, errors.New("exec: no container")
	}
	spec := execSpec{
		Process: e.Process, IDs: e.IDs, Flags: e.Container.flags,
		Without: e.Without, Explain: e.Report != nil,
	}
	c, socket, err := launch(ExecCommand, &spec, e.Stdio, []*os.File{e.Container.pidfd}, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	if err := c.follow(socket, nil, e.Report); err != nil {
		return nil, err
	}
	return c, nil
}

// ExecMain is the helper of `tiffin exec`: it joins the container's namespaces in one thread and
// starts the command from there. It never returns.
//
// The helper itself stays outside of the pid namespace (setns concerns children only) and is
// invisible from inside. One program start is enough: namespaces, credentials and the filter are
// properties of the locked thread, and the child it clones inherits them.
func ExecMain() {
	runtime.LockOSThread()
	_ = setComm("tiffin: exec")
	// The child shares this process's memory until it executes the command, while it is already
	// visible in the container. prctl(2), PR_SET_DUMPABLE: nobody there may trace it or open its
	// descriptors (runc's CVE-2016-9962).
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	var spec execSpec
	b := &builder{spec: new(Spec), joining: true, root: -1, control: controlFD, fuse: -1, console: -1}
	err := readSpec(&spec)
	if err == nil {
		b.spec.IDs, b.spec.Without, b.spec.Explain = spec.IDs, spec.Without, spec.Explain
		b.proc, b.joinFlags, b.until = &spec.Process, spec.Flags, spec.Until
		err = b.runSteps()
		if err == nil && b.until > 0 {
			err = b.runShell(spec.Shell)
		}
	}
	b.fail(err)
}

// setnsLiving is setns(2), for a process that lives. One of several threads that executes another
// program from one that is not its first is without namespaces for a moment: the first thread has
// ended and the other not yet taken its place (the kernel's fs/exec.c, de_thread). setns then
// says ESRCH, of which a shell written in Go, busy with `exec sleep`, is an example.
func setnsLiving(pidfd, flags int) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Setns(pidfd, flags)
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
	flags := b.joinFlags
	if err := b.call(setnsLiving(extraFD, int(flags)), "setns(%d /* pidfd */, %s)", extraFD, cloneFlagNames(flags)); err != nil {
		return err
	}
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &callError{"open the container's root", err}
	}
	b.root = fd
	return nil
}
