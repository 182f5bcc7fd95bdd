// A process has a number in each pid namespace from its own up: pid_namespaces(7). What a pidfd
// stands for has them in /proc/self/fdinfo/N: pidfd_open(2).

package ns

import (
	"errors"
	"fmt"
	"os"
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
func numbers(path string) (all []int) {
	for line := range strings.Lines(readAll(path)) {
		if v, ok := strings.CutPrefix(line, "NSpid:"); ok {
			for _, f := range strings.Fields(v) {
				n, _ := strconv.Atoi(f)
				all = append(all, n)
			}
		}
	}
	return all
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
