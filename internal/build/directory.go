// A directory of the user's as a context. Paths are opened below it, through no symbolic link.

package build

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/errs"
)

// directory is a tree of files that is open.
type directory struct {
	dir  *os.File
	name string // its path, absolute

	memory  string           // file that keeps sums
	mu      sync.Mutex       // for what follows
	sums    map[string]sum   // by path
	learned bool             // sums has something new
	links   map[inode]uint32 // files with several names
}

// inode is the same for all names of a file.
type inode struct{ dev, ino uint64 }

// sum is the digest of a file that was as described.
type sum struct {
	Size, Mtime, Ctime int64 // bytes, nanoseconds since 1970
	Ino                uint64
	SHA256             string
}

func openDirectory(s *image.Store, dir string) (*directory, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &directory{name: abs, sums: map[string]sum{}, links: map[inode]uint32{}, memory: s.Path("build", "context-"+digest.FromString(abs).Encoded())}
	if d.dir, err = os.OpenFile(abs, os.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return nil, fmt.Errorf("open the context: %w", err)
	}
	if b, err := os.ReadFile(d.memory); err == nil {
		_ = json.Unmarshal(b, &d.sums) // damaged: everything is read again
	}
	return d, nil
}

// remember keeps the digests for the next build. It is no harm if that fails.
func (d *directory) remember() {
	if !d.learned {
		return
	}
	b, err := json.Marshal(d.sums)
	if err != nil || os.MkdirAll(filepath.Dir(d.memory), 0o700) != nil {
		return
	}
	replace(d.memory, b)
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
	f := &file{mode: st.Mode, size: st.Size, mtime: time.Unix(st.Mtim.Unix())}
	if !f.isDir() && st.Nlink > 1 {
		i := inode{st.Dev, st.Ino}
		d.mu.Lock()
		if d.links[i] == 0 {
			d.links[i] = uint32(len(d.links) + 1)
		}
		f.link = d.links[i]
		d.mu.Unlock()
	}
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

// sum reads the file, unless it is as it was when it was read before.
func (d *directory) sum(name string, _ *file) (string, error) {
	fd, err := d.openat(name, unix.O_PATH)
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	unix.Close(fd)
	if err != nil {
		return "", &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	now := sum{Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Ino: st.Ino}
	d.mu.Lock()
	was, ok := d.sums[name]
	d.mu.Unlock()
	if ok {
		if now.SHA256 = was.SHA256; now == was {
			return was.SHA256, nil
		}
	}
	if err := d.solid(name, &st); err != nil {
		return "", err
	}
	began := time.Now().UnixNano()
	if now.SHA256, err = sumOf(d, name); err != nil {
		return "", err
	}
	if began-now.Ctime > young && began-now.Mtime > young {
		d.mu.Lock()
		d.sums[name], d.learned = now, true
		d.mu.Unlock()
	}
	return now.SHA256, nil
}

// maxHoles is how much of a file may be holes, in bytes. A layer has them as zeros, which would be
// digested, compressed and inflated for a long time.
const maxHoles = 1 << 30

// solid refuses a file that is mostly holes.
func (d *directory) solid(name string, st *unix.Stat_t) error {
	holes := st.Size - st.Blocks*512 // inode(7): st_blocks counts 512 bytes
	if holes <= maxHoles {
		return nil
	}
	r, err := d.open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	// lseek(2), SEEK_HOLE: a file without holes has one at its end. It may be compressed by the
	// file system.
	if at, err := r.(*os.File).Seek(0, unix.SEEK_HOLE); err == nil && at == st.Size {
		return nil
	}
	return errs.Hint(fmt.Errorf("%s is sparse: %d MiB of it are holes, which a layer would have in full", name, holes>>20), "name it in .dockerignore, or make it in a RUN")
}
