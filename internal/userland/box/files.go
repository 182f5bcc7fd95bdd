// Commands that make and remove files: rm, mkdir, rmdir, ln, touch, mktemp, truncate, mknod and
// their like.

package box

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rm: remove files and directories.
func rm(c *Call) {
	c.opts("rRfdiv", "recursive=r", "force=f", "dir=d", "verbose=v")
	if len(c.args) == 0 && c.has('f') {
		return
	}
	c.need(1, -1)
	for _, path := range c.args {
		base := filepath.Base(path)
		if clean := filepath.Clean(path); clean == "/" || base == "." || base == ".." {
			c.warn("refusing to remove %s", path)
			continue
		}
		c.remove(path)
	}
}

// remove removes path; with -r everything below first, reporting each name that
// cannot be removed and going on.
func (c *Call) remove(path string) {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) && c.has('f') {
		return
	}
	if err != nil {
		c.fail(path, err)
		return
	}
	if !fi.IsDir() {
		err = unix.Unlink(path)
	} else if c.has('r') || c.has('R') {
		entries, rerr := os.ReadDir(path)
		for _, e := range entries {
			c.remove(filepath.Join(path, e.Name()))
		}
		if err = unix.Rmdir(path); rerr != nil && err != nil {
			err = rerr
		}
	} else if c.has('d') {
		err = unix.Rmdir(path)
	} else {
		err = unix.EISDIR
	}
	if err != nil {
		c.fail(path, err)
	} else if c.has('v') {
		fmt.Fprintf(c.out, "removed %s\n", path)
	}
}

// mkdir: make directories.
func mkdir(c *Call) {
	c.opts("pm:v", "parents=p", "mode=m", "verbose=v")
	c.need(1, -1)
	for _, path := range c.args {
		var err error
		if c.has('p') {
			err = os.MkdirAll(path, 0o777)
		} else {
			err = os.Mkdir(path, 0o777)
		}
		if err == nil && c.has('m') {
			mode, bad := parseMode(c.val('m'), 0o777, true)
			if bad != nil {
				c.die(1, "%s", bad)
			}
			err = unix.Chmod(path, mode)
		}
		if err != nil {
			c.fail(path, err)
		} else if c.has('v') {
			fmt.Fprintf(c.out, "made directory %s\n", path)
		}
	}
}

// rmdir: remove empty directories.
func rmdir(c *Call) {
	c.opts("p", "parents=p")
	c.need(1, -1)
	for _, path := range c.args {
		for {
			if err := unix.Rmdir(path); err != nil {
				c.fail(path, err)
				break
			}
			path = filepath.Dir(path)
			if !c.has('p') || path == "." || path == "/" {
				break
			}
		}
	}
}

// ln: make links.
func ln(c *Call) {
	c.opts("sfnvrTt:P", "symbolic=s", "force=f", "no-dereference=n", "verbose=v", "relative=r", "target-directory=t", "no-target-directory=T")
	if len(c.args) == 1 {
		c.args = append(c.args, ".")
	}
	if c.has('n') && len(c.args) == 2 {
		if fi, err := os.Lstat(c.args[1]); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			c.flag['T'] = []string{""}
		}
	}
	c.each(func(src, dst string) {
		if c.has('f') {
			os.Remove(dst)
		}
		var err error
		if !c.has('s') {
			err = os.Link(src, dst)
		} else {
			if c.has('r') {
				a, _ := filepath.Abs(src)
				b, _ := filepath.Abs(filepath.Dir(dst))
				if rel, rerr := filepath.Rel(b, a); rerr == nil {
					src = rel
				}
			}
			err = os.Symlink(src, dst)
		}
		if err != nil {
			c.warn("cannot link %s to %s: %s", dst, src, reason(err))
		} else if c.has('v') {
			fmt.Fprintf(c.out, "%s -> %s\n", dst, src)
		}
	})
}

// touch: change times, making the file if it is missing.
func touch(c *Call) {
	c.opts("acmd:t:r:h", "no-create=c", "date=d", "reference=r", "no-dereference=h")
	c.need(1, -1)
	now := unix.Timespec{Nsec: unix.UTIME_NOW}
	times := []unix.Timespec{now, now}
	switch {
	case c.has('r'):
		fi, err := os.Stat(c.val('r'))
		if err != nil {
			c.die(1, "%s: %s", c.val('r'), reason(err))
		}
		st := fi.Sys().(*syscall.Stat_t)
		times = []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
	case c.has('d'), c.has('t'):
		t, err := parseDate(c.val('d'))
		if c.has('t') {
			t, err = parseStamp(c.val('t'))
		}
		if err != nil {
			c.die(1, "%s", err)
		}
		ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
		times = []unix.Timespec{ts, ts}
	}
	keep := unix.Timespec{Nsec: unix.UTIME_OMIT}
	if c.has('a') && !c.has('m') {
		times[1] = keep
	} else if c.has('m') && !c.has('a') {
		times[0] = keep
	}
	flags := 0
	if c.has('h') {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	for _, path := range c.args {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, flags)
		if err == unix.ENOENT && c.has('c') {
			continue
		}
		if err == unix.ENOENT {
			var f *os.File
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err == nil {
				f.Close()
				err = unix.UtimesNanoAt(unix.AT_FDCWD, path, times, 0)
			}
		}
		if err != nil {
			c.fail(path, err)
		}
	}
}

