// The context: a directory of the user's that COPY takes files from, without what .dockerignore
// names.

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
	"strings"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/errs"
)

// Context is a directory that is open.
type Context struct {
	dir     *os.File
	name    string // its path, absolute
	ignore  *patternmatcher.PatternMatcher
	parents map[string]patternmatcher.MatchInfo // of directories that have been looked at

	memory  string         // file that keeps sums
	sums    map[string]sum // by path
	learned bool           // sums has something new
}

// sum is the digest of a file that was as described.
type sum struct {
	Size, Mtime, Ctime int64 // bytes, nanoseconds since 1970
	Ino                uint64
	SHA256             string
}

// OpenContext opens a directory. ignore is what .dockerignore says, or nil. What files have for
// digests is remembered in the store, so that those that have not changed are not read again.
func OpenContext(s *image.Store, dir string, ignore io.Reader) (*Context, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &Context{name: abs, parents: map[string]patternmatcher.MatchInfo{}, sums: map[string]sum{}}
	if c.dir, err = os.OpenFile(abs, os.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return nil, fmt.Errorf("open the context: %w", err)
	}
	if ignore != nil {
		patterns, err := ignorefile.ReadAll(ignore)
		if err == nil {
			c.ignore, err = patternmatcher.New(patterns)
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("read .dockerignore: %w", err)
		}
	}
	c.memory = s.Path("build", "context-"+digest.FromString(abs).Encoded())
	if b, err := os.ReadFile(c.memory); err == nil {
		_ = json.Unmarshal(b, &c.sums) // damaged: everything is read again
	}
	return c, nil
}

// Close closes the directory.
func (c *Context) Close() error { return c.dir.Close() }

// remember keeps the digests for the next build. It is no harm if that fails.
func (c *Context) remember() {
	if c == nil || !c.learned {
		return
	}
	b, err := json.Marshal(c.sums)
	if err != nil || os.MkdirAll(filepath.Dir(c.memory), 0o700) != nil {
		return
	}
	replace(c.memory, b)
}

// File opens a file of the context by a path that may lead through links, such as -f. What
// .dockerignore says does not count. It must be a regular file.
func (c *Context) File(name string) (*os.File, error) {
	// openat2(2), RESOLVE_IN_ROOT: links are followed as if the context were "/".
	fd, err := unix.Openat2(int(c.dir.Fd()), name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path.Join(c.name, name), Err: err}
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
func (c *Context) openat(name string, flags uint64) (int, error) {
	fd, err := unix.Openat2(int(c.dir.Fd()), path.Clean("./"+name), &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// ignored tells whether .dockerignore names a path, or a directory that it is in.
func (c *Context) ignored(name string) bool {
	if c.ignore == nil || name == "" {
		return false
	}
	dir := parent(name)
	if _, ok := c.parents[dir]; !ok && dir != "" {
		c.ignored(dir)
	}
	yes, info, err := c.ignore.MatchesUsingParentResults(name, c.parents[dir])
	c.parents[name] = info
	return err == nil && yes
}

// hidden tells whether a path is not there for COPY: it is ignored, and if it is a directory,
// nothing in it is an exception.
func (c *Context) hidden(name string, dir bool) bool {
	if !c.ignored(name) {
		return false
	}
	if !dir || !c.ignore.Exclusions() {
		return true
	}
	names, _ := c.list(name)
	return len(names) == 0
}

func (c *Context) stat(name string) (*file, error) {
	fd, err := c.openat(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if c.hidden(name, st.Mode&unix.S_IFMT == unix.S_IFDIR) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	// The Dockerfile reference, "COPY --chown --chmod": files of the context are root's.
	f := &file{mode: st.Mode, size: st.Size, mtime: time.Unix(st.Mtim.Unix())}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
	case unix.S_IFLNK:
		// readlinkat(2): of the link that the descriptor is for.
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil {
			return nil, &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		f.target = string(buf[:n])
	default:
		return nil, errs.Hint(fmt.Errorf("%s is a %s, which cannot be copied", name, kindOf(st.Mode)), "name it in .dockerignore")
	}
	return f, nil
}

// kindOf names a file that is no file, link or directory.
func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}

func (c *Context) list(name string) ([]string, error) {
	fd, err := c.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	ents, err := d.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range ents {
		if !c.hidden(path.Join(name, e.Name()), e.IsDir()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (c *Context) open(name string) (io.ReadCloser, error) {
	fd, err := c.openat(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return regular(fd, name)
}

// young is how old a change must be for a file to be taken for unchanged later, in nanoseconds: the
// kernel's clock for ctime ticks every few milliseconds, that of a file server less often.
const young = int64(2 * time.Second)

// sum reads the file, unless it is as it was when it was read before.
func (c *Context) sum(name string, _ *file) (string, error) {
	fd, err := c.openat(name, unix.O_PATH)
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
	if was, ok := c.sums[name]; ok {
		if now.SHA256 = was.SHA256; now == was {
			return was.SHA256, nil
		}
	}
	began := time.Now().UnixNano()
	if now.SHA256, err = sumOf(c, name); err != nil {
		return "", err
	}
	if began-now.Ctime > young && began-now.Mtime > young {
		c.sums[name], c.learned = now, true
	}
	return now.SHA256, nil
}

// shown is a path of a tree as the Dockerfile has it.
func shown(name string) string { return "/" + strings.TrimPrefix(name, "/") }
