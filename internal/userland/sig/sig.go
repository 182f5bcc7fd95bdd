// Package sig gives signals their default actions, past Go's runtime.
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

// Defaults gives the signals that end or stop a process their default
// action, in place of the handlers that Go's runtime installed.
//
// SIGHUP and SIGINT stay ignored if the parent ignored them (nohup, background
// jobs); the runtime leaves them alone then. SIGTTOU, SIGTTIN and SIGTSTP are
// reset, since an interactive shell written in Go has to leave SIGTTOU ignored
// in the processes it starts (see package sh, "Job control").
func Defaults() {
	for _, s := range [...]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
		if s == unix.SIGHUP || s == unix.SIGINT {
			var old kernelSigaction
			sigaction(s, nil, &old)
			if old.handler == sigIgn {
				continue
			}
		}
		Default(s)
	}
}

// sigaction is rt_sigaction(2); it cannot fail for these signals.
func sigaction(s unix.Signal, act, old *kernelSigaction) {
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(act)),
		uintptr(unsafe.Pointer(old)), 8, 0, 0)
}
