// A process has a number in each pid namespace from its own up: pid_namespaces(7). What a pidfd
// stands for has them in /proc/self/fdinfo/N: pidfd_open(2).

package ns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// HostPid returns the number that the /proc at hand gives the child. The supervisor lives in a pid
// namespace of its own, so Pid is another one.
func (c *Child) HostPid() (int, error) { return hostPid(c.pidfd) }

func hostPid(pidfd *os.File) (int, error) {
	if all := numbers(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd())); len(all) > 0 {
		return all[0], nil
	}
	return 0, errors.New("find the number of a process: /proc/self/fdinfo does not say")
}

// numbers are a process's, from the namespace of the /proc at hand down to its own.
func numbers(path string) []int { return numbersIn(status(path)["NSpid"]) }

func numbersIn(text string) (all []int) {
	for f := range strings.FieldsSeq(text) {
		n, _ := strconv.Atoi(f)
		all = append(all, n)
	}
	return all
}

// status are the lines of a file like /proc/PID/status, by what is before the colon.
func status(path string) map[string]string {
	s := map[string]string{}
	for line := range strings.Lines(readAll(path)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			s[name] = strings.TrimSpace(value)
		}
	}
	return s
}

// KillGroup kills the command and all of its process group, which has the command's number.
func (c *Child) KillGroup() {
	target := c.pidfd
	if c.command != nil {
		target = c.command
	}
	all, own := numbers(fmt.Sprintf("/proc/self/fdinfo/%d", target.Fd())), numbers("/proc/self/status")
	if n := len(own); n > 0 && n <= len(all) && all[n-1] > 1 {
		_ = unix.Kill(-all[n-1], unix.SIGKILL) // kill(2), "pid is less than -1"
	}
	_ = c.Signal(unix.SIGKILL)
}

// Killed tells whether a thread of the container, by its number in the pid namespace below this
// process's own, has got SIGKILL, and has not ended yet: proc(5), "SigPnd". A signal that ends a
// process, because it has no handler, is SIGKILL for each of its threads: complete_signal in
// kernel/signal.c.
func Killed(thread uint32) bool {
	own := len(numbers("/proc/self/status")) - 1
	all, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/status")
	for _, path := range all {
		s := status(path)
		ids, group := numbersIn(s["NSpid"]), numbersIn(s["NStgid"])
		if own < 0 || len(ids) < own+2 || len(group) < own+2 || ids[own+1] != int(thread) {
			continue
		}
		pending, err := strconv.ParseUint(s["SigPnd"], 16, 64)
		if err != nil || pending>>(unix.SIGKILL-1)&1 == 0 {
			continue
		}
		// Other containers have the same numbers: who has this one in the own namespace?
		fd, err := unix.PidfdOpen(group[own], 0)
		if err != nil {
			continue
		}
		is := numbers(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		unix.Close(fd)
		if len(is) > 0 && is[0] == group[0] {
			return true
		}
	}
	return false
}
