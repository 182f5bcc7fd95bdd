// The commands chmod, chown and chgrp, with symbolic modes as POSIX has them.

package box

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// parseMode applies a mode, octal or symbolic (POSIX, chmod, "EXTENDED
// DESCRIPTION"), to the permission bits old, and returns the new ones.
func parseMode(s string, old uint32, dir bool) (uint32, error) {
	if n, err := strconv.ParseUint(s, 8, 32); err == nil && n <= 0o7777 {
		return uint32(n), nil
	}
	mode := old & 0o7777
	for clause := range strings.SplitSeq(s, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 || strings.Trim(clause[:i], "ugoa") != "" {
			return 0, fmt.Errorf("%s: not a mode", s)
		}
		who := whoMask(clause[:i])
		mask := uint32(0)
		if i == 0 {
			mask = umask() // "+x" leaves out what the umask does
		}
		for rest := clause[i:]; rest != ""; {
			op := rest[0]
			end := strings.IndexAny(rest[1:], "+-=") + 1
			if end == 0 {
				end = len(rest)
			}
			bits, err := permBits(rest[1:end], mode, who, dir)
			if err != nil {
				return 0, fmt.Errorf("%s: not a mode", s)
			}
			bits &^= mask & 0o777
			switch op {
			case '+':
				mode |= bits
			case '-':
				mode &^= bits
			case '=':
				keep := uint32(0)
				if dir {
					keep = 0o6000 // "=" leaves a directory's set-id bits
				}
				mode = mode&^(who&^keep) | bits
			}
			rest = rest[end:]
		}
	}
	return mode, nil
}

// whoMask is the bits that "u", "go", … may touch.
func whoMask(s string) (mask uint32) {
	if s == "" || strings.Contains(s, "a") {
		return 0o7777
	}
	for _, w := range s {
		switch w {
		case 'u':
			mask |= 0o4700
		case 'g':
			mask |= 0o2070
		case 'o':
			mask |= 0o1007
		}
	}
	return mask
}

// permBits is the bits of "rwxXst" or a copy of another class's ("g=u").
func permBits(s string, mode, who uint32, dir bool) (bits uint32, err error) {
	for _, p := range s {
		switch p {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if dir || mode&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
		case 'u':
			bits |= mode >> 6 & 7 * 0o111
		case 'g':
			bits |= mode >> 3 & 7 * 0o111
		case 'o':
			bits |= mode & 7 * 0o111
		default:
			return 0, fmt.Errorf("%c: not a permission", p)
		}
	}
	if who != 0o7777 && bits&0o1000 != 0 {
		who |= 0o1000
	}
	return bits & who, nil
}

// chmod: change permissions.
func chmod(c *Call) {
	// A mode such as -x or -w,o= looks like options; take it out first.
	at := -1
	for i, a := range c.args {
		if len(a) > 1 && a[0] == '-' && strings.Trim(a[1:], "rwxXstugoa+-=,") == "" {
			at = i
			break
		}
	}
	mode := ""
	if at >= 0 {
		mode = c.args[at]
		c.args = append(append([]string{}, c.args[:at]...), c.args[at+1:]...)
	}
	c.opts("Rvcf", "recursive=R", "verbose=v", "changes=c", "silent=f")
	if mode == "" {
		c.need(2, -1)
		mode, c.args = c.args[0], c.args[1:]
	}
	c.need(1, -1)
	c.walk(func(path string, fi fs.FileInfo) error {
		st := fi.Sys().(*syscall.Stat_t)
		if st.Mode&syscall.S_IFMT == syscall.S_IFLNK && c.has('R') {
			return nil // never through a link found on the way
		}
		if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
			target, err := os.Stat(path)
			if err != nil {
				return err
			}
			st = target.Sys().(*syscall.Stat_t)
		}
		to, err := parseMode(mode, st.Mode, st.Mode&syscall.S_IFMT == syscall.S_IFDIR)
		if err != nil {
			c.die(1, "%s", err)
		}
		if c.has('v') || c.has('c') && to != st.Mode&0o7777 {
			fmt.Fprintf(c.out, "mode of %s: %04o -> %04o\n", path, st.Mode&0o7777, to)
		}
		return unix.Chmod(path, to)
	})
}

// walk calls f for each operand and, with -R, everything below.
func (c *Call) walk(f func(path string, fi fs.FileInfo) error) {
	for _, path := range c.args {
		if !c.has('R') {
			fi, err := os.Lstat(path)
			if err == nil {
				err = f(path, fi)
			}
			if err != nil {
				c.fail(path, err)
			}
			continue
		}
		filepath.Walk(path, func(p string, fi fs.FileInfo, err error) error {
			if err == nil {
				err = f(p, fi)
			}
			if err != nil {
				c.fail(p, err)
			}
			return nil
		})
	}
}

// chown: change owner and group. chgrp: change the group.
func chown(c *Call) {
	c.opts("RhvcfPLH", "recursive=R", "no-dereference=h", "verbose=v", "changes=c")
	c.need(2, -1)
	spec := c.args[0]
	c.args = c.args[1:]
	if c.Name == "chgrp" {
		spec = ":" + spec
	}
	uid, gid, err := parseOwner(spec)
	if err != nil {
		c.die(1, "%s", err)
	}
	c.walk(func(path string, fi fs.FileInfo) error {
		if c.has('v') {
			fmt.Fprintf(c.out, "owner of %s: %s\n", path, spec)
		}
		if c.has('h') || c.has('R') {
			return os.Lchown(path, uid, gid)
		}
		return os.Chown(path, uid, gid)
	})
}

// parseOwner parses "user", "user:group", ":group", "user:" (the user's own
// group); -1 stands for no change.
func parseOwner(s string) (uid, gid int, err error) {
	uid, gid = -1, -1
	user, grp, hasGroup := strings.Cut(s, ":")
	var u account
	if user != "" {
		var ok bool
		if u, ok = find(users(), user); !ok {
			return 0, 0, fmt.Errorf("%s: no such user", user)
		}
		uid = u.id
	}
	if grp != "" {
		g, ok := find(groups(), grp)
		if !ok {
			return 0, 0, fmt.Errorf("%s: no such group", grp)
		}
		gid = g.id
	} else if hasGroup && len(u.fields) > 3 {
		gid, err = strconv.Atoi(u.fields[3])
	}
	return uid, gid, err
}

// ParseMode applies a symbolic or octal mode to permission bits, as chmod does;
// the shell's umask uses it.
func ParseMode(s string, old uint32) (uint32, error) { return parseMode(s, old, false) }
