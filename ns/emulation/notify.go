// The listener's side of seccomp_unotify(2).

package emulation

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif: a process of the container waits in a system call.
type notification struct {
	ID     uint64
	PID    uint32 // of the thread, in the pid namespace of whoever receives it
	_      uint32
	Number uint32
	Arch   uint32
	_      uint64 // instruction pointer
	Args   [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	error int32 // a negative errno
	flags uint32
}

// Requests of ioctl(2): linux/seccomp.h.
const (
	ioctlValid    = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	ioctlSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS, Linux 6.6
)

// listener is the descriptor that calls are handed over to.
type listener struct{ f *os.File }

func newListener(f *os.File) (*listener, error) {
	// Go's poller waits for it, so that no thread has to.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, err
	}
	// The process that waits and the one that answers take turns on one processor. Before Linux 6.6
	// they are woken as any two are.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return &listener{os.NewFile(uintptr(fd), "seccomp listener")}, nil
}

// receive waits for the next call. The error is io.EOF when no process has the filter any more.
func (l *listener) receive() (n notification, err error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return n, err
	}
	again := raw.Read(func(fd uintptr) bool {
		for {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			switch ready, e := unix.Poll(p, 0); {
			case e == unix.EINTR:
				continue
			case e != nil:
				err = e
				return true
			case ready == 0:
				return false
			case p[0].Revents&unix.POLLIN == 0:
				err = io.EOF
				return true
			}
			n = notification{} // EINVAL if it is not all zero
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
			switch errno {
			case 0:
				return true
			case unix.ENOENT, unix.EINTR: // the process was killed, or interrupted, meanwhile
			default:
				err = errno
				return true
			}
		}
	})
	return n, errors.Join(err, again)
}

// answer lets the process go on with a result. It may have been killed.
func (l *listener) answer(id uint64, value int64, errno unix.Errno) {
	r := response{id: id, value: value, error: -int32(errno)}
	if errno != 0 {
		r.value = 0
	}
	l.send(r)
}

// proceed lets the kernel do the call. The arguments must be in registers: what is in memory may be
// changed by then.
func (l *listener) proceed(id uint64) {
	l.send(response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (l *listener) send(r response) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	})
}

// valid tells whether the process still waits, and so whether its number still is its own.
func valid(fd uintptr, id uint64) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, ioctlValid, uintptr(unsafe.Pointer(&id)))
	return errno == 0
}

func (l *listener) valid(id uint64) (ok bool) {
	raw, err := l.f.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { ok = valid(fd, id) })
	}
	return ok
}
