// A directory of the user's as a context. Paths are opened below it, through no symbolic link.

package build

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/errs"
)

// directory is a tree of files that is open.
type directory struct {
	dir    *os.File
	name   string // its path, absolute
	opened int64  // when: nanoseconds since 1970
	*memory
}

// inode is the same for all names of a file.
type inode struct{ dev, ino uint64 }

func openDirectory(s *image.Store, dir string) (*directory, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &directory{name: abs, opened: time.Now().UnixNano(), memory: newMemory(s, abs)}
	if d.dir, err = os.OpenFile(abs, os.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return nil, fmt.Errorf("open the context: %w", err)
	}
	return d, nil
}

func (d *directory) close() error {
	d.memory.close()
	return d.dir.Close()
}

// file opens a file by a path that may lead through links.
func (d *directory) file(name string) (io.ReadCloser, error) {
	// openat2(2), RESOLVE_IN_ROOT: links are followed as if the context were "/".
	fd, err := unix.Openat2(int(d.dir.Fd()), name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path.Join(d.name, name), Err: err}
	}
	return regular(fd, name)
}

// regular makes a file of a descriptor, if it is one.
func regular(fd int, name string) (*os.File, error) {
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openat opens what is at a path, through no link: openat2(2), RESOLVE_BENEATH.
func (d *directory) openat(name string, flags uint64) (int, error) {
	fd, err := unix.Openat2(int(d.dir.Fd()), path.Clean("./"+name), &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func (d *directory) stat(name string) (*file, error) {
	fd, err := d.openat(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	f := &file{mode: st.Mode, size: st.Size, mtime: time.Unix(st.Mtim.Unix()), ctime: st.Ctim.Nano(), inode: inode{st.Dev, st.Ino}}
	f.linked = !f.isDir() && st.Nlink > 1
	if f.is(unix.S_IFLNK) {
		// readlinkat(2): of the link that the descriptor is for.
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil {
			return nil, &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		f.target = string(buf[:n])
	}
	return f, nil
}

func (d *directory) list(name string) ([]string, error) {
	fd, err := d.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d *directory) open(name string) (io.ReadCloser, error) {
	fd, err := d.openat(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return regular(fd, name)
}

// young is how old a change must be for a file to be taken for unchanged later, in nanoseconds: the
// kernel's clock for ctime ticks every few milliseconds, that of a file server less often.
var young = int64(2 * time.Second) // tests have no time

// sum reads the file that stat has described, unless it is as it was when it was read before.
func (d *directory) sum(name string, f *file) (string, error) {
	now := version{size: f.size, mtime: f.mtime.UnixNano(), ctime: f.ctime, ino: f.inode.ino}
	if was, sum := d.recall(name); was == now {
		return sum, nil
	}
	r, err := d.open(name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := solid(r.(*os.File)); err != nil {
		return "", err
	}
	sum, err := sumOfReader(r)
	if err == nil && d.opened-now.ctime > young && d.opened-now.mtime > young {
		d.learn(name, now, sum)
	}
	return sum, err
}

// maxHoles is how much of a file may be holes, in bytes. A layer has them as zeros, which would be
// digested, compressed and inflated for a long time.
const maxHoles = 1 << 30

// solid refuses a file that is mostly holes.
func solid(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	holes := st.Size - st.Blocks*512 // inode(7): st_blocks counts 512 bytes
	if holes <= maxHoles {
		return nil
	}
	// lseek(2), SEEK_HOLE: a file without holes has one at its end. It may be compressed by the
	// file system.
	if at, err := f.Seek(0, unix.SEEK_HOLE); err == nil && at == st.Size {
		_, err := f.Seek(0, io.SeekStart)
		return err
	}
	return errs.Hint(fmt.Errorf("%s is sparse: %d MiB of it are holes, which a layer would have in full", f.Name(), holes>>20), "name it in .dockerignore, or make it in a RUN")
}
