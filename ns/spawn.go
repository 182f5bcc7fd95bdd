// This file starts a child that shares nothing with its parent: no memory, and no descriptor that
// it is not given.
//
// syscall.ForkExec clones with CLONE_VM. Until execve(2) such a child shares its parent's memory,
// and a process that may trace the child can change the parent. If a container's processes can see
// the child, they could take over a process outside with CAP_SYS_PTRACE. Besides, a child with
// memory of its own has one thread, and can do between clone(2) and execve(2) what a Go program
// cannot: enter a user namespace, setns(2), "User namespaces".
package ns

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spawn describes a child to be started. Between clone(2) and execve(2) it only makes system calls,
// by functions that neither grow the stack nor allocate: Go's runtime has only one thread there.
// Everything is prepared before.
type spawn struct {
	path     string
	argv     []string
	env      []string
	files    []int   // become 0, 1, 2 …; nil = what is open stays so
	user     int     // a pidfd: the child enters the user namespace of that process; -1 = it does not
	also     uintptr // further namespaces of that process to enter: CLONE_NEWNET
	below    uintptr // new namespaces, which the user namespace entered owns
	dir      string  // working directory; "" = this process's
	spaces   uintptr // new namespaces of its own: CLONE_NEWUSER
	deathSig uint64  // the signal that it gets when its parent ends
	session  bool    // it leads a session of its own
	terminal bool    // whose terminal is descriptor 0

	cpath      uintptr
	cdir       uintptr
	cargv      []uintptr
	cenv       []uintptr
	keep       [][]byte
	floor      uintptr // all files are below
	every, old uint64  // sets of signals
	byDefault  sigaction
	found      sigaction
	capHeader  *unix.CapUserHeader
	capSets    *[2]unix.CapUserData
	pidfd      int32
	result     *spawnResult // shared with the child
}

// spawnResult is what the child leaves behind if it fails. Nobody else can write it: it is neither
// a file nor a descriptor.
type spawnResult struct {
	call  uintptr // number of the system call that failed
	errno uintptr
	pid   uintptr // of the child's child, with below
}

// start returns when the child executes its program, or has failed to. The pidfd is in the table of
// descriptors of the calling thread.
func (s *spawn) start() (pid, pidfd int, err error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, -1, err
	}
	defer unix.Munmap(page)
	s.result = (*spawnResult)(unsafe.Pointer(&page[0]))
	s.prepare()
	// As ForkExec does: elsewhere a descriptor may have been made that is not marked close-on-exec
	// yet.
	syscall.ForkLock.Lock()
	runtime.LockOSThread() // signal masks belong to threads
	n, errno := s.fork()
	runtime.UnlockOSThread()
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(s)
	if errno != 0 {
		return 0, -1, os.NewSyscallError("clone", errno)
	}
	pid, pidfd = int(n), int(s.pidfd)
	second := int(s.result.pid)
	if s.result.errno == 0 && second == 0 {
		return pid, pidfd, nil
	}
	unix.Close(pidfd)
	_, _ = reapProcess(pid)
	if s.result.errno == 0 {
		pidfd, err = unix.PidfdOpen(second, 0) // it is not waited for yet, so the number is its own
		return second, pidfd, os.NewSyscallError("pidfd_open", err)
	}
	if second != 0 {
		_, _ = reapProcess(second)
	}
	failed := syscall.Errno(s.result.errno)
	switch s.result.call {
	case unix.SYS_EXECVE:
		return 0, -1, failed
	case unix.SYS_SETNS:
		return 0, -1, os.NewSyscallError("setns", failed)
	}
	return 0, -1, os.NewSyscallError("start a child", failed)
}

// prepare makes C strings, as execve(2) wants them.
func (s *spawn) prepare() {
	str := func(text string) uintptr {
		b := append([]byte(text), 0)
		s.keep = append(s.keep, b)
		return uintptr(unsafe.Pointer(&b[0]))
	}
	list := func(texts []string) []uintptr {
		out := make([]uintptr, 0, len(texts)+1)
		for _, t := range texts {
			out = append(out, str(t))
		}
		return append(out, 0)
	}
	s.cpath, s.cargv, s.cenv = str(s.path), list(s.argv), list(s.env)
	if s.dir != "" {
		s.cdir = str(s.dir)
	}
	s.every = ^uint64(0)
	s.capHeader, s.capSets = capData(1<<(lastCap+1) - 1)
	for i := range s.capSets {
		s.capSets[i].Inheritable = s.capSets[i].Permitted
	}
	s.files = append([]int(nil), s.files...)
	s.floor = uintptr(len(s.files))
	for _, fd := range s.files {
		s.floor = max(s.floor, uintptr(fd)+1)
	}
}