// mktemp: make a file or directory with a name no other has.
func mktemp(c *Call) {
	c.opts("dup:tq", "directory=d", "dry-run=u", "tmpdir=p", "quiet=q")
	c.need(0, 1)
	template, dir := "tmp.XXXXXXXXXX", ""
	if len(c.args) > 0 {
		template = c.args[0]
	}
	if len(c.args) == 0 || c.has('p') || c.has('t') {
		if dir = c.val('p'); dir == "" {
			dir = os.Getenv("TMPDIR")
		}
		if dir == "" {
			dir = "/tmp"
		}
	}
	end := strings.LastIndexByte(template, 'X') + 1
	start := end
	for start > 0 && template[start-1] == 'X' {
		start--
	}
	if end-start < 3 {
		c.die(1, "too few X's in template %s", template)
	}
	for range 100 {
		path := filepath.Join(dir, template[:start]+rand.Text()[:min(26, end-start)]+template[end:])
		if len(c.args) > 0 && dir == "" {
			path = template[:start] + rand.Text()[:min(26, end-start)] + template[end:]
		}
		var err error
		switch {
		case c.has('u'):
			_, err = os.Lstat(path)
			if err == nil {
				continue
			}
			err = nil
		case c.has('d'):
			err = os.Mkdir(path, 0o700)
		default:
			var f *os.File
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err == nil {
				f.Close()
			}
		}
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			c.die(1, "%s: %s", path, reason(err))
		}
		fmt.Fprintln(c.out, path)
		return
	}
	c.die(1, "no free name for %s", template)
}

// truncate: set the size of files.
func truncate(c *Call) {
	c.opts("s:cr:", "size=s", "no-create=c", "reference=r")
	c.need(1, -1)
	spec := c.val('s')
	if c.has('r') {
		fi, err := os.Stat(c.val('r'))
		if err != nil {
			c.die(1, "%s: %s", c.val('r'), reason(err))
		}
		spec = strconv.FormatInt(fi.Size(), 10)
	}
	if spec == "" {
		c.usage()
	}
	mode := os.O_WRONLY | os.O_CREATE
	if c.has('c') {
		mode = os.O_WRONLY
	}
	n, sign := c.count(spec)
	for _, path := range c.args {
		f, err := os.OpenFile(path, mode, 0o666)
		if errors.Is(err, os.ErrNotExist) && c.has('c') {
			continue
		}
		if err != nil {
			c.fail(path, err)
			continue
		}
		size := n
		if fi, serr := f.Stat(); serr == nil && sign == '+' {
			size = fi.Size() + n
		} else if serr == nil && sign == '-' {
			size = max(0, fi.Size()-n)
		}
		if err := f.Truncate(size); err != nil {
			c.fail(path, err)
		}
		f.Close()
	}
}

// fallocate: reserve or punch space in a file.
func fallocate(c *Call) {
	c.opts("l:o:pnz", "length=l", "offset=o", "punch-hole=p", "keep-size=n", "zero-range=z")
	c.need(1, 1)
	if !c.has('l') {
		c.usage()
	}
	mode := uint32(0)
	if c.has('n') || c.has('p') {
		mode |= unix.FALLOC_FL_KEEP_SIZE
	}
	if c.has('p') {
		mode |= unix.FALLOC_FL_PUNCH_HOLE
	}
	if c.has('z') {
		mode |= unix.FALLOC_FL_ZERO_RANGE
	}
	off := int64(0)
	if c.has('o') {
		off = c.bytes(c.val('o'))
	}
	f, err := os.OpenFile(c.args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), mode, off, c.bytes(c.val('l')))
	}
	if err != nil {
		c.fail(c.args[0], err)
	}
}

// mkfifo: make named pipes.
func mkfifo(c *Call) {
	c.opts("m:", "mode=m")
	c.need(1, -1)
	for _, path := range c.args {
		c.makeNode(path, unix.S_IFIFO, 0)
	}
}

// mknod: make a device node or named pipe.
func mknod(c *Call) {
	c.opts("m:", "mode=m")
	c.need(2, 4)
	kinds := map[string]uint32{"b": unix.S_IFBLK, "c": unix.S_IFCHR, "u": unix.S_IFCHR, "p": unix.S_IFIFO}
	kind, ok := kinds[c.args[1]]
	if !ok || (kind == unix.S_IFIFO) != (len(c.args) == 2) {
		c.usage()
	}
	dev := 0
	if len(c.args) == 4 {
		dev = int(unix.Mkdev(uint32(c.number(c.args[2])), uint32(c.number(c.args[3]))))
	}
	c.makeNode(c.args[0], kind, dev)
}

func (c *Call) makeNode(path string, kind uint32, dev int) {
	err := unix.Mknod(path, kind|0o666, dev)
	if err == nil && c.has('m') {
		mode, bad := parseMode(c.val('m'), 0o666, false)
		if bad != nil {
			c.die(1, "%s", bad)
		}
		err = unix.Chmod(path, mode)
	}
	if err != nil {
		c.fail(path, err)
	}
}

// sync: have everything written to the disks, or the file systems of files.
func syncCmd(c *Call) {
	c.opts("fd", "file-system=f", "data=d")
	if len(c.args) == 0 {
		unix.Sync()
		return
	}
	for _, path := range c.args {
		f, err := os.Open(path)
		if err == nil {
			if c.has('f') {
				err = unix.Syncfs(int(f.Fd()))
			} else {
				err = f.Sync()
			}
			f.Close()
		}
		if err != nil {
			c.fail(path, err)
		}
	}
}
