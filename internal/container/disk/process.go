// A process is recognised by its number and the time of its start, because numbers are used again.

package disk

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// StartTime is when process pid was started, in clock ticks since boot, or 0
// if there is no such process. pid is a number of the /proc that is mounted.
func StartTime(pid int) uint64 {
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

// KillStale ends process pid if it is still the one that started at start.
func KillStale(pid int, start uint64) {
	if pid <= 0 || start == 0 {
		return
	}
	// The descriptor names one process for good: look first, then check.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if StartTime(pid) == start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
