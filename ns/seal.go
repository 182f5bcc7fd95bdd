// The supervisor parses what strangers wrote for as long as the container lives. So once the
// command runs, the supervisor gives up the rights that it no longer needs.

package ns

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/ns/seccomp"
)

// supervisorCalls are what the supervisor asks for beyond what its container may: it starts
// helpers from a read-only mount (readOnly), and these join the container's namespaces, with a
// keyring of their own, or look at it from the root of one of its processes.
var supervisorCalls = []uint32{unix.SYS_CLONE, unix.SYS_SETNS, unix.SYS_UNSHARE,
	unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR, unix.SYS_KEYCTL, unix.SYS_CHROOT}

// Seal takes from this process, the supervisor of a container that runs, what it needs no longer:
//
//   - New privileges: PR_SET_NO_NEW_PRIVS in prctl(2).
//   - System calls: it keeps those of the container, and supervisorCalls.
//   - Capabilities: it keeps CAP_SYS_ADMIN, for readOnly, and those of also, which are bits as in
//     capabilities(7). To signal the container's processes and to enter its user namespace it needs
//     none, because that is its own: user_namespaces(7), "Capabilities".
//
// The first two are inherited by helpers, and so by the commands of `tiffin exec`, which are to
// have what the container's first process has. Hence the supervisor loads no filter if the
// container does without, or has another one, and does not set no_new_privs if the container does
// not. A helper that enters the container's user namespace has all capabilities there again.
// Landlock would be inherited too, and forbid mount(2) to those commands, whatever capabilities
// they were given: the kernel's Documentation/userspace-api/landlock.rst, "Filesystem topology
// modification".
func (s *Spec) Seal(also uint64) error {
	filtered := !s.Process.NoSeccomp && s.Process.Seccomp == nil && !s.leavesOut("seccomp") && seccomp.Supported()
	if !s.Process.NewPrivs && !s.leavesOut("no-new-privs") {
		// prctl(2) concerns one thread. The others get it together with the filter: seccomp(2),
		// SECCOMP_FILTER_FLAG_TSYNC.
		all := syscall.AllThreadsSyscall
		if filtered {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all = syscall.RawSyscall
		}
		if _, _, errno := all(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
			return fmt.Errorf("give up new privileges: %w", errno)
		}
	}
	if filtered {
		caps, err := s.Process.capMask()
		if err == nil {
			err = loadFilter(seccomp.Compile(caps, supervisorCalls...), unix.SECCOMP_FILTER_FLAG_TSYNC)
		}
		if err != nil {
			return fmt.Errorf("give up system calls: %w", err)
		}
	}
	hdr, data := capData(1<<unix.CAP_SYS_ADMIN | also)
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)), 0)
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
