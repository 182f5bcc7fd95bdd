// Commands about the system: hostname, uname, nproc, uptime, free, df, du.

package box

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func uts() (u unix.Utsname) { unix.Uname(&u); return u }

func cString(b []byte) string { return unix.ByteSliceToString(b) }

// hostname: print or set the name of the machine (of the UTS namespace).
func hostname(c *Call) {
	c.opts("sfiF:", "short=s", "fqdn=f", "file=F")
	c.need(0, 1)
	if c.has('F') {
		text, err := os.ReadFile(c.val('F'))
		if err != nil {
			c.die(1, "%s: %s", c.val('F'), reason(err))
		}
		c.args = []string{strings.TrimSpace(string(text))}
	}
	if len(c.args) == 1 {
		if err := unix.Sethostname([]byte(c.args[0])); err != nil {
			c.die(1, "cannot set the name: %s", reason(err))
		}
		return
	}
	u := uts()
	name := cString(u.Nodename[:])
	if c.has('s') {
		name, _, _ = strings.Cut(name, ".")
	}
	fmt.Fprintln(c.out, name)
}

// uname: print names of the system.
func uname(c *Call) {
	c.opts("asnrvmpio", "all=a", "kernel-name=s", "nodename=n", "kernel-release=r", "kernel-version=v", "machine=m", "operating-system=o", "processor=p", "hardware-platform=i")
	u := uts()
	var out []string
	for _, f := range []struct {
		letter byte
		text   []byte
	}{{'s', u.Sysname[:]}, {'n', u.Nodename[:]}, {'r', u.Release[:]}, {'v', u.Version[:]}, {'m', u.Machine[:]}} {
		if c.has(f.letter) || c.has('a') || f.letter == 's' && len(c.flag) == 0 {
			out = append(out, cString(f.text))
		}
	}
	if c.has('p') || c.has('i') {
		out = append(out, cString(u.Machine[:]))
	}
	if c.has('o') || c.has('a') {
		out = append(out, "Linux")
	}
	fmt.Fprintln(c.out, strings.Join(out, " "))
}

// nproc: how many processors this process may use.
func nproc(c *Call) {
	c.opts("a", "all=a")
	fmt.Fprintln(c.out, runtime.NumCPU())
}

// uptime: how long the machine has run, and its load.
func uptime(c *Call) {
	c.opts("ps", "since=s", "pretty=p")
	if bootTime().IsZero() {
		c.die(1, "/proc/stat does not tell when the machine was started: is /proc mounted?")
	}
	if c.has('s') {
		fmt.Fprintln(c.out, bootTime().Format(time.DateTime))
		return
	}
	up := time.Since(bootTime())
	days, h, m := int(up.Hours())/24, int(up.Hours())%24, int(up.Minutes())%60
	s := fmt.Sprintf("%d:%02d", h, m)
	if days > 0 {
		s = fmt.Sprintf("%d days, %s", days, s)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	f := append(strings.Fields(string(load)), "?", "?", "?")
	fmt.Fprintf(c.out, " %s up %s,  load average: %s, %s, %s\n", time.Now().Format(time.TimeOnly), s, f[0], f[1], f[2])
}

// free: memory and swap.
func free(c *Call) {
	c.opts("bkmghw", "bytes=b", "kibi=k", "mebi=m", "gibi=g", "human=h")
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		c.die(1, "%s", err)
	}
	kib := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 {
			kib[strings.TrimSuffix(f[0], ":")], _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	show := func(k int64) string {
		switch {
		case c.has('h'):
			return human(k*1024) + "i"
		case c.has('b'):
			return fmt.Sprint(k * 1024)
		case c.has('m'):
			return fmt.Sprint(k >> 10)
		case c.has('g'):
			return fmt.Sprint(k >> 20)
		}
		return fmt.Sprint(k)
	}
	cache := kib["Buffers"] + kib["Cached"] + kib["SReclaimable"]
	fmt.Fprintf(c.out, "%7s%12s%12s%12s%12s%12s%12s\n", "", "total", "used", "free", "shared", "buff/cache", "available")
	fmt.Fprintf(c.out, "Mem:   %12s%12s%12s%12s%12s%12s\n", show(kib["MemTotal"]), show(kib["MemTotal"]-kib["MemAvailable"]),
		show(kib["MemFree"]), show(kib["Shmem"]), show(cache), show(kib["MemAvailable"]))
	fmt.Fprintf(c.out, "Swap:  %12s%12s%12s\n", show(kib["SwapTotal"]), show(kib["SwapTotal"]-kib["SwapFree"]), show(kib["SwapFree"]))
}

// df: free space on file systems.
func df(c *Call) {
	c.opts("hkmiTPat:", "human-readable=h", "inodes=i", "print-type=T", "portability=P", "all=a", "type=t")
	list, err := mounts()
	if err != nil {
		c.die(1, "%s (is /proc mounted?)", err)
	}
	paths := c.args
	if len(paths) == 0 {
		for _, m := range list {
			paths = append(paths, m.target)
		}
	}
	rows := [][]string{{"Filesystem", "Type", "1K-blocks", "Used", "Available", "Use%", "Mounted on"}}
	if c.has('h') {
		rows[0][2], rows[0][4] = "Size", "Avail"
	}
	if c.has('i') {
		rows[0][2], rows[0][3], rows[0][4], rows[0][5] = "Inodes", "IUsed", "IFree", "IUse%"
	}
	seen := map[string]bool{}
	for _, path := range paths {
		row, id, err := c.dfRow(path, list)
		if err != nil {
			if len(c.args) > 0 {
				c.fail(path, err)
			}
			continue
		}
		if len(c.args) == 0 && (seen[id] || row[2] == "0" && !c.has('a')) || c.has('t') && row[1] != c.val('t') {
			continue
		}
		seen[id] = true
		rows = append(rows, row)
	}
	c.table(rows, func(col int) bool { return col >= 2 && col <= 5 }, func(col int) bool { return col != 1 || c.has('T') })
}

func (c *Call) dfRow(path string, list []mountLine) (row []string, id string, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return nil, "", err
	}
	target, source, kind, dev := mountPointOf(path), "?", "?", ""
	for _, m := range list {
		if m.target == target {
			source, kind, dev = m.source, m.kind, m.dev
		}
	}
	total, free, avail := s.Blocks, s.Bfree, s.Bavail
	size := func(n uint64) string { return fmt.Sprint(n * uint64(s.Bsize) / 1024) }
	if c.has('h') {
		size = func(n uint64) string { return human(int64(n) * s.Bsize) }
	}
	if c.has('m') {
		size = func(n uint64) string { return fmt.Sprint((n*uint64(s.Bsize) + 1<<20 - 1) >> 20) }
	}
	if c.has('i') {
		total, free, avail = s.Files, s.Ffree, s.Ffree
		size = func(n uint64) string { return fmt.Sprint(n) }
	}
	used, pct := total-free, "-"
	if used+avail > 0 {
		pct = fmt.Sprintf("%d%%", (used*100+used+avail-1)/(used+avail)) // rounded up
	}
	return []string{source, kind, size(total), size(used), size(avail), pct, target}, dev, nil
}

