// The commands mount and umount: mount(2), mount(8).

package box

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountFlags are the options that mount(2) takes as bits; the others go to the
// file system as text.
func mountFlags() map[string]uintptr {
	return map[string]uintptr{
		"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
		"sync": unix.MS_SYNCHRONOUS, "remount": unix.MS_REMOUNT, "dirsync": unix.MS_DIRSYNC, "noatime": unix.MS_NOATIME,
		"nodiratime": unix.MS_NODIRATIME, "bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "move": unix.MS_MOVE,
		"relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME, "nosymfollow": unix.MS_NOSYMFOLLOW,
		"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC, "slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
		"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC, "unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
		"rw": 0, "suid": 0, "dev": 0, "exec": 0, "async": 0, "atime": 0, "defaults": 0,
	}
}

const propagation = unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_SHARED | unix.MS_UNBINDABLE

// mount: mount a file system, or list what is mounted.
func mount(c *Call) {
	flags := mountFlags()
	var words []string // "--bind" and the like are options by another spelling
	c.args = slices.DeleteFunc(c.args, func(a string) bool {
		name, ok := strings.CutPrefix(a, "--make-")
		if !ok {
			name, ok = strings.CutPrefix(a, "--")
		}
		if _, known := flags[name]; ok && known {
			words = append(words, name)
			return true
		}
		return false
	})
	c.opts("t:o:rwnBRMlv", "types=t", "options=o", "read-only=r", "bind=B", "rbind=R", "move=M")
	for letter, word := range map[byte]string{'B': "bind", 'R': "rbind", 'M': "move", 'r': "ro"} {
		if c.has(letter) {
			words = append(words, word)
		}
	}
	if len(c.args) == 0 {
		c.listMounts()
		return
	}
	for _, o := range c.flag['o'] {
		words = append(words, strings.Split(o, ",")...)
	}
	var bits uintptr
	var data []string
	for _, w := range words {
		if b, ok := flags[w]; ok {
			bits |= b
		} else if w != "" {
			data = append(data, w)
		}
	}
	c.need(1, 2)
	source, target, kind := "none", c.args[len(c.args)-1], c.val('t')
	if len(c.args) == 2 {
		source = c.args[0]
	}
	c.mountCalls(source, target, kind, bits, strings.Join(data, ","))
}

// mountCalls makes the calls: propagation is changed by one of its own, and a
// bind mount takes no other flags at first, so that "bind,ro" is two calls
// (mount(2), "Creating a bind mount").
func (c *Call) mountCalls(source, target, kind string, bits uintptr, data string) {
	do := func(flags uintptr, data string) {
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			what := target
			if source != "none" {
				what = source + " on " + target
			}
			c.die(32, "cannot mount %s: %s", what, reason(err))
		}
	}
	change := bits & propagation
	rest := bits &^ propagation
	if change != 0 {
		rest &^= unix.MS_REC
	}
	switch {
	case rest&unix.MS_BIND != 0 && rest&unix.MS_REMOUNT == 0:
		do(rest&(unix.MS_BIND|unix.MS_REC), "")
		if more := rest &^ (unix.MS_BIND | unix.MS_REC); more != 0 {
			do(more|unix.MS_BIND|unix.MS_REMOUNT, data)
		}
	case rest != 0 || change == 0:
		do(rest, data)
	}
	if change != 0 {
		do(change|bits&unix.MS_REC, "")
	}
}

// A mountLine is one line of /proc/self/mountinfo, proc(5).
type mountLine struct{ id, parent, dev, root, target, options, optional, kind, source, super string }

func mounts() ([]mountLine, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []mountLine
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		left, right, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		l, r := strings.Fields(left), strings.SplitN(right, " ", 3)
		if len(l) < 6 || len(r) < 3 {
			continue
		}
		list = append(list, mountLine{l[0], l[1], l[2], unescape.Replace(l[3]), unescape.Replace(l[4]), l[5],
			strings.Join(l[6:], " "), r[0], unescape.Replace(r[1]), r[2]})
	}
	return list, nil
}

// mountPointOf is the mount that a path is on: the one with the longest name
// that the path lies in; of several on one place, the last is on top.
func mountPointOf(path string) string {
	real, err := realPath(path, 0)
	list, err2 := mounts()
	if err != nil || err2 != nil {
		return "?"
	}
	best := "/"
	for _, m := range list {
		if strings.HasPrefix(real+"/", strings.TrimSuffix(m.target, "/")+"/") && len(m.target) >= len(best) {
			best = m.target
		}
	}
	return best
}

