// What is recorded of a container while it runs, for other processes to see.

package supervisor

import (
	"fmt"
	"os"
	"slices"
	"time"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// running records that the container runs, and begins to listen.
func (s *supervisor) running(first *ns.Child) error {
	host, err := first.HostPid()
	if err != nil {
		return err
	}
	me, err := os.Readlink("/proc/self") // a number of the /proc that is mounted, as host is
	if err != nil {
		return err
	}
	if s.c.AutoRemove && !s.c.Walled() {
		// To take a mount namespace apart, the kernel waits for RCU grace periods, and the last
		// process in it does not end before. Here it is not the last: what the container has
		// written is of no use to anybody then, so why should its client wait? If this cannot be
		// opened, it does.
		s.mounts, _ = os.Open(fmt.Sprintf("/proc/%d/ns/mnt", host))
	}
	s.mu.Lock()
	s.state = disk.State{Status: disk.Running, Pid: host, PidStart: disk.StartTime(host), Started: time.Now().UTC(), Made: s.state.Made, Log: s.state.Log, Restarts: s.state.Restarts, Cgroup: s.req.Cgroup, Networks: s.req.Joined, Private: s.private}
	if s.ports != nil {
		s.state.Ports = s.ports.Ports()
	}
	fmt.Sscan(me, &s.state.Supervisor)
	s.state.SupervisorStart = disk.StartTime(s.state.Supervisor)
	if s.c.Healthcheck != nil {
		err = s.c.WriteHealth(disk.Health{Status: disk.HealthStarting, Log: []disk.HealthResult{}})
	}
	if err == nil {
		err = s.c.WriteState(s.state)
	}
	if err == nil && !s.c.AutoRemove {
		err = s.c.Reserve(s.state)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.listen()
}

// notePeriod is how long what init has found out stays in memory only. To replace
// state.json can take some milliseconds (appendix B of the book), for which a
// short command, and the removal of its container, would have to wait.
const notePeriod = 100 * time.Millisecond

// note records what init could not do, and which paths it had to make. The
// client does not wait for it.
func (s *supervisor) note() {
	s.mu.Lock()
	s.state.Notes = slices.Concat(s.req.Notes, s.notes, s.child.Notes)
	for _, path := range s.child.Created {
		if !slices.Contains(s.state.Made, path) {
			s.state.Made = append(s.state.Made, path)
		}
	}
	s.unwritten = len(s.state.Notes)+len(s.state.Made) > 0
	s.mu.Unlock()
	time.AfterFunc(notePeriod, func() {
		s.writeNotes()
		s.rememberIt.Do(s.remember)
	})
}

// writeNotes lets other processes see what note has collected.
func (s *supervisor) writeNotes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwritten && s.state.Status == disk.Running {
		_ = s.c.WriteState(s.state)
	}
	s.unwritten = false
}

// damaged records that the container has met a layer which is not what it was, or is not here:
// State.Error.
func (s *supervisor) damaged(err error) {
	hint := errs.HintOf(err)
	if hint == "" {
		hint = "if the tarball is in your store, delete its directory: it is made again when it is needed; otherwise load or pull the image yourself"
	}
	err = errs.Hint(fmt.Errorf("read a file of container %s: %w", s.c.Name, err), hint)
	s.damage.Store(&err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Error = err.Error(); s.state.Status == disk.Running {
		_ = s.c.WriteState(s.state)
	}
}

// recordHealth records what the checks have found of a container that runs. Its end ends a check,
// too, which says nothing then, and may take away the directory.
func (s *supervisor) recordHealth(h disk.Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Status == disk.Running && !disk.Ending(s.state.Pid) {
		_ = s.c.WriteHealth(h) // on a full disk perhaps in vain; the next one may have room
	}
}

// recordLoss records that the log has begun to lose what the container prints.
func (s *supervisor) recordLoss() {
	loss := s.io.loss()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Status == disk.Running {
		s.state.Log = loss
		_ = s.c.WriteState(s.state) // on a full disk perhaps in vain; finish has room for it
	}
}
