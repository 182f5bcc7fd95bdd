// Commands about processes, from /proc: ps and pgrep; how a process is read from proc(5).

package box

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is what /proc/PID says about one (proc(5)).
type process struct {
	pid, ppid, pgid, sid int
	tty                  int // device number of the controlling terminal
	tpgid                int // its foreground process group
	state                byte
	comm                 string
	args                 []string // empty for kernel threads and zombies
	uid, gid             int      // effective
	threads, nice        int
	ticks                int64 // user plus system time, in clock ticks of 10 ms
	start                int64 // ticks after boot
	vsize, rss           int64 // KiB
	locked               bool  // pages locked in memory
}

// tick is the kernel's unit of process times: USER_HZ is 100 on every port that
// Go runs on.
const tick = 10 * time.Millisecond

// readProcess reads /proc/PID; an error means that the process is gone.
func readProcess(pid int) (p process, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, err
	}
	// The name stands in parentheses and may itself contain any character.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("%s/stat: not understood", dir)
	}
	p.pid, p.comm = pid, string(text[open+1:end])
	f := strings.Fields(string(text[end+1:])) // f[0] is field 3 of proc(5)
	if len(f) < 22 {
		return p, fmt.Errorf("%s/stat: too short", dir)
	}
	n := func(field int) int64 {
		v, _ := strconv.ParseInt(f[field-3], 10, 64)
		return v
	}
	p.state = f[0][0]
	p.ppid, p.pgid, p.sid, p.tty, p.tpgid = int(n(4)), int(n(5)), int(n(6)), int(n(7)), int(n(8))
	p.ticks, p.nice, p.threads, p.start = n(14)+n(15), int(n(19)), int(n(20)), n(22)
	p.vsize, p.rss = n(23)/1024, n(24)*int64(os.Getpagesize())/1024
	if cmd, err := os.ReadFile(dir + "/cmdline"); err == nil && len(cmd) > 0 {
		p.args = strings.Split(strings.TrimRight(string(cmd), "\x00"), "\x00")
	}
	status, _ := os.ReadFile(dir + "/status")
	for line := range strings.Lines(string(status)) {
		key, val, _ := strings.Cut(line, ":")
		v := strings.Fields(val)
		switch key {
		case "Uid":
			p.uid, _ = strconv.Atoi(v[1])
		case "Gid":
			p.gid, _ = strconv.Atoi(v[1])
		case "VmLck":
			p.locked = v[0] != "0"
		}
	}
	return p, nil
}

// processes lists all processes that /proc shows, by number.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var list []process
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, err := readProcess(pid); err == nil {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(a, b process) int { return a.pid - b.pid })
	return list
}

// ttyName is the terminal's name under /dev, "?" for none. Device numbers:
// kernel, Documentation/admin-guide/devices.txt.
func ttyName(dev int) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)<<8+minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	case major == 5 && minor == 1:
		return "console"
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

// command is the command line, or the name in brackets if there is none.
func (p process) command() string {
	if len(p.args) == 0 {
		s := "[" + p.comm + "]"
		if p.state == 'Z' {
			s += " <defunct>"
		}
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.Join(p.args, " "))
}

// stat is the state with ps's marks: ps(1), "PROCESS STATE CODES".
func (p process) stat() string {
	s := string(p.state)
	if p.nice < 0 {
		s += "<"
	} else if p.nice > 0 {
		s += "N"
	}
	if p.locked {
		s += "L"
	}
	if p.sid == p.pid {
		s += "s"
	}
	if p.threads > 1 {
		s += "l"
	}
	if p.tpgid == p.pgid {
		s += "+"
	}
	return s
}

// bootTime is when the machine started.
func bootTime() time.Time {
	text, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(text)) {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			return time.Unix(n, 0)
		}
	}
	return time.Time{}
}

// A psColumn is one column of ps: what -o calls it, its title, and its text.
type psColumn struct {
	name, title string
	right       bool
	text        func(p process) string
}

