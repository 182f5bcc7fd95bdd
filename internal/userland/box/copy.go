// Commands that copy and move files, cp and mv, by POSIX and with what scripts use of GNU's.

package box

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A copier copies trees for cp, and for mv between file systems.
type copier struct {
	c *Call
	// what to keep: mode, owner, times, extended attributes; links as links
	attrs, xattrs     bool
	recursive, follow bool
	force, verbose    bool
	noClobber, update bool
	hard, sym         bool                 // cp -l, -s: link instead of copying
	seen              map[[2]uint64]string // (device, inode) of files with several names → first copy
}

// cp: copy files and directories.
func cp(c *Call) {
	c.opts("apPrRdfinvluLHTt:sx", "archive=a", "recursive=r", "preserve=p", "force=f", "no-clobber=n",
		"verbose=v", "link=l", "update=u", "dereference=L", "no-dereference=P", "target-directory=t", "no-target-directory=T", "symbolic-link=s")
	k := copier{c: c, seen: map[[2]uint64]string{}}
	k.recursive = c.has('a') || c.has('r') || c.has('R')
	k.follow = c.has('L') || !k.recursive && !c.has('P') && !c.has('d')
	k.attrs = c.has('a') || c.has('p')
	k.xattrs = c.has('a')
	k.force, k.verbose, k.noClobber, k.update = c.has('f'), c.has('v'), c.has('n'), c.has('u')
	k.hard, k.sym = c.has('l'), c.has('s')
	c.each(func(src, dst string) {
		fi, err := os.Stat(src)
		if c.has('H') && err == nil && fi.Mode().IsDir() {
			k.follow = true
		}
		if err := k.copy(src, dst); err != nil {
			c.warn("%s", err)
		}
	})
}

// each works out source and destination pairs from "SRC DST" or "SRC... DIR".
func (c *Call) each(f func(src, dst string)) {
	dir := c.val('t')
	if dir == "" {
		c.need(2, -1)
		dir = c.args[len(c.args)-1]
		c.args = c.args[:len(c.args)-1]
	}
	fi, err := os.Stat(dir)
	if err != nil || !fi.IsDir() || c.has('T') {
		if len(c.args) > 1 || c.has('t') {
			c.die(1, "%s: not a directory", dir)
		}
		if strings.HasSuffix(dir, "/") && err != nil && !c.has('r') && !c.has('a') && !c.has('R') {
			if src, e := os.Stat(c.args[0]); e == nil && !src.IsDir() {
				c.die(1, "%s: not a directory", dir)
			}
		}
		f(c.args[0], dir)
		return
	}
	for _, src := range c.args {
		f(src, filepath.Join(dir, filepath.Base(src)))
	}
}

// place is "path: reason", the form of an error that names another file than
// the command line did.
func place(path string, err error) error { return fmt.Errorf("%s: %s", path, reason(err)) }