// fork is clone(2) without CLONE_VM. CLONE_VFORK: this thread goes on when the child has executed
// its program, or ended.
//
//go:noinline
//go:norace
func (s *spawn) fork() (pid uintptr, errno syscall.Errno) {
	setMask(&s.every, &s.old)
	const flags = unix.CLONE_VFORK | unix.CLONE_PIDFD | uintptr(unix.SIGCHLD)
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, flags|s.spaces, 0, uintptr(unsafe.Pointer(&s.pidfd)), 0, 0, 0)
	if errno == 0 && pid == 0 {
		s.child()
	}
	setMask(&s.old, nil)
	return pid, errno
}

// child does not return.
//
//go:nosplit
//go:norace
func (s *spawn) child() {
	// The handlers are Go's, and without its threads they must not run.
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&s.found)), sigSetSize, 0, 0)
		if s.found.handler != sigIgn {
			setAction(sig, &s.byDefault)
		}
	}
	if s.user >= 0 {
		s.call(unix.SYS_SETNS, uintptr(s.user), unix.CLONE_NEWUSER|s.also, 0)
		// It has all capabilities now. If its id is not 0 in there, ambient ones survive execve(2).
		s.call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(s.capHeader)), uintptr(unsafe.Pointer(s.capSets)), 0)
		for c := uintptr(0); c <= lastCap; c++ {
			s.call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c)
		}
	}
	if s.below != 0 {
		// unshare(2), CLONE_NEWPID: the caller's next child is process 1 of the new namespace.
		// CLONE_PARENT: it is a child of whoever started this one, too.
		s.call(unix.SYS_UNSHARE, s.below, 0, 0)
		if pid := s.call(unix.SYS_CLONE, unix.CLONE_VFORK|unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0); pid != 0 {
			s.result.pid = pid
			exit(0)
		}
	}
	if s.cdir != 0 {
		s.call(unix.SYS_CHDIR, s.cdir, 0, 0)
	}
	if s.deathSig != 0 { // after setns, which clears it: prctl(2), PR_SET_PDEATHSIG
		s.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(s.deathSig), 0)
	}
	if s.session {
		s.call(unix.SYS_SETSID, 0, 0, 0)
	}
	// First all of them out of the way, then each to its place. dup2(2): the new one is not closed
	// on exec.
	for i := range s.files {
		s.files[i] = int(s.call(unix.SYS_FCNTL, uintptr(s.files[i]), unix.F_DUPFD_CLOEXEC, s.floor))
	}
	for i := range s.files {
		s.call(unix.SYS_DUP3, uintptr(s.files[i]), uintptr(i), 0)
	}
	if s.terminal {
		s.call(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	}
	setMask(&s.old, nil)
	s.call(unix.SYS_EXECVE, s.cpath, uintptr(unsafe.Pointer(&s.cargv[0])), uintptr(unsafe.Pointer(&s.cenv[0])))
}

// call makes a system call in the child, which ends if that fails.
//
//go:nosplit
//go:norace
func (s *spawn) call(trap, a1, a2, a3 uintptr) uintptr {
	r, _, errno := syscall.RawSyscall6(trap, a1, a2, a3, 0, 0, 0)
	if errno != 0 {
		s.result.call, s.result.errno = trap, uintptr(errno)
		exit(127)
	}
	return r
}

// setMask sets the signals that this thread blocks: sigprocmask(2).
//
//go:nosplit
//go:norace
func setMask(set, old *uint64) {
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), sigSetSize, 0, 0)
}

// setAction sets what a signal does: sigaction(2).
//
//go:nosplit
//go:norace
func setAction(sig uintptr, a *sigaction) {
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(a)), 0, sigSetSize, 0, 0)
}
