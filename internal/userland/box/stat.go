// The command stat, and commands about a path: readlink, basename, dirname, pwd.

package box

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// statCmd: show what stat(2) says.
func statCmd(c *Call) {
	c.opts("c:Lft", "format=c", "dereference=L", "file-system=f", "printf=c", "terse=t")
	c.need(1, -1)
	for _, path := range c.args {
		if c.has('f') {
			c.statFS(path)
			continue
		}
		f, err := stat(path, path, c.has('L'))
		if err != nil {
			c.fail(path, err)
			continue
		}
		if c.has('c') {
			fmt.Fprintln(c.out, expandStat(c.val('c'), f))
			continue
		}
		shown := strings.ReplaceAll(f.name, "%", "%%")
		if f.link != "" {
			shown += " -> " + strings.ReplaceAll(f.link, "%", "%%")
		}
		long := "  File: " + shown + "\n  Size: %-10s\tBlocks: %-10b IO Block: %-6o %F\n" +
			"Device: %Hd,%Ld\tInode: %-11i Links: %h\n" +
			"Access: (%04a/%A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)\n" +
			"Access: %x\nModify: %y\nChange: %z\n Birth: %w\n"
		if k := f.st.Mode & syscall.S_IFMT; k == syscall.S_IFCHR || k == syscall.S_IFBLK {
			long = strings.Replace(long, "Links: %h", "Links: %-5h Device type: %t,%T", 1)
		}
		fmt.Fprint(c.out, expandStat(long, f))
	}
}

// expandStat expands the directives of stat -c. A directive is a percent sign,
// printf's flags and width, and one letter (or H or L and d or r, the major and
// minor device number).
func expandStat(format string, f file) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		end := i + 1
		for end < len(format)-1 && strings.IndexByte("-+ #0123456789.", format[end]) >= 0 {
			end++
		}
		flags, verb := format[i:end], format[end:end+1]
		if (verb == "H" || verb == "L") && end+1 < len(format) && strings.IndexByte("dr", format[end+1]) >= 0 {
			end++
			verb = format[end-1 : end+1]
		}
		i = end
		switch v := statField(verb, f).(type) {
		case nil:
			b.WriteString("?")
		case octal:
			fmt.Fprintf(&b, flags+"o", uint32(v))
		case hexa:
			fmt.Fprintf(&b, flags+"x", uint64(v))
		default:
			fmt.Fprintf(&b, strings.Replace(flags, "%0", "%", 1)+"v", v)
		}
	}
	return b.String()
}

type (
	octal uint32
	hexa  uint64
)

// statField is the value that a letter stands for.
func statField(verb string, f file) any {
	st := f.st
	switch verb {
	case "%":
		return "%"
	case "n":
		return f.name
	case "N":
		if f.link != "" {
			return "'" + f.name + "' -> '" + f.link + "'"
		}
		return "'" + f.name + "'"
	case "s":
		return st.Size
	case "i":
		return st.Ino
	case "h":
		return st.Nlink
	case "a":
		return octal(st.Mode & 0o7777)
	case "A":
		return modeString(st.Mode)
	case "f":
		return hexa(st.Mode)
	case "F":
		return kindName(st)
	case "u":
		return st.Uid
	case "g":
		return st.Gid
	case "U":
		return nameOrUnknown(users(), st.Uid)
	case "G":
		return nameOrUnknown(groups(), st.Gid)
	case "b":
		return st.Blocks
	case "B":
		return 512
	case "o":
		return st.Blksize
	case "d":
		return st.Dev
	case "Hd":
		return unix.Major(st.Dev)
	case "Ld":
		return unix.Minor(st.Dev)
	case "t", "Hr":
		return hexa(unix.Major(st.Rdev))
	case "T", "Lr":
		return hexa(unix.Minor(st.Rdev))
	case "m":
		return mountPointOf(f.path)
	}
	return statTime(verb, f)
}

// statTime is the times: x y z w as text, X Y Z W in seconds since 1970.
func statTime(verb string, f file) any {
	when := map[string]syscall.Timespec{"x": f.st.Atim, "y": f.st.Mtim, "z": f.st.Ctim}
	if ts, ok := when[strings.ToLower(verb)]; ok {
		t := time.Unix(ts.Unix())
		if strings.ToLower(verb) == verb {
			return t.Format("2006-01-02 15:04:05.000000000 -0700")
		}
		return t.Unix()
	}
	if verb != "w" && verb != "W" {
		return nil
	}
	var sx unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, f.path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &sx)
	if err != nil || sx.Mask&unix.STATX_BTIME == 0 {
		if verb == "W" {
			return 0
		}
		return "-"
	}
	t := time.Unix(sx.Btime.Sec, int64(sx.Btime.Nsec))
	if verb == "W" {
		return t.Unix()
	}
	return t.Format("2006-01-02 15:04:05.000000000 -0700")
}

func nameOrUnknown(list []account, id uint32) string {
	if s := byID(list, int(id)); s != "" {
		return s
	}
	return "UNKNOWN"
}

// kindName is the type of file in words.
func kindName(st *syscall.Stat_t) string {
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if st.Size == 0 {
			return "regular empty file"
		}
		return "regular file"
	case syscall.S_IFDIR:
		return "directory"
	case syscall.S_IFLNK:
		return "symbolic link"
	case syscall.S_IFIFO:
		return "fifo"
	case syscall.S_IFSOCK:
		return "socket"
	case syscall.S_IFCHR:
		return "character special file"
	case syscall.S_IFBLK:
		return "block special file"
	}
	return "weird file"
}

