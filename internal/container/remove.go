package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// Remove deletes a container that does not run. With force, one that runs is
// killed first.
func (c *Container) Remove(force bool) error {
	lock, err := c.Lock()
	if errors.Is(err, errLocked) && force {
		if err := c.kill(); err != nil {
			return err
		}
		lock, err = c.lockWithin(10 * time.Second)
	}
	if errors.Is(err, errLocked) {
		if s, e := c.readState(); e == nil && s.Status != Running {
			return err
		}
		return errs.Hint(fmt.Errorf("container %s is running", c.Name), "stop it first, or use `tiffin rm -f`")
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return c.erase()
}

// Discard deletes a container whose lock the caller holds.
func (c *Container) Discard() error { return c.erase() }

// erase deletes the container; the caller holds its lock. The name goes first,
// then the state: from then on it does not show any more, and if this process
// is killed half way the next Sweep does the rest.
func (c *Container) erase() error {
	link := filepath.Join(filepath.Dir(c.dir), c.Name)
	if id, err := os.Readlink(link); err == nil && id == c.ID {
		os.Remove(link)
	}
	os.Remove(c.path("state.json"))
	return c.removeFiles()
}

// removeFiles removes the container's directory.
func (c *Container) removeFiles() error {
	// What every container has, without asking first whether it is a directory.
	for _, name := range []string{"state.json", "control", "config.json", "lock"} {
		_ = unix.Unlink(c.path(name))
	}
	for _, name := range []string{"root", "work", "upper", ""} {
		_ = unix.Rmdir(c.path(name))
	}
	// The rest: plain files and directories of the user's own, see image/layer, no
	// symbolic link and no directory that cannot be entered.
	err := os.RemoveAll(c.dir)
	if errors.Is(err, os.ErrPermission) {
		// But if it was the kernel's overlayfs that wrote: then some may belong to subordinate ids.
		err = c.inside(opErase, &insideRequest{Dir: c.dir}, io.Discard)
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", c.Name, err)
	}
	return nil
}

// vanish is erase in two parts: the container is gone when it returns, its files
// when rest has. Nobody has to wait for the second part; if it is cut short,
// the store deletes what is left as it does any temporary.
func (c *Container) vanish() (rest func()) {
	if now, err := open(c.dir); err == nil {
		c.Name = now.Name // it may have been renamed while it ran
	}
	set := filepath.Dir(c.dir)
	link := filepath.Join(set, c.Name)
	if id, err := os.Readlink(link); err == nil && id == c.ID {
		os.Remove(link)
	}
	aside := *c
	aside.dir = filepath.Join(filepath.Dir(set), "tmp", c.ID)
	// Files of subordinate ids are nothing that the store could delete as a temporary.
	if c.overlay() || os.Rename(c.dir, aside.dir) != nil {
		_ = c.erase() // what cannot be removed now, the next Sweep meets again
		return func() {}
	}
	return func() { _ = aside.removeFiles() }
}

// Lock takes the container's lock. It fails if the container runs, or if
// another command is busy with it for more than some seconds.
func (c *Container) Lock() (*os.File, error) {
	// A supervisor that has just recorded the end needs a moment to go.
	lock, err := c.lockNow()
	for end := time.Now().Add(5 * time.Second); errors.Is(err, errLocked) && time.Now().Before(end); {
		if s, e := c.readState(); e != nil || s.Status == Running {
			break
		}
		time.Sleep(2 * time.Millisecond)
		lock, err = c.lockNow()
	}
	return lock, err
}

func (c *Container) lockNow() (*os.File, error) {
	lock, err := acquire(c.path("lock"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, c.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("lock container %s: %w", c.Name, err)
	}
	// It may have been removed between the open and the lock.
	if _, err := os.Stat(c.path("state.json")); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w: %s", ErrNotFound, c.Name)
	}
	return lock, nil
}

// lockWithin waits up to d for the lock of a container whose supervisor was
// told to go or was killed. Nothing tells when a lock is dropped, so it looks
// again and again.
func (c *Container) lockWithin(d time.Duration) (*os.File, error) {
	for end := time.Now().Add(d); ; time.Sleep(2 * time.Millisecond) {
		lock, err := c.lockNow()
		if !errors.Is(err, errLocked) || time.Now().After(end) {
			return lock, err
		}
	}
}

// kill ends a running container at once: politely by its supervisor, or, if
// that does not answer, by ending the supervisor, below which the kernel
// lets nothing live.
func (c *Container) kill() error {
	err := c.requestWithin(5*time.Second, &message{Op: opStop, Signal: int(unix.SIGKILL)})
	if err == nil || errors.Is(err, errNotRunning) || errors.Is(err, errSupervisorGone) {
		return nil
	}
	s, err := c.readState()
	if err != nil {
		return err
	}
	killStale(s.Supervisor, s.SupervisorStart)
	return nil
}

// Sweep deletes what killed commands have left: directories of containers that
// never came to be, and containers that ran with --rm and lost their
// supervisor.
func (s *Set) Sweep() {
	ids, _ := s.IDs()
	for _, id := range ids {
		dir := filepath.Join(s.dir, id)
		if _, err := os.Stat(filepath.Join(dir, "state.json")); err == nil {
			s.sweepDead(id)
			continue
		}
		lock, err := acquire(filepath.Join(dir, "lock"), 0)
		if errors.Is(err, os.ErrNotExist) {
			// Perhaps made a moment ago, and not locked yet.
			if fi, err := os.Stat(dir); err == nil && time.Since(fi.ModTime()) > time.Minute {
				os.RemoveAll(dir)
			}
			continue
		}
		if err != nil {
			continue
		}
		c := &Container{dir: dir}
		if full, err := open(dir); err == nil {
			c = full
		}
		c.ID = id
		if c.Name == "" {
			c.Name = id
		}
		c.erase()
		lock.Close()
	}
	s.sweepNames()
}

// sweepDead deletes container id if it is a dead one with --rm.
func (s *Set) sweepDead(id string) {
	c, err := s.get(id)
	if err != nil || !c.AutoRemove {
		return
	}
	lock, err := c.lockNow()
	if err != nil {
		return
	}
	defer lock.Close()
	// With the lock held State cannot judge: the file says what was last.
	if st, err := c.readState(); err == nil && st.Status != Created {
		c.erase()
	}
}

// sweepNames deletes links that lead nowhere.
func (s *Set) sweepNames() {
	ents, _ := os.ReadDir(s.dir)
	for _, e := range ents {
		if e.Type()&os.ModeSymlink == 0 {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			os.Remove(path)
		}
	}
}
