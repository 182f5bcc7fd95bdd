// A process can move into a user namespace, new or old, only if it has one thread: unshare(2) and
// setns(2), "CLONE_NEWUSER". A Go program always has several. `tiffin run` makes a child for it,
// with clone(2). But unshare(1) moves the very process that the user started, whose number the
// shell knows, and then becomes the command.
//
// So this process gives up being a Go program. What there is to do is written down first, as a
// list of system calls. Then all threads but one are ended, by a signal whose handler is exit(2):
// unlike exit_group(2) it ends a thread. The one that is left walks through the list.
//
// There is no way back. Without its threads Go's runtime cannot allocate, collect garbage or
// switch goroutines, so the functions below "alone" are marked nosplit, call nothing but each
// other and system calls, and run with all signals blocked. What may have to be printed is made
// before. It is what the child in syscall.ForkExec is, less the fork.

package ns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// program is what a process does after it gave up Go; in the end it executes a command. Addresses
// are integers in it, which the garbage collector does not follow: keep holds what they refer to.
type program struct {
	render func(error) string // what to print for an error
	calls  []call
	notCmd []failure // exec failed
	paths  []uintptr // where the command may be
	argv   []uintptr
	envp   []uintptr
	keep   [][]byte

	files   unix.Rlimit
	mask    sigmask
	ours    sigaction // ends a thread
	ignore  sigaction
	byDflt  sigaction
	found   sigaction
	pause   unix.Timespec
	opened  uintptr // descriptor
	wstatus uint32
}

// sigmask is sets of blocked signals.
type sigmask struct{ all, command, parent uint64 }

// sigaction is the kernel's structure, rt_sigaction(2), as amd64 and arm64 have it.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	sigIgn     = 1          // SIG_IGN
	saOnStack  = 0x08000000 // SA_ONSTACK
	saRestorer = 0x04000000 // SA_RESTORER
	sigSetSize = 8          // bytes
	lastSignal = 64
)

// call is one system call.
type call struct {
	trap  uintptr
	args  [6]uintptr
	kind  callKind
	fails []failure
}

type callKind uint8

const (
	plainCall callKind = iota
	opensFile          // its result is the descriptor for the calls on a file that follow
	onFile             // its first argument is that descriptor
	forkCall           // the parent waits for the child and exits as it did; the child goes on
)

// failure is what to print, and how to exit, for an error number; 0 stands for all others.
type failure struct {
	errno        syscall.Errno
	text, length uintptr
	status       uintptr
}

// likely are the errors that get their own words.
var likely = []syscall.Errno{
	unix.EPERM, unix.ENOENT, unix.ESRCH, unix.E2BIG, unix.ENOEXEC, unix.EAGAIN, unix.ENOMEM, unix.EACCES, unix.EBUSY, unix.ENODEV,
	unix.ENOTDIR, unix.EISDIR, unix.EINVAL, unix.ETXTBSY, unix.ENOSPC, unix.EROFS, unix.ENOSYS, unix.ELOOP, unix.EUSERS,
}

// failures makes the words for each error: say puts it in words.
func (p *program) failures(say func(error) error, status func(syscall.Errno) uintptr) []failure {
	var fs []failure
	add := func(errno syscall.Errno, err error) {
		text := p.render(say(err))
		fs = append(fs, failure{errno, p.str(text), uintptr(len(text)), status(errno)})
	}
	for _, errno := range likely {
		add(errno, errno)
	}
	add(0, errors.New("the kernel refused it"))
	return fs
}

