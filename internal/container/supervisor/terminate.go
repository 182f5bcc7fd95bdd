// What becomes of a container when its supervisor is signalled: by somebody who ends all processes
// of a user, a job or a service, and sees no difference between them. systemd.kill(5) does that,
// and `pkill -u`; batch systems may.

package supervisor

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// withstand has this process outlive the signals that ask a program to end. It ends when the
// container has, or when whoever started it is gone.
func withstand() { signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM) }

// catch collects what SIGTERM asks this process for. The other signals are of no use to it: a
// command gets them from its client.
func (s *supervisor) catch() {
	withstand()
	s.signals = make(chan os.Signal, 1)
	signal.Notify(s.signals, unix.SIGTERM)
}

// heed does what was caught, until the process ends.
func (s *supervisor) heed() {
	for range s.signals {
		s.terminate()
	}
}

// passPause is how long the client in the foreground, which will have got the same signal, has to
// pass it on: a command may not be ready to get it twice.
const passPause = 200 * time.Millisecond

// terminate asks the container to end, as `tiffin stop` does. Whoever has sent SIGTERM decides how
// long it may take, unless the container has a limit of its own. One that would not hear of it is
// killed at once, while there is time to clear up.
func (s *supervisor) terminate() {
	sig, limit, err := s.c.HowToStop()
	if err != nil {
		sig = unix.SIGTERM
	}
	if !s.listens(sig) {
		_ = s.signal(s.child, unix.SIGKILL)
		return
	}
	if sig != unix.SIGTERM || !s.req.Foreground || !s.passed() {
		_ = s.signal(s.child, sig)
	}
	if s.c.StopTimeout != nil && limit >= 0 {
		time.AfterFunc(limit, func() { _ = s.signal(s.child, unix.SIGKILL) })
	}
}

// passed waits for the client to pass SIGTERM on, and tells whether it has.
func (s *supervisor) passed() bool {
	select {
	case <-s.ended:
		return true
	case <-time.After(passPause):
	}
	at := s.asked.Load()
	return at != nil && time.Since(*at) < 2*passPause
}