func (c *Call) listMounts() {
	list, err := mounts()
	if err != nil {
		c.die(1, "%s (is /proc mounted?)", err)
	}
	for _, m := range list {
		if c.has('t') && c.val('t') != m.kind {
			continue
		}
		opts := m.options
		for o := range strings.SplitSeq(m.super, ",") {
			if o != "rw" && o != "ro" && o != "" {
				opts += "," + o
			}
		}
		fmt.Fprintf(c.out, "%s on %s type %s (%s)\n", m.source, m.target, m.kind, opts)
	}
}

// umount: take mounts away.
func umountCmd(c *Call) {
	c.opts("lfRarnqv", "lazy=l", "force=f", "recursive=R", "all=a")
	c.need(1, -1)
	flags := 0
	if c.has('l') {
		flags |= unix.MNT_DETACH
	}
	if c.has('f') {
		flags |= unix.MNT_FORCE
	}
	for _, path := range c.args {
		targets := []string{path}
		if c.has('R') {
			targets = c.mountsBelow(path)
		}
		for _, t := range targets {
			if err := unix.Unmount(t, flags|unix.UMOUNT_NOFOLLOW); err != nil {
				err2 := err
				if real, rerr := realPath(t, 0); rerr == nil && real != t { // a symbolic link: try where it leads
					err2 = unix.Unmount(real, flags)
				}
				if err2 != nil {
					c.fail(t, err2)
					c.exit = 32
				}
			}
		}
	}
}

// mountsBelow lists the mounts at and below a path, the deepest first.
func (c *Call) mountsBelow(path string) []string {
	real, err := realPath(path, 0)
	if err != nil {
		real = path
	}
	list, _ := mounts()
	var targets []string
	for _, m := range list {
		if strings.HasPrefix(m.target+"/", strings.TrimSuffix(real, "/")+"/") {
			targets = append(targets, m.target)
		}
	}
	if len(targets) == 0 {
		return []string{path}
	}
	slices.Reverse(targets)
	return targets
}

// mountpoint: is a directory a mount point?
func mountpoint(c *Call) {
	c.opts("qd", "quiet=q", "fs-devno=d")
	c.need(1, 1)
	path := c.args[0]
	real, err := realPath(path, 0)
	if err != nil {
		if !c.has('q') {
			c.fail(path, err)
		}
		c.quit(1)
	}
	list, err := mounts()
	if err != nil {
		c.die(1, "%s (is /proc mounted?)", err)
	}
	for _, m := range slices.Backward(list) {
		if m.target == real {
			if c.has('d') {
				fmt.Fprintln(c.out, m.dev)
			} else if !c.has('q') {
				fmt.Fprintf(c.out, "%s is a mountpoint\n", path)
			}
			return
		}
	}
	if !c.has('q') {
		fmt.Fprintf(c.out, "%s is not a mountpoint\n", path)
	}
	c.exit = 32
}

// findmnt: the mounts as a tree.
func findmnt(c *Call) {
	c.opts("no:t:", "noheadings=n", "output=o", "types=t")
	list, err := mounts()
	if err != nil {
		c.die(1, "%s (is /proc mounted?)", err)
	}
	type row struct{ target, source, kind, options string }
	rows := []row{{"TARGET", "SOURCE", "FSTYPE", "OPTIONS"}}
	if c.has('n') {
		rows = nil
	}
	var add func(m mountLine, first, rest string)
	add = func(m mountLine, first, rest string) {
		source := m.source
		if m.root != "/" {
			source += "[" + m.root + "]"
		}
		options := m.options
		if m.optional != "" {
			options += " " + m.optional
		}
		rows = append(rows, row{first + m.target, source, m.kind, options})
		var kids []mountLine
		for _, k := range list {
			if k.parent == m.id && k.id != m.id {
				kids = append(kids, k)
			}
		}
		for i, k := range kids {
			if i == len(kids)-1 {
				add(k, rest+"`-", rest+"  ")
			} else {
				add(k, rest+"|-", rest+"| ")
			}
		}
	}
	for _, m := range list {
		isRoot := !slices.ContainsFunc(list, func(p mountLine) bool { return p.id == m.parent && p.id != m.id })
		if len(c.args) > 0 {
			isRoot = m.target == c.args[0] || m.source == c.args[0]
		}
		if isRoot && (!c.has('t') || c.val('t') == m.kind) {
			add(m, "", "")
		}
	}
	if len(rows) < 2 {
		c.quit(1)
	}
	w1, w2, w3 := 0, 0, 0
	for _, r := range rows {
		w1, w2, w3 = max(w1, len(r.target)), max(w2, len(r.source)), max(w3, len(r.kind))
	}
	for _, r := range rows {
		fmt.Fprintf(c.out, "%-*s %-*s %-*s %s\n", w1, r.target, w2, r.source, w3, r.kind, r.options)
	}
}
