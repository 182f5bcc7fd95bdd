// What /proc says of a process: proc(5). All of it is seen from outside of its namespaces.

package mini

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

type unixStatus = syscall.WaitStatus

// processes are the numbers of all there are.
func processes() iter.Seq[int] {
	return func(yield func(int) bool) {
		dir, err := os.Open("/proc")
		if err != nil {
			return
		}
		defer dir.Close()
		names, _ := dir.Readdirnames(-1) // what ended meanwhile is no loss
		for _, n := range names {
			if pid, err := strconv.Atoi(n); err == nil && !yield(pid) {
				return
			}
		}
	}
}

func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// view is a process, by its number on this side.
type view int

// namespace is the number of one that the process is in: namespaces(7).
func (v view) namespace(name string) string {
	link, _ := os.Readlink(procFile(int(v), "ns/"+name)) // "": the process is gone
	return link
}

// status is a line of /proc/pid/status, its words.
func (v view) status(key string) []string {
	text, _ := os.ReadFile(procFile(int(v), "status"))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

func (v view) parent() int {
	n, _ := strconv.Atoi(strings.Join(v.status("PPid"), ""))
	return n
}

// inside is the number that the process has in its own pid namespace.
func (v view) inside() string {
	all := v.status("NSpid")
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// mapped tells which id the process has in its user namespace: user_namespaces(7), "Defining user
// and group ID mappings". Both the map and the status have ids as this side counts them. ok is
// false if the namespace has no such id.
func (v view) mapped(key, table string) (id string, ok bool) {
	ids := v.status(key)
	text, err := os.ReadFile(procFile(int(v), table))
	if len(ids) < 2 || err != nil {
		return "", false
	}
	own, _ := strconv.ParseUint(ids[1], 10, 32) // the effective one
	for line := range strings.Lines(string(text)) {
		var in, out, count uint64
		if n, _ := fmt.Sscan(line, &in, &out, &count); n == 3 && own >= out && own < out+count {
			return fmt.Sprint(own - out + in), true
		}
	}
	return "", false
}

// mount is a line of /proc/pid/mountinfo.
type mount struct{ at, kind string }

// mounts are those that the process can reach from its root directory.
func (v view) mounts() (all []mount) {
	text, _ := os.ReadFile(procFile(int(v), "mountinfo"))
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if dash := slices.Index(f, "-"); dash > 4 && dash+1 < len(f) {
			all = append(all, mount{f[4], f[dash+1]})
		}
	}
	return all
}

// file says which file a path is, "" if it is out of reach.
func file(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	s := st.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// top climbs from a directory of the process as far as its mounts go, and says which one that is:
// path_resolution(7), "Dot and dotdot". From this side, whose root is elsewhere, nothing else ends
// the way. "" is a directory that cannot be looked at from here.
func (v view) top(name string) string {
	path := procFile(int(v), name) + "/."
	at := file(path)
	for range 100 {
		path += "/.."
		switch up := file(path); up {
		case "":
			return ""
		case at:
			return at
		default:
			at = up
		}
	}
	return ""
}

// descriptors are the open files by number: what each leads to.
func (v view) descriptors() map[int]string {
	all := map[int]string{}
	entries, _ := os.ReadDir(procFile(int(v), "fd"))
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if to, e := os.Readlink(procFile(int(v), "fd/"+e.Name())); err == nil && e == nil {
			all[n] = to
		}
	}
	return all
}

// capabilities is one of the sets: capabilities(7), "Thread capability sets".
func (v view) capabilities(set string) uint64 {
	n, _ := strconv.ParseUint(strings.Join(v.status(set), ""), 16, 64)
	return n
}