func psColumns() []psColumn {
	i := strconv.Itoa
	clock := func(p process) string {
		t := time.Duration(p.ticks) * tick
		return fmt.Sprintf("%02d:%02d:%02d", int(t.Hours()), int(t.Minutes())%60, int(t.Seconds())%60)
	}
	since := func(p process) time.Time { return bootTime().Add(time.Duration(p.start) * tick) }
	return []psColumn{
		{"pid", "PID", true, func(p process) string { return i(p.pid) }},
		{"ppid", "PPID", true, func(p process) string { return i(p.ppid) }},
		{"pgid", "PGID", true, func(p process) string { return i(p.pgid) }},
		{"pgrp", "PGRP", true, func(p process) string { return i(p.pgid) }},
		{"sid", "SID", true, func(p process) string { return i(p.sid) }},
		{"sess", "SESS", true, func(p process) string { return i(p.sid) }},
		{"tpgid", "TPGID", true, func(p process) string { return i(p.tpgid) }},
		{"uid", "UID", true, func(p process) string { return i(p.uid) }},
		{"gid", "GID", true, func(p process) string { return i(p.gid) }},
		{"user", "USER", false, func(p process) string { return nameOr(users(), p.uid) }},
		{"group", "GROUP", false, func(p process) string { return nameOr(groups(), p.gid) }},
		{"tty", "TT", false, func(p process) string { return ttyName(p.tty) }},
		{"stat", "STAT", false, process.stat},
		{"state", "S", false, func(p process) string { return string(p.state) }},
		{"s", "S", false, func(p process) string { return string(p.state) }},
		{"time", "TIME", true, clock},
		{"stime", "STIME", true, func(p process) string { return since(p).Format("15:04") }},
		{"start", "STARTED", true, func(p process) string { return since(p).Format("15:04:05") }},
		{"lstart", "STARTED", true, func(p process) string { return since(p).Format(time.ANSIC) }},
		{"etimes", "ELAPSED", true, func(p process) string { return i(int(time.Since(since(p)).Seconds())) }},
		{"nlwp", "NLWP", true, func(p process) string { return i(p.threads) }},
		{"ni", "NI", true, func(p process) string { return i(p.nice) }},
		{"vsz", "VSZ", true, func(p process) string { return fmt.Sprint(p.vsize) }},
		{"rss", "RSS", true, func(p process) string { return fmt.Sprint(p.rss) }},
		{"comm", "COMMAND", false, func(p process) string { return p.comm }},
		{"args", "COMMAND", false, process.command},
		{"cmd", "CMD", false, process.command},
		{"command", "COMMAND", false, process.command},
		{"pidns", "PIDNS", true, nsNumber("pid")}, {"mntns", "MNTNS", true, nsNumber("mnt")},
		{"userns", "USERNS", true, nsNumber("user")}, {"netns", "NETNS", true, nsNumber("net")},
		{"utsns", "UTSNS", true, nsNumber("uts")}, {"ipcns", "IPCNS", true, nsNumber("ipc")},
	}
}

// nsNumber shows the inode number that identifies a namespace: namespaces(7).
func nsNumber(kind string) func(process) string {
	return func(p process) string {
		s, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.pid, kind))
		if err != nil {
			return "-"
		}
		return strings.TrimSuffix(s[strings.IndexByte(s, '[')+1:], "]")
	}
}

// psPick turns "pid,ppid,comm=NAME" into columns; a title may be given after "=".
func (c *Call) psPick(specs []string) (cols []psColumn) {
	all := psColumns()
	for _, spec := range specs {
		for spec != "" {
			var name string
			name, spec, _ = strings.Cut(spec, ",")
			name, title, has := strings.Cut(name, "=")
			at := slices.IndexFunc(all, func(k psColumn) bool { return k.name == strings.TrimSpace(name) })
			if at < 0 {
				c.die(1, "unknown column %s", name)
			}
			k := all[at]
			if has {
				k.title = title
				if spec != "" && title != "" { // POSIX: a title extends to the end
					k.title, spec = title+","+spec, ""
				}
			}
			cols = append(cols, k)
		}
	}
	return cols
}

// ps: list processes.
func ps(c *Call) {
	if len(c.args) > 0 && c.args[0] != "" && c.args[0][0] != '-' && strings.Trim(c.args[0], "auxwfej") == "" {
		c.args[0] = map[bool]string{true: "-Bewx", false: "-ex"}[strings.Contains(c.args[0], "u")]
	}
	c.opts("eAafFlo:p:u:t:jwxBHT", "ppid=P")
	var list []process
	self, err := readProcess(os.Getpid())
	if err != nil {
		c.die(1, "%s: is /proc mounted?", reason(err))
	}
	for _, p := range processes() {
		if c.psWanted(p, self) {
			list = append(list, p)
		}
	}
	specs := c.flag['o']
	switch {
	case c.has('o'):
	case c.has('B'):
		specs = []string{"user,pid,vsz,rss,tty=TTY", "stat,stime=START", "time,command"}
	case c.has('f') || c.has('F'):
		specs = []string{"user=UID", "pid,ppid,stime,tty=TTY", "time,cmd"}
	case c.has('l'):
		specs = []string{"s,uid,pid,ppid,ni,rss,tty=TTY", "time,comm=CMD"}
	case c.has('j'):
		specs = []string{"pid,pgid,sid,tty=TTY", "time,comm=CMD"}
	case c.has('x'):
		specs = []string{"pid,tty=TTY", "stat,time,command"}
	default:
		specs = []string{"pid,tty=TTY", "time,comm=CMD"}
	}
	c.psTable(c.psPick(specs), list)
	if len(list) == 0 {
		c.exit = 1
	}
}

