// The context: the files that COPY takes, of a directory or an archive, without those that
// .dockerignore names.

package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/errs"
)

// Context is a directory or an archive that is open.
type Context struct {
	name    string     // of the archive
	dir     *directory // nil: an archive
	files   tree       // all, also those that are ignored
	ignore  *patternmatcher.PatternMatcher
	mu      sync.Mutex                          // for parents
	parents map[string]patternmatcher.MatchInfo // of directories that have been looked at
	end     func()                              // removes what was fetched; may be nil
}

func newContext(name string, files tree) *Context {
	return &Context{name: name, files: files, parents: map[string]patternmatcher.MatchInfo{}}
}

// OpenContext opens a directory. What files have for digests is remembered in the store, so that
// those that have not changed are not read again.
func OpenContext(s *image.Store, dir string) (*Context, error) {
	d, err := openDirectory(s, dir)
	if err != nil {
		return nil, err
	}
	c := newContext(d.name, d)
	c.dir = d
	return c, nil
}

// OpenArchive reads a tarball to its end, compressed or not; it is inflated to at most
// TIFFIN_INFLATE_LIMIT.
func OpenArchive(s *image.Store, name string, r io.Reader) (*Context, error) {
	t, err := openArchive(s.Path("tmp"), r)
	if err == nil && t == nil {
		err = errors.New("it is no tarball")
	}
	if err != nil {
		return nil, fmt.Errorf("read the context %s: %w", name, err)
	}
	return newContext(name, t), nil
}

// Ignore reads what .dockerignore says.
func (c *Context) Ignore(r io.Reader) error {
	patterns, err := ignorefile.ReadAll(r)
	if err == nil {
		c.ignore, err = patternmatcher.New(patterns)
	}
	if err != nil {
		return fmt.Errorf("read .dockerignore: %w", err)
	}
	return nil
}

// IsElsewhere tells whether it is no directory of the user's: an archive, or what was fetched.
func (c *Context) IsElsewhere() bool { return c.dir == nil || c.end != nil }

// Close closes the directory or the archive.
func (c *Context) Close() error {
	if c.end != nil {
		defer c.end()
	}
	if c.dir != nil {
		return c.dir.close()
	}
	c.files.(*imageTree).close()
	return nil
}

// remember keeps the digests for the next build. It is no harm if that fails.
func (c *Context) remember() {
	if c != nil && !c.IsElsewhere() {
		c.dir.remember()
	}
}

// File opens a file of the context by a path that may lead through links, such as -f. What
// .dockerignore says does not count. It must be a regular file.
func (c *Context) File(name string) (io.ReadCloser, error) {
	f, err := c.file(name)
	if errors.Is(err, fs.ErrNotExist) {
		if was, e := c.files.stat(inside(name)); e == nil && was.is(unix.S_IFLNK) {
			// To take it for a file that is missing would be to pass over what it says.
			err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("the symbolic link to %s leads nowhere in the context", was.target)}
		}
	}
	return f, err
}

func (c *Context) file(name string) (io.ReadCloser, error) {
	if c.dir != nil {
		return c.dir.file(name)
	}
	real, f, err := follow(c.files, name)
	if err == nil && !f.is(unix.S_IFREG) {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return c.files.open(real)
}

// maxParents is how many directories ignored remembers.
const maxParents = 1000

// ignored tells whether .dockerignore names a path, or a directory that it is in; and what is to be
// known of a directory for what is in it.
func (c *Context) ignored(name string) (bool, patternmatcher.MatchInfo) {
	var above patternmatcher.MatchInfo
	if dir := parent(name); dir != "" {
		var known bool
		if above, known = c.parents[dir]; !known {
			_, above = c.ignored(dir)
			if len(c.parents) >= maxParents {
				clear(c.parents)
			}
			c.parents[dir] = above
		}
	}
	yes, info, err := c.ignore.MatchesUsingParentResults(name, above)
	return err == nil && yes, info
}

// hidden tells whether a path is not there for COPY: it is ignored, and if it is a directory,
// nothing in it is an exception.
func (c *Context) hidden(name string) bool {
	if c.ignore == nil || name == "" {
		return false
	}
	c.mu.Lock()
	yes, _ := c.ignored(name)
	c.mu.Unlock()
	if !yes {
		return false
	}
	if !c.ignore.Exclusions() {
		return true
	}
	f, err := c.files.stat(name)
	if err != nil || !f.isDir() {
		return true
	}
	names, _ := c.list(name)
	return len(names) == 0
}

func (c *Context) stat(name string) (*file, error) {
	f, err := c.files.stat(name)
	if err != nil {
		return nil, err
	}
	if c.hidden(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if !f.is(unix.S_IFREG) && !f.isDir() && !f.is(unix.S_IFLNK) {
		return nil, errs.Hint(fmt.Errorf("%s is a %s, which cannot be copied", name, kindOf(f.mode)), "name it in .dockerignore")
	}
	// The Dockerfile reference, "COPY --chown --chmod": files of the context are root's.
	f.uid, f.gid = 0, 0
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

func (c *Context) list(name string) (names []string, err error) {
	all, err := c.files.list(name)
	for _, n := range all {
		if !c.hidden(path.Join(name, n)) {
			names = append(names, n)
		}
	}
	return names, err
}

func (c *Context) open(name string) (io.ReadCloser, error)  { return c.files.open(name) }
func (c *Context) sum(name string, f *file) (string, error) { return c.files.sum(name, f) }

// shown is a path of a tree as the Dockerfile has it.
func shown(name string) string { return "/" + strings.TrimPrefix(name, "/") }
