// Keeping a container still, for `tiffin pause` and for those who read what it has written. The
// freezer of its control group does that unseen. Where it has none, its processes are stopped as
// by Ctrl-Z at a terminal, which their parents can see, wait(2), WUNTRACED, and anybody in it can
// undo.

package supervisor

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
	"tiffin/ns/cgroup"
)

// pauseLimit is how long to wait for processes to stop. One that waits for a disk or a network
// file system stops when that has answered.
const pauseLimit = 5 * time.Second

// still stops all processes of the container until resume is called. Meanwhile there are no further
// ones by `tiffin exec`, and no `tiffin cp` is under way.
func (s *supervisor) still() (resume func(), err error) {
	s.paused.Lock()
	halted := func() {}
	if s.resume == nil {
		if halted, err = s.halt(); err != nil {
			s.paused.Unlock()
			return nil, err
		}
	}
	return func() {
		halted()
		s.paused.Unlock()
	}, nil
}

// pause stops all processes until unpause.
func (s *supervisor) pause() error {
	s.paused.Lock()
	defer s.paused.Unlock()
	if s.resume != nil {
		return fmt.Errorf("container %s is paused already", s.c.Name)
	}
	resume, err := s.halt()
	if err != nil {
		return fmt.Errorf("pause container %s: %w", s.c.Name, err)
	}
	s.resume = resume
	return s.recordPaused(true)
}

func (s *supervisor) unpause() error {
	s.paused.Lock()
	defer s.paused.Unlock()
	if s.resume == nil {
		return fmt.Errorf("container %s is not paused", s.c.Name)
	}
	s.resume()
	s.resume = nil
	return s.recordPaused(false)
}

func (s *supervisor) recordPaused(paused bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Status != disk.Running {
		return nil
	}
	s.state.Paused = paused
	return s.c.WriteState(s.state)
}

// signal sends a signal to a command. A paused container goes on then, to act on it: docker's rule.
func (s *supervisor) signal(child *ns.Child, sig syscall.Signal) error {
	err := child.Signal(sig)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Paused {
		go s.unpause() // which may have to wait for a commit
	}
	return err
}

// halt stops all processes.
func (s *supervisor) halt() (resume func(), err error) {
	if dir := s.req.Cgroup; dir != "" {
		return func() { _ = cgroup.Freeze(dir, false) }, cgroup.Freeze(dir, true)
	}
	before := map[int]bool{}
	for _, p := range s.descendants() {
		if p.stopped() {
			before[p.pid] = true // stopped by another process: it must stay so
		}
	}
	// kill(2), pid -1: all in this pid namespace but its process 1, which is the supervisor. None
	// can be missed: a fork(2) fails and is begun again while a signal is pending.
	_ = unix.Kill(-1, unix.SIGSTOP)
	for end := time.Now().Add(pauseLimit); time.Now().Before(end) && !allStopped(s.descendants()); {
		time.Sleep(time.Millisecond)
	}
	return func() {
		for _, p := range s.descendants() {
			if !before[p.pid] {
				_ = unix.Kill(p.pid, unix.SIGCONT)
			}
		}
	}, nil
}

// leaveCgroup removes the container's control group. It returns an error if the kernel has killed a
// process at the limit of memory.
func (s *supervisor) leaveCgroup() error {
	if s.req == nil || s.req.Cgroup == "" {
		return nil
	}
	dir := s.req.Cgroup
	oom, limit := cgroup.OOMKilled(dir), cgroup.UsageOf(dir).MemoryLimit
	if cgroup.Remove(dir) == nil { // if not, the next command's Sweep does it
		s.mu.Lock()
		s.state.Cgroup = ""
		s.mu.Unlock()
	}
	if !oom {
		return nil
	}
	return errs.Hint(fmt.Errorf("container %s has reached its limit of memory, %d MiB, and the kernel has killed a process of it", s.c.Name, limit>>20),
		"see --memory of `tiffin run`, and `tiffin update`")
}

// process is one of those below the supervisor.
type process struct {
	pid   int  // in the supervisor's pid namespace
	state byte // as disk.Process has it
}

func (p process) stopped() bool { return p.state == 'T' || p.state == 't' }

func allStopped(ps []process) bool {
	for _, p := range ps {
		if !p.stopped() && p.state != 'Z' && p.state != 'X' {
			return false
		}
	}
	return true
}

// descendants lists the processes of the supervisor's pid namespace but itself. The /proc that is
// mounted is the host's.
func (s *supervisor) descendants() (all []process) {
	s.mu.Lock()
	me := s.state.Supervisor
	s.mu.Unlock()
	depth := disk.Depth(me)
	for _, p := range disk.Descendants(me) {
		if len(p.Numbers) >= depth && depth > 0 {
			all = append(all, process{p.Numbers[depth-1], p.State})
		}
	}
	return all
}
