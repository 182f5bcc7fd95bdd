// The builtins time and times: processor time of the shell and its children.

package sh

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// A timer is the state at the start of a "time" clause.
type timer struct {
	start     time.Time
	user, sys time.Duration
}

// childTimes is the processor time of all children that were waited for.
func childTimes() (user, sys time.Duration) {
	var ru unix.Rusage
	unix.Getrusage(unix.RUSAGE_CHILDREN, &ru)
	return time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())
}

// time begins or ends a "time" clause; at the end it passes the status on.
func (s *shell) time(hc interp.HandlerContext, name string) int {
	if name == "time" {
		user, sys := childTimes()
		s.timers = append(s.timers, timer{time.Now(), user, sys})
		return 0
	}
	if len(s.timers) == 0 {
		return hc.LastExitStatus
	}
	t := s.timers[len(s.timers)-1]
	s.timers = s.timers[:len(s.timers)-1]
	user, sys := childTimes()
	for i, d := range []time.Duration{time.Since(t.start), user - t.user, sys - t.sys} {
		label := []string{"real", "user", "sys"}[i]
		if name == "timed-p" {
			fmt.Fprintf(hc.Stderr, "%s %.2f\n", label, d.Seconds())
			continue
		}
		if i == 0 {
			fmt.Fprintln(hc.Stderr)
		}
		fmt.Fprintf(hc.Stderr, "%s\t%dm%.3fs\n", label, int(d.Minutes()), (d % time.Minute).Seconds())
	}
	return hc.LastExitStatus
}

func (s *shell) builtinTimes(hc interp.HandlerContext) {
	var ru unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &ru)
	user, sys := childTimes()
	show := func(a, b time.Duration) {
		fmt.Fprintf(hc.Stdout, "%dm%.3fs %dm%.3fs\n", int(a.Minutes()), (a % time.Minute).Seconds(), int(b.Minutes()), (b % time.Minute).Seconds())
	}
	show(time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano()))
	show(user, sys)
}
