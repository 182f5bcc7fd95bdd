// The end of a run: what is recorded of it, and what is taken away.

package supervisor

import (
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/wire"
)

// finish waits for the end of the container and records it.
func (s *supervisor) finish() {
	status, err := s.child.Wait()
	if err = s.reason(err); s.broken.Load() != nil {
		status = errs.CodeOf(err, 125)
	}
	if slices.Contains(s.c.Without, "pid") {
		// No pid namespace of its own ends with the command. kill(2), pid -1: all but this
		// process 1.
		_ = unix.Kill(-1, unix.SIGKILL)
	}
	if s.ports != nil {
		s.ports.Close()
	}
	s.io.drain(0)
	if s.mounts == nil {
		s.unmounted()
	}
	loss := s.io.loss()
	oom := s.leaveCgroup()
	s.mu.Lock()
	s.exit, s.state.Log = status, loss
	s.state.Paused, s.state.OOMKilled = false, oom != nil
	if status != 128+int(unix.SIGKILL) {
		oom = nil // it was another process, and the command knows
	}
	s.state.Status, s.state.ExitCode, s.state.Finished = disk.Exited, status, time.Now().UTC()
	// The supervisor stays named: until it is gone, rm -f may have to end it.
	s.state.Pid, s.state.PidStart = 0, 0
	if s.c.Again(s.state) {
		s.state.Status = disk.Restarting // the keeper goes on when this process has gone
	} else {
		s.state.Ports = nil
	}
	if err != nil {
		s.state.Error = err.Error()
	} else if oom != nil {
		s.state.Error = oom.Error()
	}
	remove := func() {}
	if s.c.AutoRemove {
		files := s.c.Vanish()
		volumes := s.c.Abandon(s.c.Set(), nil)
		remove = func() { files(); volumes() }
	} else {
		oom = errors.Join(s.c.WriteState(s.state), oom)
		_ = wire.Remove(s.c.Path("control"))
	}
	s.unrecorded = oom
	s.mu.Unlock()
	if inJob() {
		remove()
		remove = func() {}
	}
	close(s.ended)
	if s.mounts != nil {
		s.mounts.Close()
		s.unmounted()
	}
	remove()
	s.rememberIt.Do(s.remember)
}

// inJob tells whether this process is a batch system's, which kills what is left of a task as soon
// as the client has gone: then there is no time to clear up behind its back.
func inJob() bool {
	return slices.ContainsFunc([]string{"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID"}, func(name string) bool {
		return os.Getenv(name) != ""
	})
}

// unmounting is how long a file system may take to be unmounted.
const unmounting = 10 * time.Second

// unmounted waits until the container's file system is unmounted: then all data is in its
// directory.
func (s *supervisor) unmounted() {
	select {
	case <-s.served:
		if s.c.Walled() {
			s.clearWork()
		}
	case <-time.After(unmounting):
		// A process outside keeps the container's mount namespace alive.
	}
}