// table prints rows as aligned columns; right says which are numbers, show which
// are shown.
func (c *Call) table(rows [][]string, right, show func(col int) bool) {
	var wide []int
	for _, r := range rows {
		for i, s := range r {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], len(s))
		}
	}
	for _, r := range rows {
		line := ""
		for i, s := range r {
			switch {
			case !show(i):
			case right(i):
				line += fmt.Sprintf("%*s ", wide[i], s)
			default:
				line += fmt.Sprintf("%-*s ", wide[i], s)
			}
		}
		fmt.Fprintln(c.out, strings.TrimRight(line, " "))
	}
}

// du: space that files take.
func du(c *Call) {
	c.opts("shkmabcxd:l", "summarize=s", "human-readable=h", "all=a", "bytes=b", "total=c", "one-file-system=x", "max-depth=d", "count-links=l")
	if len(c.args) == 0 {
		c.args = []string{"."}
	}
	w := duWalk{c: c, seen: map[[2]uint64]bool{}, depth: 1 << 30}
	if c.has('d') {
		w.depth = int(c.number(c.val('d')))
	}
	if c.has('s') {
		w.depth = 0
	}
	sum := int64(0)
	for _, path := range c.args {
		fi, err := os.Lstat(path)
		if err != nil {
			c.fail(path, err)
			continue
		}
		w.dev = fi.Sys().(*syscall.Stat_t).Dev
		sum += w.walk(path, fi, 0)
	}
	if c.has('c') {
		w.print(sum, "total")
	}
}

type duWalk struct {
	c     *Call
	seen  map[[2]uint64]bool // files with several names, counted once
	depth int
	dev   uint64
}

func (w *duWalk) print(n int64, path string) {
	switch {
	case w.c.has('h'):
		fmt.Fprintf(w.c.out, "%s\t%s\n", human(n), path)
	case w.c.has('b'):
		fmt.Fprintf(w.c.out, "%d\t%s\n", n, path)
	case w.c.has('m'):
		fmt.Fprintf(w.c.out, "%d\t%s\n", (n+1<<20-1)>>20, path)
	default:
		fmt.Fprintf(w.c.out, "%d\t%s\n", (n+1023)/1024, path)
	}
}

// walk returns the bytes that path and all below take on disk, or hold (-b).
func (w *duWalk) walk(path string, fi fs.FileInfo, level int) int64 {
	st := fi.Sys().(*syscall.Stat_t)
	key := [2]uint64{st.Dev, st.Ino}
	if st.Nlink > 1 && !fi.IsDir() {
		if w.seen[key] {
			return 0
		}
		w.seen[key] = true
	}
	n := st.Blocks * 512
	if w.c.has('b') {
		n = st.Size
	}
	if fi.IsDir() && (!w.c.has('x') || st.Dev == w.dev) {
		entries, err := os.ReadDir(path)
		if err != nil {
			w.c.fail(path, err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				n += w.walk(filepath.Join(path, e.Name()), info, level+1)
			}
		}
	}
	if level == 0 || level <= w.depth && (fi.IsDir() || w.c.has('a')) {
		w.print(n, path)
	}
	return n
}
