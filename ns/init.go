// The process that builds the container and then becomes its command. What fails is told to the
// supervisor, and nothing of a container that could not be built is left.

package ns

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/wire"
)

// InitMain is the init process: it builds the container and becomes the command. It never returns.
func InitMain() {
	// Credentials, the parent-death signal and the exec belong to one thread.
	runtime.LockOSThread()
	_ = setComm("tiffin: init")
	b := &builder{root: -1, console: -1}
	m, err := b.configured(opBuild)
	if err == nil && m.Spec == nil {
		err = errors.New("read the configuration: there is none")
	}
	if err == nil {
		b.spec, b.proc = m.Spec, &m.Spec.Process
		if !b.spec.OwnTree() {
			b.root, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
	}
	if err == nil {
		err = b.runSteps()
	}
	b.fail(err)
}

// fail tells the supervisor why there will be no command, and ends.
func (b *builder) fail(err error) {
	if err == nil {
		err = errors.New("the command was not executed")
	}
	if b.conn != nil {
		_ = b.send(&message{Op: opError, Error: wire.NewError(err)})
	}
	os.Exit(125)
}

// runDirectory makes and enters the working directory.
func runDirectory(b *builder) error {
	cwd := b.proc.directory()
	var fd int
	var err error
	if b.joining || !b.spec.OwnTree() {
		fd, err = openIn(b.root, cwd, unix.O_PATH|unix.O_DIRECTORY, 0, inRoot)
		err = b.opened(fd, cwd, "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS", err)
	} else {
		fd, err = b.mountPoint(cwd, wantDir)
	}
	if err != nil {
		return errs.Code(errs.Hint(fmt.Errorf("working directory %s: %w", cwd, err), "give another one with -w"), 126)
	}
	defer unix.Close(fd)
	err = unix.Fchdir(fd)
	if errors.Is(err, unix.EACCES) {
		// A volume may be closed to root and open to the command's user.
		b.lateCwd = true
		return nil
	}
	return b.call(err, "fchdir(%d /* %s */)", fd, cwd)
}

// runExec becomes the command, or starts it and stays to look after it.
func runExec(b *builder) error {
	if b.spec.Idle {
		return b.idle()
	}
	b.ahead.Wait()
	env := b.environment()
	path, err := lookPath(b.proc.Args, env)
	if err != nil {
		return err
	}
	resetSignals()
	if b.spec.Explain {
		// Told before they are made: after close_range the socket would be gone.
		r := Report{N: stepNumber("exec"), Step: "exec", Calls: []string{"close_range(3, ~0U, CLOSE_RANGE_CLOEXEC)"}}
		if b.spec.leavesOut(withoutUserMap) {
			r.Calls = append(r.Calls, "clone(CLONE_NEWUSER|CLONE_VFORK|CLONE_VM|SIGCHLD) /* --without user-map */")
		}
		r.Calls = append(r.Calls, fmt.Sprintf("execve(%q, %s, /* %d variables */)", path, argv(b.proc.Args), len(env)))
		if err := b.report(&r); err != nil {
			return err
		}
	}
	if b.self > 0 {
		_ = unix.Close(b.self) // of the host's /proc; with --init this process stays
	}
	if b.root >= 0 {
		_ = unix.Close(b.root)
	}
	if err := b.send(&message{Op: opReady, Created: b.created, Notes: b.notes}); err != nil {
		return err
	}
	if b.joining {
		return b.accompany(path, env, -1)
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return &callError{"close_range(3, ~0U, CLOSE_RANGE_CLOEXEC)", err}
	}
	if b.stays() {
		return b.lookAfter(path, env)
	}
	return execError(b.proc.Args[0], syscall.Exec(path, b.proc.Args, env))
}

// idle is init without a command: the root is there as long as this process is.
func (b *builder) idle() error {
	if err := b.send(&message{Op: opReady}); err != nil {
		return err
	}
	_ = b.conn.Close() // what the supervisor takes for the start of a command
	for {
		_ = unix.Pause()
	}
}

// environment adds HOME, which stands only in /etc/passwd.
func (b *builder) environment() []string {
	for _, e := range b.proc.Env {
		if strings.HasPrefix(e, "HOME=") {
			return b.proc.Env
		}
	}
	return append(b.proc.Env[:len(b.proc.Env):len(b.proc.Env)], "HOME="+b.who.Home)
}

// defaultPath is docker's.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// searchPath is the PATH of the environment.
func searchPath(env []string) string {
	search := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	return search
}

// lookPath finds the command as a shell would, inside the container and with the command's
// own rights.
func lookPath(args, env []string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", errs.Code(errors.New("no command specified"), 125)
	}
	name := args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	search := searchPath(env)
	var denied error
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		if err := unix.Access(path, unix.X_OK); err != nil {
			denied = err
			continue
		}
		return path, nil
	}
	if denied != nil {
		return "", errs.Code(fmt.Errorf("exec: %q: %w", name, denied), 126)
	}
	return "", errs.Code(errs.Hint(fmt.Errorf("exec: %q: executable file not found in $PATH", name),
		"is it in the image? PATH is "+search), 127)
}