// psWanted selects by the options; without one, the processes of the same user
// on the same terminal.
func (c *Call) psWanted(p, self process) bool {
	if c.has('e') || c.has('A') || c.has('x') {
		return true
	}
	selected := c.has('p') || c.has('u') || c.has('t')
	match := func(letter byte, ok func(s string) bool) bool {
		for _, v := range c.flag[letter] {
			if slices.ContainsFunc(strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }), ok) {
				return true
			}
		}
		return false
	}
	if selected {
		return match('p', func(s string) bool { return s == strconv.Itoa(p.pid) }) ||
			match('u', func(s string) bool { u, ok := find(users(), s); return ok && u.id == p.uid }) ||
			match('t', func(s string) bool { return strings.TrimPrefix(s, "/dev/") == ttyName(p.tty) })
	}
	if c.has('a') {
		return p.tty != 0 && p.sid != p.pid
	}
	return p.tty == self.tty && p.uid == self.uid
}

func (c *Call) psTable(cols []psColumn, list []process) {
	rows := make([][]string, len(list))
	wide := make([]int, len(cols))
	titles := false
	for i, k := range cols {
		wide[i] = len(k.title)
		titles = titles || k.title != ""
		if k.right && k.title != "" {
			wide[i] = max(wide[i], map[string]int{"pid": 7, "ppid": 7, "pgid": 7, "sid": 7}[k.name])
		}
		if k.name == "tty" || k.name == "user" {
			wide[i] = max(wide[i], 8)
		}
	}
	for r, p := range list {
		for i, k := range cols {
			s := k.text(p)
			rows[r] = append(rows[r], s)
			wide[i] = max(wide[i], len(s))
		}
	}
	line := func(text func(i int) string) {
		s := ""
		for i, k := range cols {
			switch {
			case k.right:
				s += fmt.Sprintf("%*s ", wide[i], text(i))
			case i == len(cols)-1:
				s += text(i)
			default:
				s += fmt.Sprintf("%-*s ", wide[i], text(i))
			}
		}
		fmt.Fprintln(c.out, strings.TrimRight(s, " "))
	}
	if titles {
		line(func(i int) string { return cols[i].title })
	}
	for _, row := range rows {
		line(func(i int) string { return row[i] })
	}
}

// pgrep: find processes by name. pkill: signal them. pidof: by exact name.
func pgrep(c *Call) {
	sig := syscall.SIGTERM
	if (c.Name == "pkill" || c.Name == "killall") && len(c.args) > 0 {
		if s, ok := Signal(strings.TrimPrefix(c.args[0], "-")); ok && c.args[0][0] == '-' {
			sig, c.args = s, c.args[1:]
		}
	}
	c.opts("flaxnovcP:u:s", "full=f", "list-name=l", "exact=x", "newest=n", "oldest=o", "count=c", "parent=P")
	if len(c.args) == 0 && !c.has('P') && !c.has('u') {
		c.usage()
	}
	var found []process
	for _, p := range processes() {
		if p.pid != os.Getpid() && c.pgrepWanted(p) {
			found = append(found, p)
		}
	}
	if len(found) > 1 && (c.has('n') || c.has('s')) {
		found = found[len(found)-1:]
	} else if len(found) > 1 && c.has('o') {
		found = found[:1]
	}
	if len(found) == 0 {
		c.exit = 1
	}
	if c.has('c') {
		fmt.Fprintln(c.out, len(found))
		return
	}
	for i, p := range found {
		switch {
		case c.Name == "pkill" || c.Name == "killall":
			if err := syscall.Kill(p.pid, sig); err != nil {
				c.fail(strconv.Itoa(p.pid), err)
			}
		case c.Name == "pidof":
			fmt.Fprint(c.out, []string{" ", ""}[max(0, 1-i)], p.pid)
			if i == len(found)-1 {
				fmt.Fprintln(c.out)
			}
		case c.has('a') || c.has('l') && c.has('f'):
			fmt.Fprintln(c.out, p.pid, p.command())
		case c.has('l'):
			fmt.Fprintln(c.out, p.pid, p.comm)
		default:
			fmt.Fprintln(c.out, p.pid)
		}
	}
}

func (c *Call) pgrepWanted(p process) bool {
	if c.has('P') && c.val('P') != strconv.Itoa(p.ppid) {
		return false
	}
	if c.has('u') {
		if u, ok := find(users(), c.val('u')); !ok || u.id != p.uid {
			return false
		}
	}
	if len(c.args) == 0 {
		return true
	}
	if c.Name == "pidof" || c.Name == "killall" {
		return slices.Contains(c.args, p.comm)
	}
	text := p.comm
	if c.has('f') {
		text = p.command()
	}
	if c.has('x') {
		return text == c.args[0]
	}
	return c.pattern(c.args[0]).MatchString(text) != c.has('v')
}
