// Package sig gives signals their default actions, past Go's runtime.
//
// The runtime installs handlers for most signals before any code of a program runs, and what they
// do with SIGSEGV is a traceback and exit status 2, where a C program is ended by the signal. In
// process 1 of a container the handlers are worse: the kernel discards a signal without one
// (pid_namespaces(7)), and the runtime, which cannot end itself by it, exits. So the program begins
// at an entry point of its own, if it is built with the tag entry and `-ldflags "-E
// tiffin/userland/sig.entry -checklinkname=0"`: it marks the signals in the runtime's table as ones
// to be left alone until os/signal asks for them. Without it (in tests), [Defaults] does nearly the
// same a moment later.
package sig

import (
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelSigaction is the kernel's struct sigaction on the 64-bit ports
// (amd64 has a restorer field between flags and mask, arm64 and others have
// the same layout with it unused).
type kernelSigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const (
	sigDfl = 0
	sigIgn = 1
)

// Default gives one signal its default action.
func Default(s unix.Signal) {
	sigaction(s, &kernelSigaction{handler: sigDfl}, nil)
}

// Notify is os/signal.Notify for signals that may have gone through Default: the
// runtime believes that its handler is still there and would not put it back,
// unless the signal was ignored in between.
func Notify(ch chan<- os.Signal, list ...os.Signal) {
	signal.Ignore(list...)
	signal.Notify(ch, list...)
}

// Defaults gives all signals their default action, in place of the handlers that Go's runtime
// installed, but for SIGURG and the three real-time signals that the runtime itself uses.
//
// A signal stays ignored if the parent ignored it (nohup, background jobs). SIGTTOU, SIGTTIN
// and SIGTSTP are reset, since an interactive shell written in Go has to leave SIGTTOU ignored
// in the processes it starts (see package sh, "Job control").
func Defaults() {
	if os.Getpid() == 1 {
		// Not ended by it, process 1 finds out that nobody reads: write(2), EPIPE. The runtime
		// would exit with status 2, unless the program seems to want the signal.
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	}
	for s := unix.Signal(1); s <= 64; s++ {
		switch s {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGURG, 32, 33, 34:
		case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			Default(s)
		default:
			if !Ignored(s) {
				Default(s)
			}
		}
	}
}

// Ignored tells whether a signal is ignored.
func Ignored(s unix.Signal) bool {
	var old kernelSigaction
	sigaction(s, nil, &old)
	return old.handler == sigIgn
}

// sigaction is rt_sigaction(2); it cannot fail for these signals.
func sigaction(s unix.Signal, act, old *kernelSigaction) {
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(act)),
		uintptr(unsafe.Pointer(old)), 8, 0, 0)
}