func (k *copier) copy(src, dst string) error {
	look := os.Lstat
	if k.follow {
		look = os.Stat
	}
	fi, err := look(src)
	if err != nil {
		return place(src, err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	if old, err := os.Stat(dst); err == nil {
		if os.SameFile(fi, old) {
			return fmt.Errorf("%s and %s are the same file", src, dst)
		}
		if k.noClobber && !old.IsDir() || k.update && !fi.ModTime().After(old.ModTime()) && !old.IsDir() {
			return nil
		}
		if fi.IsDir() != old.IsDir() {
			if fi.IsDir() {
				return fmt.Errorf("%s: not a directory", dst)
			}
			return fmt.Errorf("%s: is a directory", dst)
		}
	}
	if k.verbose {
		fmt.Fprintf(k.c.out, "%s -> %s\n", src, dst)
	}
	if fi.IsDir() {
		return k.copyDir(src, dst, st)
	}
	if first, ok := k.seen[[2]uint64{st.Dev, st.Ino}]; ok && k.attrs && st.Nlink > 1 {
		os.Remove(dst)
		if os.Link(first, dst) == nil {
			return nil
		}
	}
	if err := k.copyNode(src, dst, fi, st); err != nil {
		return err
	}
	k.seen[[2]uint64{st.Dev, st.Ino}] = dst
	return nil
}

func (k *copier) copyDir(src, dst string, st *syscall.Stat_t) error {
	if !k.recursive {
		return fmt.Errorf("%s: is a directory (use -r)", src)
	}
	if inside(src, dst) {
		return fmt.Errorf("cannot copy %s into itself, %s", src, dst)
	}
	if err := os.Mkdir(dst, os.FileMode(st.Mode&0o777|0o700)); err != nil && !errors.Is(err, os.ErrExist) {
		return place(dst, err)
	} else if err == nil && !k.attrs {
		mask := umask()
		defer os.Chmod(dst, os.FileMode(st.Mode&0o777&^mask))
	}
	entries, err := os.ReadDir(src)
	if err != nil {
		k.c.fail(src, err)
	}
	for _, e := range entries {
		if err := k.copy(filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())); err != nil {
			k.c.warn("%s", err)
		}
	}
	return k.keep(src, dst, st)
}

// inside tells whether dst would lie within src.
func inside(src, dst string) bool {
	a, err1 := filepath.Abs(src)
	b, err2 := filepath.Abs(dst)
	return err1 == nil && err2 == nil && strings.HasPrefix(b+"/", strings.TrimSuffix(a, "/")+"/")
}

// umask reads the process's mask; umask(2) can only be read by setting it.
func umask() uint32 {
	m := syscall.Umask(0)
	syscall.Umask(m)
	return uint32(m)
}

// copyNode copies anything but a directory.
func (k *copier) copyNode(src, dst string, fi os.FileInfo, st *syscall.Stat_t) error {
	if k.hard || k.sym {
		if k.force {
			os.Remove(dst)
		}
		link := os.Link
		if k.sym {
			link = os.Symlink
		}
		if err := link(src, dst); err != nil {
			return place(dst, err)
		}
		return nil
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if err := k.copyFile(src, dst, st); err != nil {
			return err
		}
	case syscall.S_IFLNK:
		target, err := os.Readlink(src)
		if err != nil {
			return place(src, err)
		}
		os.Remove(dst)
		if err := os.Symlink(target, dst); err != nil {
			return place(dst, err)
		}
	default:
		if !k.recursive { // cp /dev/stdin file: the content is meant
			if err := k.copyFile(src, dst, st); err != nil {
				return err
			}
			break
		}
		os.Remove(dst)
		if err := unix.Mknod(dst, st.Mode, int(st.Rdev)); err != nil {
			return place(dst, err)
		}
	}
	return k.keep(src, dst, st)
}

func (k *copier) copyFile(src, dst string, st *syscall.Stat_t) error {
	in, err := os.Open(src)
	if err != nil {
		return place(src, err)
	}
	defer in.Close()
	mode := os.FileMode(st.Mode & 0o777)
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil && k.force {
		os.Remove(dst)
		out, err = os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	}
	if err != nil {
		return place(dst, err)
	}
	_, err = io.Copy(out, in) // copy_file_range(2) where the file systems can
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return place(dst, err)
	}
	return nil
}

// keep gives dst the attributes of src: owner first, since chown(2) clears the
// setuid bit, the times last. Without the right to give files away, cp -p keeps
// quiet about the owner and leaves out the setuid bits, as POSIX says.
func (k *copier) keep(src, dst string, st *syscall.Stat_t) error {
	if !k.attrs {
		return nil
	}
	if k.xattrs {
		copyXattrs(src, dst)
	}
	mode := st.Mode & 0o7777
	if err := os.Lchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		if os.Geteuid() == 0 {
			k.c.warn("keep owner of %s: %s", dst, reason(err))
		}
		mode &^= syscall.S_ISUID | syscall.S_ISGID
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		if err := unix.Fchmodat(unix.AT_FDCWD, dst, mode, 0); err != nil {
			return place(dst, err)
		}
	}
	times := []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dst, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return place(dst, err)
	}
	return nil
}

// copyXattrs copies the extended attributes that may be copied; those of other
// classes than user need rights one may not have, which is no failure.
func copyXattrs(src, dst string) {
	for _, name := range listXattrs(src) {
		if v, err := getXattr(src, name); err == nil {
			unix.Lsetxattr(dst, name, v, 0)
		}
	}
}

// mv: rename files, or copy and remove them between file systems.
func mv(c *Call) {
	c.opts("finvTut:", "force=f", "no-clobber=n", "verbose=v", "target-directory=t", "no-target-directory=T", "update=u")
	c.each(func(src, dst string) {
		if _, err := os.Lstat(src); err != nil {
			c.fail(src, err)
			return
		}
		if _, err := os.Lstat(dst); err == nil && c.has('n') {
			return
		}
		err := os.Rename(src, dst)
		if errors.Is(err, unix.EXDEV) {
			k := copier{c: c, attrs: true, xattrs: true, recursive: true, force: true, seen: map[[2]uint64]string{}}
			before := c.exit
			if err = k.copy(src, dst); err == nil && c.exit == before {
				err = os.RemoveAll(src)
			}
		}
		if err != nil {
			var le *os.LinkError
			if errors.As(err, &le) {
				c.warn("cannot move %s to %s: %s", src, dst, reason(err))
			} else {
				c.warn("%s", err)
			}
			return
		}
		if c.has('v') {
			fmt.Fprintf(c.out, "%s -> %s\n", src, dst)
		}
	})
}