// fsNames are the magic numbers of statfs(2) that a container meets.
func fsName(magic int64) string {
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext2/ext3", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
		unix.FUSE_SUPER_MAGIC: "fuseblk", unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs",
		unix.BTRFS_SUPER_MAGIC: "btrfs", unix.XFS_SUPER_MAGIC: "xfs", unix.NFS_SUPER_MAGIC: "nfs",
		unix.DEVPTS_SUPER_MAGIC: "devpts", unix.CGROUP2_SUPER_MAGIC: "cgroup2fs", unix.SQUASHFS_MAGIC: "squashfs",
		0x19800202: "mqueue",
	}
	if s := names[magic]; s != "" {
		return s
	}
	return fmt.Sprintf("UNKNOWN (0x%x)", magic)
}

// statFS shows the file system a path is on.
func (c *Call) statFS(path string) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		c.fail(path, err)
		return
	}
	if !c.has('c') {
		c.flag['c'] = []string{"  File: %n\n    ID: %i Namelen: %l     Type: %T\nBlock size: %s\n" +
			"Blocks: Total: %b  Free: %f  Available: %a\nInodes: Total: %c  Free: %d"}
	}
	fsid := uint64(uint32(s.Fsid.Val[0]))<<32 | uint64(uint32(s.Fsid.Val[1]))
	r := strings.NewReplacer("%n", path, "%i", fmt.Sprintf("%x", fsid), "%l", fmt.Sprint(s.Namelen),
		"%T", fsName(s.Type), "%t", fmt.Sprintf("%x", s.Type), "%s", fmt.Sprint(s.Bsize), "%S", fmt.Sprint(s.Frsize),
		"%b", fmt.Sprint(s.Blocks), "%f", fmt.Sprint(s.Bfree), "%a", fmt.Sprint(s.Bavail),
		"%c", fmt.Sprint(s.Files), "%d", fmt.Sprint(s.Ffree), "%%", "%")
	fmt.Fprintln(c.out, r.Replace(c.val('c')))
}

// readlink: print where a symbolic link leads. realpath: the path without links.
func readlink(c *Call) {
	c.opts("femnqsz", "canonicalize=f", "canonicalize-existing=e", "canonicalize-missing=m", "no-newline=n", "zero=z")
	c.need(1, -1)
	for _, path := range c.args {
		var s string
		var err error
		switch {
		case c.has('m'):
			s, err = realPath(path, -1)
		case c.has('e'):
			s, err = realPath(path, 0)
		case c.has('f') || c.Name == "realpath":
			s, err = realPath(path, 1)
		default:
			if s, err = os.Readlink(path); err != nil {
				c.exit = 1 // quietly, as readlink does
				continue
			}
		}
		if err != nil {
			if c.Name == "realpath" {
				c.fail(path, err)
			}
			c.exit = 1
			continue
		}
		end := "\n"
		if c.has('z') {
			end = "\x00"
		} else if c.has('n') && len(c.args) == 1 {
			end = ""
		}
		fmt.Fprint(c.out, s, end)
	}
}

// realPath is the absolute path without links; missing says how many last
// components need not exist, -1 for any number.
func realPath(path string, missing int) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err == nil || missing == 0 || !os.IsNotExist(err) || abs == "/" {
		return real, err
	}
	if target, lerr := os.Readlink(abs); lerr == nil { // a dangling link
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(abs), target)
		}
		return realPath(target, missing)
	}
	dir, err := realPath(filepath.Dir(abs), max(-1, missing-1))
	return filepath.Join(dir, filepath.Base(abs)), err
}

// basename: the last component of a path.
func basename(c *Call) {
	c.opts("as:z", "multiple=a", "suffix=s", "zero=z")
	c.need(1, -1)
	suffix := c.val('s')
	if !c.has('a') && !c.has('s') {
		if len(c.args) > 2 {
			c.need(1, 2)
		}
		if len(c.args) == 2 {
			suffix = c.args[1]
		}
		c.args = c.args[:1]
	}
	for _, path := range c.args {
		s := ""
		if path != "" {
			s = filepath.Base(path)
		}
		if s != suffix {
			s = strings.TrimSuffix(s, suffix)
		}
		fmt.Fprintln(c.out, s)
	}
}

// dirname: a path without its last component.
func dirname(c *Call) {
	c.opts("z", "zero=z")
	c.need(1, -1)
	for _, path := range c.args {
		p := strings.TrimRight(path, "/")
		if i := strings.LastIndexByte(p, '/'); p == "" && path != "" {
			p = "/"
		} else if i < 0 {
			p = "."
		} else if p = strings.TrimRight(p[:i], "/"); p == "" {
			p = "/"
		}
		fmt.Fprintln(c.out, p)
	}
}

// pwd: print the working directory; $PWD if that is right (-L), or getcwd(2).
func pwd(c *Call) {
	c.opts("LP")
	here, err := os.Stat(".")
	if env := os.Getenv("PWD"); err == nil && !c.has('P') && filepath.IsAbs(env) {
		if there, terr := os.Stat(env); terr == nil && os.SameFile(here, there) {
			fmt.Fprintln(c.out, env)
			return
		}
	}
	buf := make([]byte, 4096)
	n, err := unix.Getcwd(buf)
	if err != nil {
		c.die(1, "%s", reason(err))
	}
	fmt.Fprintln(c.out, cString(buf[:n]))
}