// execError puts a failed execve(2) into words. Exit statuses: docker-run(1), "Exit Status".
func execError(name string, err error) error {
	wrapped := fmt.Errorf("exec: %q: %w", name, err)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return errs.Code(errs.Hint(wrapped, "the file, or the interpreter its first line or its ELF header names, is not in the image"), 127)
	case errors.Is(err, unix.ENOEXEC):
		return errs.Code(errs.Hint(wrapped, "a script needs a first line such as #!/bin/sh; a program must be for this machine's architecture"), 126)
	case errors.Is(err, unix.E2BIG):
		return errs.Code(errs.Hint(wrapped, "arguments and environment are too long; execve(2), \"Limits on size\""), 126)
	}
	return errs.Code(wrapped, 126)
}

// resetSignals gives every signal its default action and unblocks all, whatever the caller of
// tiffin ignored or blocked: both survive execve(2), signal(7). Handlers do not.
func resetSignals() {
	type kernelAction struct { // struct kernel_sigaction; all zero is SIG_DFL
		handler  uintptr
		flags    uint64
		restorer uintptr
		mask     uint64
	}
	const ignored = 1 // SIG_IGN
	var old, dfl kernelAction
	for sig := uintptr(1); sig <= 64; sig++ {
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if e == 0 && old.handler == ignored {
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0)
		}
	}
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
}

// lookAfter starts the command as a child and ends with its exit status: --init. The command may
// see this process, which has no more rights than it.
func (b *builder) lookAfter(path string, env []string) error {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	sys := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if b.spec.leavesOut(withoutUserMap) {
		sys.Cloneflags = unix.CLONE_NEWUSER
	}
	if b.proc.Terminal {
		sys.Foreground = true // its own process group, in the foreground of the terminal
	} else {
		sys.Setpgid = true
	}
	// ForkExec clones in the calling thread, whose credentials, namespaces and filter the child
	// inherits.
	pid, err := syscall.ForkExec(path, b.proc.Args, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}, Sys: sys})
	if err != nil {
		return execError(b.proc.Args[0], err)
	}
	go forward(signals, pid)
	b.wait(pid)
	return nil
}

// wait closes what belongs to the command, tells that it runs, and ends with its exit status.
func (b *builder) wait(pid int) {
	for fd := range 3 { // that the command closed them must be seen by their readers
		_ = unix.Close(fd)
	}
	_ = b.conn.Close() // started: what the supervisor waits for
	os.Exit(reap(pid))
}

// forward passes signals on to the command.
func forward(signals <-chan os.Signal, pid int) {
	for s := range signals {
		switch s {
		case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGTTIN, syscall.SIGTTOU:
			// SIGURG is how Go's scheduler interrupts its own threads.
		default:
			if sig, ok := s.(syscall.Signal); ok {
				_ = unix.Kill(pid, sig)
			}
		}
	}
}

// reap waits for children until the command has ended: wait(2). PID 1 inherits every orphan.
func reap(command int) int {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 125
		case pid == command && (ws.Exited() || ws.Signaled()):
			return exitStatus(ws)
		}
	}
}

// argv writes an argument vector as strace(1) does.
func argv(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprintf("%q", a)
	}
	return "[" + strings.Join(words, ", ") + "]"
}
