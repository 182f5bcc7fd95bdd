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

// runSeccomp loads the filter. With no_new_privs that is the last thing that happens: seccomp(2).
// Without, it would need CAP_SYS_ADMIN, which is gone by now: a filter that a setuid program
// could be confused by is refused, and so the two can only be left out together.
func runSeccomp(b *builder) error {
	keep, err := b.proc.capMask()
	if err != nil {
		return err
	}
	prog := seccomp.Compile(keep)
	filter := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	flags := uintptr(0)
	if b.stays() {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC // all threads of this process
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		err = errno
	}
	return b.call(err, "seccomp(SECCOMP_SET_MODE_FILTER, %s, /* %d instructions */)", fmt.Sprint(flags), len(prog))
}