// add appends a system call; hint puts its errors in words, and may be nil.
func (p *program) add(kind callKind, what string, hint func(error) error, trap uintptr, args ...uintptr) {
	c := call{trap: trap, kind: kind}
	copy(c.args[:], args)
	c.fails = p.failures(func(err error) error {
		if hint != nil {
			return hint(err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}, func(syscall.Errno) uintptr { return 125 })
	p.calls = append(p.calls, c)
}

// write appends the writing of a file in /proc.
func (p *program) write(path, text string, hint func(error) error) {
	cwd := unix.AT_FDCWD
	what := fmt.Sprintf("write %q to %s", text, path)
	p.add(opensFile, what, hint, unix.SYS_OPENAT, uintptr(cwd), p.str(path), unix.O_WRONLY|unix.O_CLOEXEC)
	p.add(onFile, what, hint, unix.SYS_WRITE, 0, p.str(text), uintptr(len(text)))
	p.add(onFile, what, hint, unix.SYS_CLOSE, 0)
}

// mount appends a mount(2) without data.
func (p *program) mount(source, target, fstype string, flags uintptr, hint func(error) error) {
	what := fmt.Sprintf("mount(%q, %q, %q, %s)", source, target, fstype, mountFlags(flags))
	p.add(plainCall, what, hint, unix.SYS_MOUNT, p.str(source), p.str(target), p.str(fstype), flags, 0)
}

// fork appends a fork; with one thread it is but clone(2) with no flags.
func (p *program) fork() {
	p.add(forkCall, "fork", nil, unix.SYS_CLONE, uintptr(unix.SIGCHLD))
}

// str keeps s as a C string.
func (p *program) str(s string) uintptr {
	b := append([]byte(s), 0)
	p.keep = append(p.keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// strs keeps a list of C strings, as execve(2) wants it.
func (p *program) strs(list []string) []uintptr {
	out := make([]uintptr, 0, len(list)+1)
	for _, s := range list {
		out = append(out, p.str(s))
	}
	return append(out, 0)
}

// become gives up this process, carries out p and executes the command args, with statuses by
// docker-run(1), "Exit Status". It returns only if it could not begin.
func (p *program) become(args []string) error {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		// The first thread cannot be ended: it would stay, as a zombie that counts. execve(2) makes
		// its caller the first, "effect on process attributes"; so once more from the start.
		return syscall.Exec(selfExe, os.Args, os.Environ())
	}
	for _, path := range candidates(args[0]) {
		p.paths = append(p.paths, p.str(path))
	}
	p.argv, p.envp = p.strs(args), p.strs(os.Environ())
	p.notCmd = p.failures(func(err error) error {
		if err == unix.ENOENT && !strings.Contains(args[0], "/") {
			return fmt.Errorf("exec: %q: executable file not found in $PATH", args[0])
		}
		return fmt.Errorf("exec: %q: %w", args[0], err)
	}, func(errno syscall.Errno) uintptr {
		if errno == unix.ENOENT {
			return 127
		}
		return 126
	})
	p.restoreFiles()
	p.mask.all = ^uint64(0)
	handler := endThread
	p.ours = sigaction{handler: **(**uintptr)(unsafe.Pointer(&handler)), flags: saOnStack | saRestorer, mask: ^uint64(0)}
	p.ours.restorer = p.ours.handler // x86 insists on one; it is not reached
	p.ignore.handler = sigIgn
	p.pause.Nsec = 20_000 // 20 µs
	p.alone()
	runtime.KeepAlive(p)
	return nil
}

// candidates are the files that execvp(3) would try. They are looked for by executing them, as
// only the end of the program knows the mount namespace.
func candidates(name string) (paths []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	search := os.Getenv("PATH")
	if search == "" {
		search = defaultPath
	}
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		paths = append(paths, dir+"/"+name)
	}
	return paths
}

// restoreFiles gives the command the limit of open files that tiffin was started with. Go raises
// the limit, and keeps the old one to itself, for syscall.Exec; that of the parent process is the
// best guess.
func (p *program) restoreFiles() {
	var mine unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &mine) != nil || mine.Cur != mine.Max-1 {
		return // not raised
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", os.Getppid()))
	if err != nil {
		return
	}
	_, line, _ := strings.Cut(string(text), "Max open files")
	if _, err := fmt.Sscan(line, &p.files.Cur, &p.files.Max); err == nil && p.files.Max == mine.Max {
		p.add(plainCall, "set the limit of open files", nil, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&p.files)))
	}
}

// endThread is the signal handler.
//
//go:nosplit
//go:norace
func endThread() {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT, 0, 0, 0, 0, 0, 0)
	}
}

