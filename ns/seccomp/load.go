// The filter for this process: programs that read what strangers write put it on before they do.

package seccomp

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Enter gives all threads of this process the filter that a container with these capabilities has,
// and takes away that it could execute what gives rights. A kernel without filters is left alone.
func Enter(caps uint64) error {
	// prctl(2), PR_SET_NO_NEW_PRIVS: it is about a thread, and seccomp(2) passes it on to the
	// others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if !Supported() {
		return nil
	}
	prog := Compile(caps)
	filter := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	// seccomp(2), SECCOMP_FILTER_FLAG_TSYNC.
	thread, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if e != 0 && e != unix.ENOSYS && e != unix.EINVAL {
		return e
	}
	if thread != 0 && e == 0 {
		return errors.New("a thread has another filter")
	}
	return nil
}
