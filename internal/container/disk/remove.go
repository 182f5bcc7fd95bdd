// A container's directory is deleted, in an order that leaves no half of it behind.

package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/treecopy"
	"tiffin/internal/wire"
	"tiffin/ns/cgroup"
)

// Eraser removes a container's directory with files of subordinate ids (subuid(5)), which only the
// kernel's overlayfs leaves there. That needs a process with those ids, and this package cannot
// start one.
type Eraser func(*Container) error

// Erase deletes the container; the caller holds its lock. The state goes first: from then on the
// container is not shown, its name is free as soon as its lock is, and if this process is killed
// half way, the next Sweep does the rest. If e is nil, files that need an Eraser stay, and Erase
// fails.
func (c *Container) Erase(e Eraser) error {
	if err := os.Remove(c.Path("state.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove container %s: %w", c.Name, err)
	}
	c.removeName()
	return c.removeFiles(e)
}

// removeName removes the link that leads from the container's name to it.
func (c *Container) removeName() {
	link := filepath.Join(filepath.Dir(c.dir), c.Name)
	if id, err := os.Readlink(link); err == nil && id == c.ID {
		os.Remove(link)
	}
}

// removeFiles removes the container's directory.
func (c *Container) removeFiles(e Eraser) error {
	// What every container has, without asking first whether it is a directory.
	_ = wire.Remove(c.Path("control"))
	for _, name := range []string{"state.json", "config.json", "lock"} {
		_ = unix.Unlink(c.Path(name))
	}
	for _, name := range []string{"root", "work", "upper", ""} {
		_ = unix.Rmdir(c.Path(name))
	}
	// The rest: plain files and directories of the user's own, see image/layer, no
	// symbolic link and no directory that cannot be entered.
	err := treecopy.Remove(c.dir)
	if errors.Is(err, os.ErrPermission) && e != nil {
		err = e(c)
	}
	if err != nil && c.onlyRenamed() && os.Rename(c.dir, c.aside()) == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", c.Name, err)
	}
	return nil
}

// aside is where the container's directory may go: the store deletes what is there as temporary.
func (c *Container) aside() string {
	return filepath.Join(filepath.Dir(filepath.Dir(c.dir)), "tmp", c.ID)
}

// onlyRenamed reports whether all that is left are names that NFS and libfuse give to deleted files
// until they are closed, as the lock is by us: RFC 1813, 4.8; they cannot be deleted (EBUSY).
func (c *Container) onlyRenamed() bool {
	left, err := os.ReadDir(c.dir)
	return err == nil && !slices.ContainsFunc(left, func(e os.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), ".nfs") && !strings.HasPrefix(e.Name(), ".fuse_hidden")
	})
}

// Vanish is Erase in two parts: the container is gone when Vanish returns, its
// files when rest has returned. No one has to wait for the second part; if it is
// cut short, the store deletes what is left as it does with temporary files.
func (c *Container) Vanish() (rest func()) {
	if now, err := Open(c.dir); err == nil {
		c.Name = now.Name // it may have been renamed while it ran
	}
	aside := *c
	aside.dir = c.aside()
	// Files of subordinate ids are nothing that the store could delete as a temporary.
	if c.Walled() || os.Rename(c.dir, aside.dir) != nil {
		_ = c.Erase(nil) // what cannot be removed now, the next Sweep meets again
		return func() {}
	}
	c.removeName()
	return func() { _ = aside.removeFiles(nil) }
}

// Sweep deletes what killed commands have left: directories of containers that
// never came to be, containers that ran with --rm and lost their
// supervisor, and transient ones whose maker is gone.
func (s *Set) Sweep(e Eraser) {
	ids, _ := s.ids()
	for _, id := range ids {
		dir := filepath.Join(s.dir, id)
		if locked(filepath.Join(dir, "lock")) {
			continue // alive, or a command is at it: with a thousand of them this is all there is time for
		}
		if _, err := os.Stat(filepath.Join(dir, "state.json")); err == nil {
			s.sweepDead(id, e)
			continue
		}
		lock, err := acquire(filepath.Join(dir, "lock"), 0)
		if errors.Is(err, os.ErrNotExist) {
			// Perhaps made a moment ago, and not locked yet.
			if fi, err := os.Stat(dir); err == nil && time.Since(fi.ModTime()) > time.Minute {
				_ = (&Container{dir: dir}).removeFiles(e)
			}
			continue
		}
		if err != nil {
			continue
		}
		c := &Container{dir: dir}
		if full, err := Open(dir); err == nil {
			c = full
		}
		c.ID = id
		if c.Name == "" {
			c.Name = id
		}
		c.Erase(e)
		c.Abandon(s, e)()
		lock.Close()
	}
	s.sweepNames()
	if s.root != s.images {
		s.sweepTmp()
	}
}

// sweepDead deletes container id if it is a dead one with --rm, and the control group of any dead
// one.
func (s *Set) sweepDead(id string, e Eraser) {
	c, err := s.get(id)
	if err != nil {
		return
	}
	// Each run has a group of its own name: if nobody holds the lock after the state was read, that
	// run is over.
	if st, err := c.ReadState(); err == nil && st.Cgroup != "" && !c.Locked() {
		_ = cgroup.Remove(st.Cgroup)
	}
	if !c.AutoRemove && (!c.Transient || locked(c.Path(holdName))) {
		return
	}
	lock, err := c.LockNow()
	if err != nil {
		return
	}
	defer lock.Close()
	// With the lock held State cannot judge: the file says what was last.
	if st, err := c.ReadState(); err == nil && st.Status != Created {
		c.Erase(e)
		c.Abandon(s, e)()
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
