// The step that loads the system call filter, which package seccomp makes.

package ns

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/ns/seccomp"
)

func skipSeccomp(b *builder) string {
	switch {
	case b.proc.NoSeccomp:
		return "asked for with --security-opt"
	case b.proc.NewPrivs || slices.Contains(b.spec.Without, "no-new-privs"):
		const why = "without no_new_privs, a filter needs CAP_SYS_ADMIN: seccomp(2), EACCES"
		b.note("system call filter", why, "")
		return why
	}
	return skipIf(!seccomp.Supported(), "tiffin has no list of system calls for "+runtime.GOARCH)
}

// runSeccomp loads the filter. With no_new_privs that is the last thing that happens: seccomp(2).
// Without, the kernel wants CAP_SYS_ADMIN, which is gone by now, because a filter could confuse a
// setuid program; so the two are left out together.
func runSeccomp(b *builder) error {
	keep, err := b.proc.capMask()
	if err != nil {
		return err
	}
	if b.spec.leavesOut(withoutUserMap) {
		keep |= 1 << unix.CAP_SYS_ADMIN // for the clone(2) with CLONE_NEWUSER that comes after it
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
