// A container is deleted.

package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
)

// Remove deletes a container that does not run. With force, one that runs is killed first; that may
// delete it, as after run --rm.
func Remove(c *disk.Container, force bool) error {
	lock, err := c.Lock()
	if errors.Is(err, disk.ErrLocked) && force {
		if err := kill(c); err != nil && !errors.Is(err, disk.ErrNotFound) {
			return err
		}
		if lock, err = c.LockWithin(10 * time.Second); errors.Is(err, disk.ErrNotFound) {
			return nil
		}
	}
	if errors.Is(err, disk.ErrLocked) {
		if s, e := c.ReadState(); e == nil && !s.Alive() {
			return err
		}
		return errs.Hint(fmt.Errorf("container %s is running", c.Name), "stop it first, or use `tiffin rm -f`")
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return c.Erase(erase)
}

// RemoveWithVolumes is Remove, also of the container's anonymous volumes that no other has.
func RemoveWithVolumes(c *disk.Container, force bool) error {
	err := Remove(c, force)
	if err == nil {
		c.Abandon(c.Set(), erase)()
	}
	return err
}

// Discard deletes a container whose lock the caller holds, and its anonymous volumes.
func Discard(c *disk.Container) error {
	err := c.Erase(erase)
	c.Abandon(c.Set(), erase)()
	return err
}

// RemoveVolume deletes a volume that no container mounts.
func RemoveVolume(s *disk.Set, name string) error {
	Sweep(s) // what is left of a container that never came to be has no say
	return s.RemoveVolume(name, erase)
}

// SweepVolumes deletes volumes of which killed commands have left a part.
func SweepVolumes(s *disk.Set) error { return s.SweepVolumes(erase) }

// Sweep deletes what killed commands have left, see disk.Set.
func Sweep(s *disk.Set) { s.Sweep(erase) }

// erase is a disk.Eraser: a helper with the container's user ids removes the directory.
func erase(c *disk.Container) error {
	return inside(c, control.OpErase, &disk.Upper{Dir: c.Dir()}, io.Discard)
}

// SweepTrees deletes the directories of the user's that images of a store, of which the store has
// no union any more, were unpacked to; one in use stays. It returns how many bytes of the disk they
// took.
func SweepTrees(images string) (freed int64, err error) {
	err = eachTree(images, func(chain, dir string) error {
		if _, err := os.Lstat(filepath.Join(images, "unions", chain)); !errors.Is(err, os.ErrNotExist) {
			return nil
		}
		n, err := askBytes(images, control.OpErase, dir) // none: one in use
		freed += n
		return err
	})
	return freed, err
}

// TreesUsage returns how many bytes of the disk the directories take that images were unpacked to,
// by the chain ID of the image's layers, in hexadecimal digits.
func TreesUsage(images string) (map[string]int64, error) {
	bytes := map[string]int64{}
	err := eachTree(images, func(chain, dir string) error {
		n, err := askBytes(images, control.OpUsage, dir)
		bytes[chain] += n
		return err
	})
	return bytes, err
}

// eachTree calls do for each directory that an image of a store was unpacked to; most stores have
// none.
func eachTree(images string, do func(chain, dir string) error) error {
	run, err := disk.RunRoot(images)
	if err != nil {
		return err
	}
	trees, _ := os.ReadDir(filepath.Join(run, "trees"))
	for _, t := range trees {
		chain, _, _ := strings.Cut(t.Name(), "-")
		err = errors.Join(err, do(chain, filepath.Join(run, "trees", t.Name())))
	}
	return err
}

// askBytes has a helper do op with a directory, which with subordinate ids only that can enter, and
// returns the number that it answers.
func askBytes(images, op, dir string) (int64, error) {
	var bytes strings.Builder
	err := insideOf(images, false, op, &disk.Upper{Dir: dir}, &bytes)
	n, _ := strconv.ParseInt(bytes.String(), 10, 64)
	return n, err
}

// RemoveBuilds deletes what builds have left in directories for RUN --mount=type=cache.
func RemoveBuilds(images string) (err error) {
	dirs, _ := filepath.Glob(filepath.Join(images, "build", "mount-*"))
	for _, dir := range dirs {
		err = errors.Join(err, RemoveTree(images, dir))
	}
	return err
}

// RemoveTree deletes a directory in which subordinate ids may have files.
func RemoveTree(images, dir string) error {
	err := treecopy.Remove(dir)
	if errors.Is(err, os.ErrPermission) {
		err = insideOf(images, false, control.OpErase, &disk.Upper{Dir: dir}, io.Discard)
	}
	return err
}

// kill ends a running container at once: through its supervisor or, if that does
// not answer, by killing the supervisor, with which the kernel kills all that is
// below it.
func kill(c *disk.Container) error {
	c.Forsake()
	err := requestWithin(c, 5*time.Second, &control.Message{Op: control.OpStop, Signal: int(unix.SIGKILL)})
	if err == nil || errors.Is(err, ErrNotRunning) || errors.Is(err, control.ErrGone) {
		return nil
	}
	return killSupervisor(c)
}

// killSupervisor ends a supervisor that does not answer, and with it its pid namespace and the
// container: pid_namespaces(7), "The namespace init process". It waits until they are gone.
func killSupervisor(c *disk.Container) error {
	s, err := c.ReadState()
	if err != nil {
		return err
	}
	disk.KillStale(s.Supervisor, s.SupervisorStart)
	for end := time.Now().Add(patience); c.Locked(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("container %s: its supervisor, process %d, does not end", c.Name, s.Supervisor)
		}
	}
	return nil
}
