// The lock of a container says that a living process looks after it: first the
// client that makes or starts it, then its supervisor, which inherits the open
// file. It is an open file description lock, fcntl(2), "Open file
// description locks (non-POSIX)": like flock(2) it belongs to the open file,
// passes with it from process to process and is dropped by the kernel when the
// last holder is gone, however it went; unlike flock it can be asked about
// without being taken, so that `ps` never disturbs a `start`.

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

var ErrLocked = errors.New("it is in use by another tiffin command")

func wholeFile(kind int16) *unix.Flock_t {
	return &unix.Flock_t{Type: kind, Whence: io.SeekStart}
}

// acquire takes the lock at path and returns the open file that is the lock,
// or ErrLocked. flags are further ones for open(2), such as O_CREATE.
func acquire(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_WRLCK))
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, ErrLocked
	}
	err = fmt.Errorf("lock %s: %w", path, err)
	if errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		err = errs.Hint(err, "this disk has no locks: set TIFFIN_RUN_ROOT to a directory on another one; Lustre has them if mounted with -o flock")
	}
	return nil, err
}

// locked reports whether some process holds the lock at path.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	l := wholeFile(unix.F_WRLCK)
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, l) == nil && l.Type != unix.F_UNLCK
}

// Lock takes the container's lock. It fails if the container runs, or if
// another command is busy with it for more than some seconds.
func (c *Container) Lock() (*os.File, error) {
	// A supervisor that has just recorded the end needs a moment to go.
	lock, err := c.LockNow()
	for end := time.Now().Add(10 * time.Second); errors.Is(err, ErrLocked) && time.Now().Before(end); {
		if s, e := c.ReadState(); e != nil || s.Alive() {
			break
		}
		time.Sleep(2 * time.Millisecond)
		lock, err = c.LockNow()
	}
	return lock, err
}

func (c *Container) LockNow() (*os.File, error) {
	lock, err := acquire(c.Path("lock"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, c.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("lock container %s: %w", c.Name, err)
	}
	// It may have been removed between the open and the lock.
	if _, err := os.Stat(c.Path("state.json")); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w: %s", ErrNotFound, c.Name)
	}
	return lock, nil
}

// LockWithin waits up to d for the lock of a container whose supervisor was
// told to go or was killed. The kernel does not report when a lock is dropped, so
// it tries again and again.
func (c *Container) LockWithin(d time.Duration) (*os.File, error) {
	for end := time.Now().Add(d); ; time.Sleep(2 * time.Millisecond) {
		lock, err := c.LockNow()
		if !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return lock, err
		}
	}
}

// Locked tells whether a process looks after the container: a client that makes or starts it, or
// its supervisor.
func (c *Container) Locked() bool { return locked(c.Path("lock")) }

// holdName is the file that the maker of a transient container has locked.
const holdName = "hold"

// HoldTransient keeps a transient container until the file is closed, or this process ends. The
// caller has the container's lock.
func (c *Container) HoldTransient() (*os.File, error) {
	f, err := acquire(c.Path(holdName), os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("hold container %s: %w", c.Name, err)
	}
	return f, nil
}

// Adopt makes a transient container one that stays.
func (c *Container) Adopt() error {
	c.Transient = false
	if err := c.writeConfig(); err != nil {
		return fmt.Errorf("keep container %s: %w", c.Name, err)
	}
	return nil
}
