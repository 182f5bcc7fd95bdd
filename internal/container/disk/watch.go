// Waiting for something to happen to any container: inotify(7).

package disk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Watch waits for changes of the containers of a set.
type Watch struct {
	file *os.File        // of inotify(7)
	has  map[string]bool // IDs
}

// NewWatch begins to watch. The caller closes it.
func (s *Set) NewWatch() (*Watch, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("watch the containers: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, s.dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_DELETE|unix.IN_ATTRIB)
	}
	if err != nil {
		return nil, fmt.Errorf("watch the containers in %s: %w", s.dir, err)
	}
	return &Watch{os.NewFile(uintptr(fd), "inotify"), map[string]bool{}}, nil
}

// Add watches the container's directory, too: state.json is replaced there. If it was not watched
// before, something may have happened already: look again. A container that is gone by now is none
// any more, which the next look shows.
func (w *Watch) Add(c *Container) (lookAgain bool, err error) {
	if w.has[c.ID] {
		return false, nil
	}
	w.has[c.ID] = true
	raw, err := w.file.SyscallConn()
	if err != nil {
		return false, err
	}
	e := raw.Control(func(fd uintptr) {
		_, err = unix.InotifyAddWatch(int(fd), c.dir, unix.IN_MOVED_TO)
	})
	if e != nil || err != nil && err != unix.ENOENT {
		return false, fmt.Errorf("watch container %s: %w", c.Name, err)
	}
	return true, nil
}

// Wait returns when something has happened, or after a second: a supervisor that is killed changes
// no file.
func (w *Watch) Wait() { waitChange(w.file) }

// Close ends it.
func (w *Watch) Close() error { return w.file.Close() }
