// A server is stopped at exactly the n-th system call that changes the disk, or the call is made
// to fail.

package fstest

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faults stops a server at exactly the n-th of its system calls that change
// something on disk, and kills it there or makes the call fail. It is seccomp
// user notification, seccomp_unotify(2): the server installs a filter on all
// its threads and hands the listening descriptor to the anchor, which sees
// every such call before it happens and says what becomes of it.
//
// So a crash test does not hope to hit the moment: it tries n = 1, 2, 3 … until
// the operation is through.
type faults struct {
	mu     sync.Mutex
	server *exec.Cmd
	at     int        // the call to fail; 0 = none, Exchanges = each that exchanges two names
	errno  unix.Errno // what it fails with; 0 = the server is killed instead
	seen   int        // calls since arm
	hit    bool
}

// diskCalls are the system calls that change the disk or promise that it has
// changed. openat(2) counts when it may create a file.
var diskCalls = []uint32{
	unix.SYS_OPENAT, // must be the first, see filter
	unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UNLINKAT,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_FTRUNCATE, unix.SYS_TRUNCATE, unix.SYS_FALLOCATE,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_UTIMENSAT, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE,
}

const (
	filterTsync        = 1 << 0 // SECCOMP_FILTER_FLAG_TSYNC: all threads
	filterNewListener  = 1 << 3 // SECCOMP_FILTER_FLAG_NEW_LISTENER
	filterTsyncErrno   = 1 << 4 // SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	filterWaitKillable = 1 << 5 // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Go's own signals do not repeat the call
	retUserNotif       = 0x7fc00000
	retAllow           = 0x7fff0000
)

// filter is the classic BPF program: notify for diskCalls, allow the rest.
// struct seccomp_data has nr at byte 0 and args[2] at byte 32.
func filter() []unix.SockFilter {
	n := uint8(len(diskCalls))
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for i, nr := range diskCalls {
		skip := n - uint8(i) - 1 // instructions to the end of this list
		if i == 0 {
			skip += 2 // openat goes to the test of its flags
		}
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: skip + 1, K: nr})
	}
	return append(prog,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retAllow},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retUserNotif},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA},
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 32},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 1, K: unix.O_CREAT},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retAllow},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retUserNotif},
	)
}

// listen installs the filter on every thread of this process and returns the
// descriptor on which its calls are announced.
func listen() (int, error) {
	prog := filter()
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		filterTsync|filterNewListener|filterTsyncErrno|filterWaitKillable, uintptr(unsafe.Pointer(&fprog)))
	if e != 0 {
		return -1, fmt.Errorf("seccomp(2) with a listener: %w", e)
	}
	return int(fd), nil
}

// notif and notifResp are struct seccomp_notif and struct seccomp_notif_resp.
type notif struct {
	ID         uint64
	Pid, Flags uint32
	Nr         int32
	Arch       uint32
	IP         uint64
	Args       [6]uint64
}
type notifResp struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

const (
	ioctlRecv    = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	ioctlSend    = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	flagContinue = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// watch decides about every call that the listener announces until the server is gone.
func (f *faults) watch(listener *os.File) {
	defer listener.Close()
	fd := int(listener.Fd())
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return // POLLHUP: no task uses the filter any more
		}
		var n notif
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlRecv, uintptr(unsafe.Pointer(&n))); e != 0 {
			continue // the caller has died meanwhile
		}
		r := notifResp{ID: n.ID, Flags: flagContinue}
		if kill, errno := f.decide(&n); kill {
			f.server.Process.Kill()
			continue
		} else if errno != 0 {
			r.Flags, r.Error = 0, -int32(errno)
		}
		unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlSend, uintptr(unsafe.Pointer(&r)))
	}
}

// Exchanges as the number of a call stands for every RENAME_EXCHANGE, renameat2(2).
const Exchanges = -1

func (f *faults) decide(n *notif) (kill bool, errno unix.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	exchange := f.at == Exchanges && n.Nr == unix.SYS_RENAMEAT2 && n.Args[4]&unix.RENAME_EXCHANGE != 0
	if !exchange && (f.at == 0 || f.seen != f.at) {
		return false, 0
	}
	f.hit = true
	return f.errno == 0, f.errno
}

// arm starts counting anew and reports whether the last fault happened.
func (f *faults) arm(at int, errno unix.Errno) (hit bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hit = f.hit
	f.at, f.errno, f.seen, f.hit = at, errno, 0, false
	return hit
}