// alone ends the other threads and carries out the program. It does not return.
//
//go:nosplit
//go:norace
func (p *program) alone() {
	setMask(&p.mask.all, &p.mask.command)
	// SIGPROF is one of those that Go's threads never block. Sent to the process it is given to one
	// of the threads that do not block it, signal(7), "Process-directed"; so it is sent until
	// unshare(2), which takes CLONE_THREAD only from a process with one thread, says that this is
	// the last.
	setAction(uintptr(unix.SIGPROF), &p.ours)
	pid, _, _ := syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	for range 100_000 {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_UNSHARE, unix.CLONE_THREAD, 0, 0, 0, 0, 0); errno == 0 {
			break
		}
		syscall.RawSyscall6(unix.SYS_KILL, pid, uintptr(unix.SIGPROF), 0, 0, 0, 0)
		syscall.RawSyscall6(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&p.pause)), 0, 0, 0, 0, 0)
	}
	// To ignore a signal drops one that is pending: sigaction(2), NOTES. No other handler may run
	// again either; but what the user ignores, as nohup(1) does SIGHUP, stays ignored.
	setAction(uintptr(unix.SIGPROF), &p.ignore)
	setAction(uintptr(unix.SIGPROF), &p.byDflt)
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&p.found)), sigSetSize, 0, 0)
		if p.found.handler != sigIgn {
			setAction(sig, &p.byDflt)
		}
	}
	for i := range p.calls {
		p.do(&p.calls[i])
	}
	p.exec()
}

// do makes one system call.
//
//go:nosplit
//go:norace
func (p *program) do(c *call) {
	if c.kind == onFile {
		c.args[0] = p.opened
	}
	r, _, errno := syscall.RawSyscall6(c.trap, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
	switch {
	case errno != 0:
		p.fail(c.fails, errno)
	case c.kind == opensFile:
		p.opened = r
	case c.kind == forkCall && r != 0:
		p.wait(r)
	}
}

// wait is the parent's part of a fork. Like unshare(1) it leaves the signals of the terminal
// to the command, whose exit status it takes over as a shell would.
//
//go:nosplit
//go:norace
func (p *program) wait(pid uintptr) {
	p.mask.parent = p.mask.command | 1<<(unix.SIGINT-1) | 1<<(unix.SIGTERM-1)
	setMask(&p.mask.parent, nil)
	for {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, pid, uintptr(unsafe.Pointer(&p.wstatus)), 0, 0, 0, 0); errno != unix.EINTR {
			break
		}
	}
	if sig := p.wstatus & 0x7f; sig != 0 {
		exit(128 + uintptr(sig))
	}
	exit(uintptr(p.wstatus>>8) & 0xff)
}

// exec executes the command, the first that is found: exec(3), execvp.
//
//go:nosplit
//go:norace
func (p *program) exec() {
	setMask(&p.mask.command, nil)
	failed := unix.ENOENT
	for _, path := range p.paths {
		_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVE, path, uintptr(unsafe.Pointer(&p.argv[0])), uintptr(unsafe.Pointer(&p.envp[0])), 0, 0, 0)
		if errno == unix.ENOENT || errno == unix.ENOTDIR {
			continue
		}
		if errno == unix.EACCES { // of the file, or of a directory one may not look into?
			cwd := unix.AT_FDCWD
			if _, _, hidden := syscall.RawSyscall6(unix.SYS_FACCESSAT, uintptr(cwd), path, unix.F_OK, 0, 0, 0); hidden != 0 && len(p.paths) > 1 {
				continue
			}
		}
		if failed = errno; errno != unix.EACCES {
			break
		}
	}
	p.fail(p.notCmd, failed)
}

// fail prints what was prepared for an error, and exits.
//
//go:nosplit
//go:norace
func (p *program) fail(fails []failure, errno syscall.Errno) {
	for i := range fails {
		f := &fails[i]
		if f.errno == errno || f.errno == 0 {
			syscall.RawSyscall6(unix.SYS_WRITE, 2, f.text, f.length, 0, 0, 0)
			exit(f.status)
		}
	}
}

//go:nosplit
//go:norace
func exit(status uintptr) {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0)
	}
}
