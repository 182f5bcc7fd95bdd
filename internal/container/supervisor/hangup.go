// What becomes of a command whose client is gone and which is not to outlive it.

package supervisor

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
)

// hangUpPause is how long a command may take to end after SIGHUP.
const hangUpPause = time.Second

// hangUp ends a command whose client is gone, as a terminal that is closed would, and then as
// `tiffin stop` does.
func (s *supervisor) hangUp(cmd *command) {
	sig, limit, err := s.c.HowToStop()
	if err != nil {
		sig = unix.SIGTERM
	}
	if cmd.child == s.child && !s.listens(unix.SIGHUP, sig) {
		limit = 0
	} else if _ = s.signal(cmd.child, unix.SIGHUP); !cmd.endsWithin(hangUpPause) {
		_ = s.signal(cmd.child, sig)
	}
	if !cmd.endsWithin(limit) {
		_ = cmd.child.Signal(unix.SIGKILL)
		<-cmd.ended
	}
}

// endsWithin waits for the end of a command; for ever if the limit is negative.
func (cmd *command) endsWithin(limit time.Duration) bool {
	var timeout <-chan time.Time
	if limit >= 0 {
		timeout = time.After(limit)
	}
	select {
	case <-cmd.ended:
		return true
	case <-timeout:
		return false
	}
}

// listens tells whether one of the signals reaches the container's first process, which the kernel
// gives only those that it has a handler for: pid_namespaces(7).
func (s *supervisor) listens(signals ...syscall.Signal) bool {
	s.mu.Lock()
	pid := s.state.Pid
	s.mu.Unlock()
	caught := disk.Caught(pid)
	for _, sig := range signals {
		if caught&(1<<(sig-1)) != 0 {
			return true
		}
	}
	return false
}
