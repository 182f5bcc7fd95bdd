// The consistency check of an upper directory, made after each test.

package fstest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// Fsck checks an upper directory against the rules in image/layer (attrs.go) and
// returns what breaks them: nothing but regular files and directories, all of
// them ours and removable, every attribute readable and pointing at an inode
// of the lower index, every whiteout about a name that is there. After a crash
// (crashed) two things may be unfinished, which mean nothing to anybody: the
// data of a metacopy and the real mode of a file that has another in its
// attribute.
func Fsck(upper string, lower *layer.Index, crashed bool) []string {
	c := &checker{lower: lower, upper: upper, uid: uint32(os.Geteuid()), crashed: crashed}
	var err error
	if c.side, err = sidecar.Read(upper); err == nil {
		for _, p := range c.side.Paths() {
			if _, err := os.Lstat(filepath.Join(upper, p)); err != nil {
				c.errorf(p, "is in the sidecar alone: %v", err)
			}
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		c.errorf(upper, "%v", err)
	}
	c.dir(upper, true)
	return c.bad
}

type checker struct {
	lower *layer.Index
	upper string
	side  *sidecar.Store // nil: the files have their attributes themselves
	uid   uint32
	bad   []string

	crashed bool
}

func (c *checker) errorf(path, format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf("upper %s: ", path)+fmt.Sprintf(format, args...))
}

func (c *checker) dir(dir string, root bool) {
	origin, hasOrigin := c.inode(dir)
	if root {
		origin, hasOrigin = 0, true
	}
	if hasOrigin && !c.lower.Inode(origin).IsDir() {
		c.errorf(dir, "continues inode %d, which is no directory", origin)
		hasOrigin = false
	}
	es, err := os.ReadDir(dir)
	if err != nil {
		c.errorf(dir, "%v", err)
		return
	}
	for _, e := range es {
		p := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), layer.WhiteoutPrefix) {
			c.whiteout(p, e.Name(), origin, hasOrigin)
		} else if e.IsDir() {
			c.dir(p, false)
		} else if e.Type().IsRegular() {
			c.file(p)
		} else {
			c.errorf(p, "is neither a regular file nor a directory: %v", e.Type())
		}
	}
}

// inode checks what files and directories have in common and returns the
// lower inode that this one continues.
func (c *checker) inode(p string) (origin uint32, ok bool) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		c.errorf(p, "%v", err)
		return 0, false
	}
	if st.Uid != c.uid {
		c.errorf(p, "belongs to %d, not to us (%d)", st.Uid, c.uid)
	}
	need := uint32(0o600)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		need = 0o700
	}
	if st.Mode&need != need || st.Mode&0o7000 != 0 {
		c.errorf(p, "has mode %o: wants %o, and neither setuid, setgid nor sticky", st.Mode&0o7777, need)
	}
	if v, ok := c.xattr(p, layer.XattrOverride); ok {
		s, err := layer.ParseStat(v, st.Mode)
		if err != nil {
			c.errorf(p, "%v", err)
		} else if s.Mode&0o777|need != st.Mode&0o777 && !c.crashed {
			c.errorf(p, "has mode %o but is shown with %o", st.Mode&0o777, s.Mode&0o7777)
		}
	}
	v, ok := c.xattr(p, layer.XattrOrigin)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil || n >= uint64(c.lower.Len()) {
		c.errorf(p, "continues inode %q, which the index of %d inodes does not have", v, c.lower.Len())
		return 0, false
	}
	return uint32(n), true
}

func (c *checker) file(p string) {
	origin, ok := c.inode(p)
	if ok && c.lower.Inode(origin).IsDir() {
		c.errorf(p, "is a file but continues directory %d", origin)
	}
	if v, meta := c.xattr(p, layer.XattrMetacopy); meta {
		var st unix.Stat_t
		if !ok {
			c.errorf(p, "is a metacopy without an origin")
		} else if v == layer.MetacopyHead {
			if unix.Lstat(p, &st); !c.crashed && st.Size < c.lower.Inode(origin).Size {
				c.errorf(p, "has %d bytes, but its origin, whose data comes first, has %d", st.Size, c.lower.Inode(origin).Size)
			}
		} else if unix.Lstat(p, &st); !c.crashed && (st.Size != c.lower.Inode(origin).Size || st.Blocks > 8) {
			c.errorf(p, "is a metacopy of %d bytes in %d blocks, but its origin has %d bytes", st.Size, st.Blocks, c.lower.Inode(origin).Size)
		}
	}
}

func (c *checker) whiteout(p, name string, origin uint32, hasOrigin bool) {
	gone, ok, err := layer.ParseWhiteout(name, func() (string, error) {
		b, err := os.ReadFile(p)
		return string(b), err
	})
	if err != nil || !ok {
		c.errorf(p, "is no whiteout: %v", err)
		return
	}
	if !hasOrigin {
		c.errorf(p, "is a whiteout in a directory that continues none")
	} else if _, ok := c.lower.Lookup(origin, gone); !ok {
		c.errorf(p, "is a whiteout of a name that lower directory %s does not have", c.lower.Path(origin))
	}
}

func (c *checker) xattr(p, name string) (string, bool) {
	if c.side != nil {
		v, err := c.side.At(strings.Trim(strings.TrimPrefix(p, c.upper), "/")).Get(name)
		return v, err == nil
	}
	b := make([]byte, 1024)
	n, err := unix.Lgetxattr(p, name, b)
	if err != nil {
		if err != unix.ENODATA {
			c.errorf(p, "attribute %s: %v", name, err)
		}
		return "", false
	}
	return string(b[:n]), true
}
