// The program reads what strangers write, so it keeps only what its work needs: sockets of IP, the
// descriptors that it is given, and reading the host's resolv.conf(5).

package stack

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls that it keeps: those of the Go runtime, and those of sockets.
var calls = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_LSEEK,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MPROTECT, unix.SYS_BRK,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETEUID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETRANDOM,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
	unix.SYS_CONNECT, unix.SYS_ACCEPT4, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT,
	unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_SHUTDOWN,
}

// condition is a call that is allowed if an argument, after the mask, is one of values.
type condition struct {
	call, argument, mask uint32
	values               []uint32
}

// conditions keep abstract sockets, device files and other processes out of reach: signals to them
// (also by F_SETOWN of fcntl(2)), their limits, and new ones.
var conditions = []condition{
	{unix.SYS_TGKILL, 0, ^uint32(0), []uint32{uint32(os.Getpid())}},
	{unix.SYS_PRLIMIT64, 0, ^uint32(0), []uint32{0}},
	{unix.SYS_FCNTL, 1, ^uint32(0), []uint32{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC}},
	{unix.SYS_SOCKET, 0, ^uint32(0), []uint32{unix.AF_INET, unix.AF_INET6}},
	{unix.SYS_OPENAT, 2, unix.O_ACCMODE | unix.O_CREAT | unix.O_TRUNC, []uint32{unix.O_RDONLY}},
	{unix.SYS_CLONE, 0, unix.CLONE_THREAD, []uint32{unix.CLONE_THREAD}},
	{unix.SYS_IOCTL, 1, ^uint32(0), []uint32{unix.SIOCINQ, unix.TUNSETVNETHDRSZ, unix.TUNSETOFFLOAD}},
}

// architectures are AUDIT_ARCH_… of those for which Go has these calls: audit.h.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// seal gives the rest up, for all threads: capabilities (capset(2)), new privileges (prctl(2),
// PR_SET_NO_NEW_PRIVS) and system calls (seccomp(2), SECCOMP_FILTER_FLAG_TSYNC). What is asked for
// nevertheless is EPERM.
func seal() error {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(new([2]unix.CapUserData))), 0); errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return fmt.Errorf("give up new privileges: %w", errno)
	}
	audit, ok := architectures[runtime.GOARCH]
	if !ok {
		return nil
	}
	prog := filter(audit)
	p := &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(p)))
	if errno != 0 || thread != 0 {
		return fmt.Errorf("give up system calls: %w", errno)
	}
	return nil
}

// filter is a program for the kernel's classic BPF machine, on struct seccomp_data: seccomp(2). A
// call that is always allowed costs nothing: the kernel remembers it.
func filter(audit uint32) []unix.SockFilter {
	const (
		number, arch, arguments = 0, 4, 16 // offsets, in bytes
		allow                   = unix.SECCOMP_RET_ALLOW
		refuse                  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	ret := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	unless := func(value uint32, skip int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: uint8(skip)}
	}
	prog := []unix.SockFilter{load(arch), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: audit, Jt: 1}, ret(refuse), load(number)}
	for _, call := range calls {
		prog = append(prog, unless(call, 1), ret(allow))
	}
	for _, c := range conditions {
		// Arguments have 64 bits; what the kernel looks at of these is in the lower half.
		part := []unix.SockFilter{load(arguments + 8*c.argument), {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask}}
		for _, v := range c.values {
			part = append(part, unless(v, 1), ret(allow))
		}
		part = append(part, ret(refuse))
		prog = append(append(prog, unless(c.call, len(part))), part...)
	}
	return append(prog, ret(refuse))
}
