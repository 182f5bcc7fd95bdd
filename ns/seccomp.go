// The step that loads the system call filter, which package seccomp makes.

package ns

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/ns/seccomp"
)

func skipSeccomp(b *builder) string {
	if b.proc.NoSeccomp {
		return "asked for with --security-opt"
	}
	return skipIf(!seccomp.Supported(), "tiffin has no list of system calls for "+runtime.GOARCH)
}

// runSeccomp loads the filter while this process still has CAP_SYS_ADMIN in its user namespace:
// seccomp(2), EACCES, asks for that or for no_new_privs, which the user may have switched off. The
// steps after it make only calls that the filter allows. The filter goes by the capabilities that
// the command will have.
func runSeccomp(b *builder) error {
	keep, err := b.proc.capMask()
	if err != nil {
		return err
	}
	if b.spec.leavesOut(withoutUserMap) {
		keep |= 1 << unix.CAP_SYS_ADMIN // for the clone(2) with CLONE_NEWUSER that comes after it
	}
	prog, flags := seccomp.Compile(keep), uintptr(0)
	if b.proc.Seccomp != nil {
		if prog, _, err = seccomp.CompileProfile(b.proc.Seccomp); err != nil {
			return err
		}
	}
	if b.stays() {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC // all threads of this process
	}
	return b.call(loadFilter(prog, flags), "seccomp(SECCOMP_SET_MODE_FILTER, %d, /* %d instructions */)", flags, len(prog))
}

// loadFilter makes a filter count for this thread, or for all: seccomp(2).
func loadFilter(prog []unix.SockFilter, flags uintptr) error {
	filter := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	thread, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d has another filter", thread)
	}
	return nil
}
