// The commands getfattr and setfattr: xattr(7).

package box

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// getXattr reads an extended attribute: xattr(7). An attribute may be answered
// without being listed, as user.tiffin.layer is.
func getXattr(path, name string) ([]byte, error) {
	for {
		n, err := unix.Lgetxattr(path, name, nil)
		if err != nil {
			return nil, err
		}
		buf := make([]byte, n+64)
		if n, err = unix.Lgetxattr(path, name, buf); err == unix.ERANGE {
			continue
		}
		return buf[:max(0, n)], err
	}
}

// listXattrs lists the names of the attributes; none where there are none.
func listXattrs(path string) []string {
	n, err := unix.Llistxattr(path, nil)
	if err != nil || n == 0 {
		return nil
	}
	buf := make([]byte, n+1024)
	if n, err = unix.Llistxattr(path, buf); err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
}

// getfattr: show extended attributes, in getfattr(1)'s format.
func getfattr(c *Call) {
	c.opts("n:de:m:hRLop", "name=n", "dump=d", "encoding=e", "match=m", "no-dereference=h", "only-values=o", "absolute-names=p", "recursive=R")
	c.need(1, -1)
	only := c.has('o')
	match := "^user\\."
	if c.has('m') {
		match = strings.Replace(c.val('m'), "-", "", 1)
		if c.val('m') != "-" {
			match = c.val('m')
		}
	}
	re := c.pattern(match)
	for _, path := range c.args {
		real := path
		if !c.has('h') {
			if r, err := filepath.EvalSymlinks(path); err == nil {
				real = r
			}
		}
		if _, err := os.Lstat(real); err != nil {
			c.fail(path, err)
			continue
		}
		var names []string
		if c.has('n') {
			names = c.flag['n']
		} else {
			for _, n := range listXattrs(real) {
				if re.MatchString(n) {
					names = append(names, n)
				}
			}
		}
		c.showXattrs(path, real, names, only)
	}
}

func (c *Call) showXattrs(path, real string, names []string, only bool) {
	titled := false
	for _, name := range names {
		v, err := getXattr(real, name)
		if err != nil {
			if err == unix.ENODATA {
				c.warn("%s: %s: no such attribute", path, name)
			} else {
				c.warn("%s: %s: %s", path, name, reason(err))
			}
			continue
		}
		if only {
			c.out.Write(v)
			continue
		}
		if !titled {
			fmt.Fprintf(c.out, "# file: %s\n", strings.TrimLeft(path, "/"))
			titled = true
		}
		if c.has('d') || c.has('n') {
			fmt.Fprintf(c.out, "%s=%s\n", name, c.quoteXattr(v))
		} else {
			fmt.Fprintln(c.out, name)
		}
	}
	if titled {
		fmt.Fprintln(c.out)
	}
}

// quoteXattr shows a value as text if it is text, else in base64.
func (c *Call) quoteXattr(v []byte) string {
	text := true
	for _, b := range v {
		text = text && (b >= ' ' && b != 0x7f || b == '\n' || b == '\t')
	}
	switch e := c.val('e'); {
	case e == "hex":
		return "0x" + hex.EncodeToString(v)
	case e == "base64" || e == "" && !text:
		return "0s" + base64.StdEncoding.EncodeToString(v)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\012`).Replace(string(v)) + `"`
}

// setfattr: set or remove an extended attribute.
func setfattr(c *Call) {
	c.opts("n:v:x:h", "name=n", "value=v", "remove=x", "no-dereference=h")
	c.need(1, -1)
	if c.has('n') == c.has('x') {
		c.usage()
	}
	value, err := parseXattr(c.val('v'))
	if err != nil {
		c.die(1, "%s: %s", c.val('v'), err)
	}
	for _, path := range c.args {
		set, remove := unix.Setxattr, unix.Removexattr
		if c.has('h') {
			set, remove = unix.Lsetxattr, unix.Lremovexattr
		}
		if c.has('x') {
			err = remove(path, c.val('x'))
		} else {
			err = set(path, c.val('n'), value, 0)
		}
		if err != nil {
			c.fail(path, err)
		}
	}
}

// parseXattr decodes 0x…, 0s… and "…" values; others are taken as they are.
func parseXattr(s string) ([]byte, error) {
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		return hex.DecodeString(s[2:])
	case strings.HasPrefix(s, "0s"), strings.HasPrefix(s, "0S"):
		return base64.StdEncoding.DecodeString(s[2:])
	case len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"':
		u, err := strconv.Unquote(s)
		return []byte(u), err
	}
	return []byte(s), nil
}
