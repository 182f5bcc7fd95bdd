// The command ls, and what is shown of a file.

package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// A file is a name with what lstat(2) says about it.
type file struct {
	name string // as shown
	path string
	fi   fs.FileInfo
	st   *syscall.Stat_t
	link string // target of a symbolic link
}

func stat(path, name string, follow bool) (file, error) {
	f := file{name: name, path: path}
	var err error
	if follow {
		f.fi, err = os.Stat(path)
	}
	if !follow || err != nil { // a dangling link is listed as a link
		f.fi, err = os.Lstat(path)
	}
	if err != nil {
		return f, err
	}
	f.st = f.fi.Sys().(*syscall.Stat_t)
	if f.st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		f.link, _ = os.Readlink(path)
	}
	return f, nil
}

// ls: list files.
func ls(c *Call) {
	c.opts("laA1dRinhFtSrLHpscugGUCmQk", "all=a", "almost-all=A", "directory=d", "recursive=R", "inode=i",
		"numeric-uid-gid=n", "human-readable=h", "classify=F", "reverse=r", "dereference=L", "size=s")
	if c.has('n') || c.has('g') {
		c.flag['l'] = []string{""}
	}
	names := c.args
	if len(names) == 0 {
		names = []string{"."}
	}
	var files, dirs []file
	for _, name := range names {
		// POSIX: a link named on the command line is followed, but not by -l, -d or -F.
		f, err := stat(name, name, c.has('L') || c.has('H') || !c.has('l') && !c.has('d') && !c.has('F'))
		if err != nil {
			c.fail(name, err)
			c.exit = 2
			continue
		}
		if f.fi.IsDir() && !c.has('d') {
			dirs = append(dirs, f)
		} else {
			files = append(files, f)
		}
	}
	c.sortFiles(files)
	c.sortFiles(dirs)
	c.listFiles(files, false)
	for i, d := range dirs {
		if len(names) > 1 || c.has('R') {
			if i > 0 || len(files) > 0 {
				fmt.Fprintln(c.out)
			}
			fmt.Fprintf(c.out, "%s:\n", d.name)
		}
		c.listDir(d.path)
	}
}

// listDir lists one directory and, with -R, what is below.
func (c *Call) listDir(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		c.warn("%s: %s", dir, reason(err))
		return
	}
	var files []file
	add := func(name string) {
		f, err := stat(strings.TrimSuffix(dir, "/")+"/"+name, name, c.has('L'))
		if errors.Is(err, fs.ErrNotExist) {
			return // gone since the directory was read, as the descriptor for reading /proc/self/fd is
		}
		if err != nil {
			c.fail(name, err)
			return
		}
		files = append(files, f)
	}
	if c.has('a') {
		add(".")
		add("..")
	}
	for _, e := range entries {
		if e.Name()[0] != '.' || c.has('a') || c.has('A') {
			add(e.Name())
		}
	}
	c.sortFiles(files)
	c.listFiles(files, true)
	if !c.has('R') {
		return
	}
	for _, f := range files {
		if f.fi.IsDir() && f.name != "." && f.name != ".." {
			fmt.Fprintf(c.out, "\n%s:\n", filepath.Join(dir, f.name))
			c.listDir(filepath.Join(dir, f.name))
		}
	}
}

// stamp is the time that is shown and sorted by: modification, or status
// change (-c), or access (-u).
func (c *Call) stamp(f file) time.Time {
	switch {
	case c.has('c'):
		return time.Unix(f.st.Ctim.Unix())
	case c.has('u'):
		return time.Unix(f.st.Atim.Unix())
	}
	return f.fi.ModTime()
}

func (c *Call) sortFiles(files []file) {
	if c.has('U') {
		return
	}
	slices.SortStableFunc(files, func(a, b file) int {
		order := strings.Compare(a.name, b.name)
		switch {
		case c.has('t') || (c.has('c') || c.has('u')) && !c.has('l'):
			if d := c.stamp(b).Compare(c.stamp(a)); d != 0 {
				order = d
			}
		case c.has('S'):
			if a.st.Size != b.st.Size {
				order = 1
				if a.st.Size > b.st.Size {
					order = -1
				}
			}
		}
		if c.has('r') {
			return -order
		}
		return order
	})
}

// listFiles prints files: in the long form, one a line, or in columns.
func (c *Call) listFiles(files []file, total bool) {
	switch {
	case c.has('l'):
		c.longList(files, total)
	case !c.has('1') && !c.has('i') && !c.has('s') && isTerminal(1):
		c.columns(files)
	default:
		for _, f := range files {
			fmt.Fprint(c.out, c.prefix(f, 0), c.shown(f), "\n")
		}
	}
}

// prefix is the inode number (-i) and the size in blocks of 1024 bytes (-s).
func (c *Call) prefix(f file, width int) string {
	s := ""
	if c.has('i') {
		s = fmt.Sprintf("%*d ", width, f.st.Ino)
	}
	if c.has('s') {
		s += fmt.Sprintf("%d ", f.st.Blocks/2)
	}
	return s
}

