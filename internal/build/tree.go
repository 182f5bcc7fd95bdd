// A tree of files: the context, an image, an archive. COPY takes files from one and looks at
// another. Links are followed here, and never lead out of the root.

package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// tree is a tree of files. Paths are clean, without a slash at the beginning; "" is the root. No
// part of a path that is asked for is a symbolic link, but for the last one.
type tree interface {
	// stat describes a file. The error is fs.ErrNotExist, or why it cannot be looked at.
	stat(path string) (*file, error)
	// list gives the names in a directory, sorted.
	list(path string) ([]string, error)
	// open opens a regular file.
	open(path string) (io.ReadCloser, error)
	// sum is the SHA-256 of a regular file's content, in hexadecimal digits.
	sum(path string, f *file) (string, error)
}

// file is what a tree knows about one file.
type file struct {
	mode     uint32 // type and permission bits, inode(7)
	uid, gid uint32
	rdev     uint32 // as in layer.Inode
	size     int64  // bytes
	mtime    time.Time
	target   string // of a symbolic link
	xattrs   []layer.Xattr
	inode    inode
	linked   bool  // it has several names, all of that inode
	ctime    int64 // of a directory of the user's: nanoseconds since 1970
}

func (f *file) is(kind uint32) bool { return f.mode&unix.S_IFMT == kind }
func (f *file) isDir() bool         { return f.is(unix.S_IFDIR) }

// maxLinks is how many symbolic links a path may lead through, path_resolution(7).
const maxLinks = 40

var (
	errLoop         = errors.New("too many symbolic links")
	errNotDirectory = errors.New("is no directory")
)

// follow finds the file that a path leads to, through all symbolic links, as if the tree were "/".
// If there is none, the error is fs.ErrNotExist, and the path is where it would be.
func follow(t tree, name string) (string, *file, error) {
	done, todo, links := "", strings.Split(name, "/"), 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = parent(done)
			continue
		}
		next := path.Join(done, part)
		f, err := t.stat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return inside(path.Join(append([]string{next}, todo...)...)), nil, err
		}
		if err != nil {
			return "", nil, err
		}
		switch {
		case f.is(unix.S_IFLNK):
			if links++; links > maxLinks {
				return "", nil, fmt.Errorf("%s: %w", name, errLoop)
			}
			if path.IsAbs(f.target) {
				done = ""
			}
			todo = append(strings.Split(f.target, "/"), todo...)
			continue
		case !f.isDir() && len(todo) > 0 && strings.Trim(strings.Join(todo, ""), "/.") != "":
			return "", nil, fmt.Errorf("/%s %w", next, errNotDirectory)
		}
		done = next
	}
	f, err := t.stat(done)
	return done, f, err
}

// parent is the directory that a path is in; the root is its own.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// inside is a path as trees have it.
func inside(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// glob finds what a pattern of COPY matches below a directory: the Dockerfile reference, "COPY", by
// the rules of path.Match; "**" stands for any number of directories, also none. A part without
// wildcards is taken as it is.
func glob(t tree, base, pattern string) (found []string, err error) {
	type place struct {
		dir  string // through no link
		left int    // parts of the pattern
	}
	been := map[place]bool{} // a directory that several links lead to has the same files behind all
	parts := strings.Split(inside(pattern), "/")
	var walk func(dir string, parts []string) error
	walk = func(dir string, parts []string) error {
		if len(parts) == 0 {
			_, _, err := follow(t, dir)
			elsewhere := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDirectory) || errors.Is(err, errLoop)
			if hasWildcard(pattern) && !hasWildcard(path.Base(pattern)) && elsewhere {
				return nil // what matches the part before has no such file
			}
			found = append(found, dir)
			return nil
		}
		if !hasWildcard(parts[0]) {
			return walk(path.Join(dir, parts[0]), parts[1:])
		}
		real, f, err := follow(t, dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLoop) || errors.Is(err, errNotDirectory) || err == nil && !f.isDir() {
			return nil
		}
		if here := (place{real, len(parts)}); err != nil || been[here] {
			return err
		} else {
			been[here] = true
		}
		deep := parts[0] == "**"
		if deep {
			if err := walk(dir, parts[1:]); err != nil {
				return err
			}
		}
		names, err := t.list(real)
		for _, name := range names {
			ok, merr := path.Match(parts[0], name)
			if merr != nil {
				return fmt.Errorf("%q: %w", pattern, merr)
			}
			next := parts[1:]
			if deep {
				f, err := t.stat(path.Join(real, name))
				ok, next = err == nil && f.isDir(), parts
			}
			if ok {
				err = errors.Join(err, walk(path.Join(dir, name), next))
			}
		}
		return err
	}
	err = walk(base, parts)
	return found, err
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, `*?[\`) }
