package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The lock of a container says that somebody lives who looks after it: first
// the client that makes or starts it, then its supervisor, which inherits the
// open file. It is an open file description lock, fcntl(2), "Open file
// description locks (non-POSIX)": like flock(2) it belongs to the open file,
// passes with it from process to process and is dropped by the kernel when the
// last holder is gone, however it went; unlike flock it can be asked about
// without being taken, so that `ps` never disturbs a `start`.

var errLocked = errors.New("it is in use by another tiffin command")

func wholeFile(kind int16) *unix.Flock_t {
	return &unix.Flock_t{Type: kind, Whence: io.SeekStart}
}

// acquire takes the lock at path and returns the open file that is the lock,
// or errLocked. flags are further ones for open(2), such as O_CREATE.
func acquire(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_WRLCK))
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// locked reports whether some process holds the lock at path.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	l := wholeFile(unix.F_WRLCK)
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, l) == nil && l.Type != unix.F_UNLCK
}

// startTime is when process pid was started, in clock ticks since boot, or 0
// if there is no such process. pid is a number of the /proc that is mounted.
func startTime(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// proc(5), /proc/pid/stat: field 2 is the name in parentheses and may contain
	// anything, so count from the last one; field 22 is starttime.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	f := strings.Fields(rest)
	if len(f) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(f[19], 10, 64)
	return n
}

// hostPid is the number that the mounted /proc gives the process of a pidfd:
// the supervisor lives in a pid namespace of its own, so what fork told it is
// another number. pidfd_open(2): "Pid" in /proc/self/fdinfo/N.
func hostPid(pidfd int) (int, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0, fmt.Errorf("find the number of the container's first process: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, errors.New("find the number of the container's first process: /proc/self/fdinfo does not say")
}

// killStale ends process pid if it is still the one that started at start.
func killStale(pid int, start uint64) {
	if pid <= 0 || start == 0 {
		return
	}
	// The descriptor names one process for good: look first, then check.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if startTime(pid) == start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