// shown is the name as printed, with a letter for the kind of file if -F or -p ask for one.
// Control characters are ? as with -q (POSIX, ls), in a pipe too: a container's output mostly goes
// to a terminal in the end, and from inside nothing shows whether it does.
func (c *Call) shown(f file) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, f.name)
	if c.has('p') && f.fi.IsDir() {
		return name + "/"
	}
	if !c.has('F') || c.has('l') && f.link != "" {
		return name
	}
	return name + kindMark(f.st.Mode)
}

func kindMark(mode uint32) string {
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return "/"
	case syscall.S_IFLNK:
		return "@"
	case syscall.S_IFIFO:
		return "|"
	case syscall.S_IFSOCK:
		return "="
	case syscall.S_IFREG:
		if mode&0o111 != 0 {
			return "*"
		}
	}
	return ""
}

// longList prints the form of ls -l: POSIX, ls, "STDOUT".
func (c *Call) longList(files []file, total bool) {
	if total {
		blocks := int64(0)
		for _, f := range files {
			blocks += f.st.Blocks
		}
		if c.has('h') {
			fmt.Fprintf(c.out, "total %s\n", human(blocks*512))
		} else {
			fmt.Fprintf(c.out, "total %d\n", blocks/2) // in KiB
		}
	}
	var rows [][]string // mode links owner group size
	var wide [6]int
	for _, f := range files {
		owner, grp := fmt.Sprint(f.st.Uid), fmt.Sprint(f.st.Gid)
		if !c.has('n') {
			owner, grp = nameOr(users(), int(f.st.Uid)), nameOr(groups(), int(f.st.Gid))
		}
		size := fmt.Sprint(f.st.Size)
		if c.has('h') {
			size = human(f.st.Size)
		}
		if k := f.st.Mode & syscall.S_IFMT; k == syscall.S_IFCHR || k == syscall.S_IFBLK {
			size = fmt.Sprintf("%d, %3d", unix.Major(f.st.Rdev), unix.Minor(f.st.Rdev))
		}
		row := []string{modeString(f.st.Mode), fmt.Sprint(f.st.Nlink), owner, grp, size, fmt.Sprint(f.st.Ino)}
		for i, s := range row {
			wide[i] = max(wide[i], len(s))
		}
		rows = append(rows, row)
	}
	for i, f := range files {
		r := rows[i]
		fmt.Fprintf(c.out, "%s%s %*s ", c.prefix(f, wide[5]), r[0], wide[1], r[1])
		if !c.has('g') {
			fmt.Fprintf(c.out, "%-*s ", wide[2], r[2])
		}
		fmt.Fprintf(c.out, "%-*s %*s %s %s", wide[3], r[3], wide[4], r[4], listTime(c.stamp(f)), c.shown(f))
		if f.link != "" {
			fmt.Fprintf(c.out, " -> %s", f.link)
		}
		fmt.Fprintln(c.out)
	}
}

// listTime shows the year in place of the time for what is older than half a
// year, or in the future (POSIX, ls).
func listTime(t time.Time) string {
	if age := time.Since(t); age > 365*12*time.Hour || age < 0 {
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
}

// columns prints names in columns, sorted downwards, as wide as the terminal.
func (c *Call) columns(files []file) {
	width := 80
	if ws, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		width = int(ws.Col)
	}
	col := 0
	for _, f := range files {
		col = max(col, len([]rune(c.shown(f)))+2)
	}
	if col == 0 {
		return
	}
	n := max(1, width/col)
	rows := (len(files) + n - 1) / n
	for r := range rows {
		line := ""
		for i := r; i < len(files); i += rows {
			line += fmt.Sprintf("%-*s", col, c.shown(files[i]))
		}
		fmt.Fprintln(c.out, strings.TrimRight(line, " "))
	}
}

// modeString is st_mode as ls -l shows it, "drwxr-xr-x".
func modeString(mode uint32) string {
	b := []byte("?rwxrwxrwx")
	for i, k := range "?pc?d?b?-?l?s" {
		if mode>>12 == uint32(i) {
			b[0] = byte(k)
		}
	}
	for i := range 9 {
		if mode>>(8-i)&1 == 0 {
			b[i+1] = '-'
		}
	}
	special := func(at int, bit uint32, on, off byte) {
		if mode&bit == 0 {
			return
		}
		if b[at] == 'x' {
			b[at] = on
		} else {
			b[at] = off
		}
	}
	special(3, syscall.S_ISUID, 's', 'S')
	special(6, syscall.S_ISGID, 's', 'S')
	special(9, syscall.S_ISVTX, 't', 'T')
	return string(b)
}

// human is a size in bytes with one letter, as du -h rounds: up, one decimal
// below ten.
func human(n int64) string {
	if n < 1024 {
		return fmt.Sprint(n)
	}
	v, i := float64(n), -1
	for v >= 1024 && i < 5 {
		v /= 1024
		i++
	}
	if v < 9.95 {
		up := float64(int64(v*10)) / 10
		if up < v {
			up += 0.1
		}
		return fmt.Sprintf("%.1f%c", up, "KMGTPE"[i])
	}
	up := int64(v)
	if float64(up) < v {
		up++
	}
	return fmt.Sprintf("%d%c", up, "KMGTPE"[i])
}

// isTerminal tells whether a descriptor is a terminal.
func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
