// A tree is deleted, however deep it is.

package treecopy

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Remove is os.RemoveAll for trees of any depth: that holds a descriptor for each level, and a
// container can make directories deeper than there are descriptors (RLIMIT_NOFILE, getrlimit(2)).
// No symbolic link is followed.
func Remove(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	f := &flattener{top: os.NewFile(uintptr(fd), path)}
	defer f.top.Close()
	if err := f.empty(); err != nil {
		return fmt.Errorf("remove what is in %s: %w", path, err)
	}
	return os.Remove(path)
}

// flattener moves the directories of a tree up into its top, level by level, and removes them.
type flattener struct {
	top *os.File
	n   int // directories moved
}

func (f *flattener) empty() error {
	for {
		names, err := readNames(f.top)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := f.remove(int(f.top.Fd()), name, f.hoist); err != nil {
				return err
			}
		}
	}
}

// remove removes one entry of a directory; full is what to do with a directory that is not empty.
func (f *flattener) remove(dir int, name string, full func(name string) error) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == unix.EISDIR || err == unix.EPERM { // unlink(2): POSIX has the latter
		if err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err == unix.ENOTEMPTY || err == unix.EEXIST {
			return full(name)
		}
	}
	if err == unix.ENOENT {
		err = nil
	}
	return err
}

// hoist empties directory name of the top, whose directories become the top's, and removes it.
func (f *flattener) hoist(name string) error {
	fd, err := unix.Openat(int(f.top.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	names, err := readNames(d)
	for _, sub := range names {
		if err == nil {
			err = f.remove(fd, sub, func(string) error { return f.move(fd, sub) })
		}
	}
	if err != nil {
		return err
	}
	return unix.Unlinkat(int(f.top.Fd()), name, unix.AT_REMOVEDIR)
}

// move gives a directory a name in the top that is not taken.
func (f *flattener) move(dir int, name string) error {
	for {
		f.n++
		err := unix.Renameat2(dir, name, int(f.top.Fd()), ".remove-"+strconv.Itoa(f.n), unix.RENAME_NOREPLACE)
		if err != unix.EEXIST {
			return err
		}
	}
}

func readNames(d *os.File) ([]string, error) {
	if _, err := d.Seek(0, 0); err != nil {
		return nil, err
	}
	return d.Readdirnames(-1)
}
