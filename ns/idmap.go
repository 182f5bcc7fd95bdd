// User and group ids of a user namespace: which are mapped, by whom, and what is shown for those
// that are not. subuid(5), newuidmap(1).

package ns

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxExtents is how many lines /proc/PID/uid_map takes: user_namespaces(7),
// "Defining user and group ID mappings": 340 since Linux 4.15.
const maxExtents = 340

// idFileLimit bounds what is read of /etc/subuid and its like, in bytes.
const idFileLimit = 4 << 20

// contains tells whether id, as seen inside, has a mapping.
func contains(ranges []IDRange, id uint32) bool {
	for _, r := range ranges {
		if id >= r.Inside && id-r.Inside < r.Count {
			return true
		}
	}
	return false
}

// HasUID tells whether the user id, as seen inside, is mapped.
func (m IDMap) HasUID(id uint32) bool { return contains(m.UIDs, id) }

// hasGID tells whether the group id, as seen inside, is mapped.
func (m IDMap) hasGID(id uint32) bool { return contains(m.GIDs, id) }

// As returns the ids of a container below one with the ids m, in which what m calls 0, the user
// that started tiffin, is uid and gid. Of ids without others, that is the only one; else those
// below move up by one, into the gap: what podman calls keep-id.
func (m IDMap) As(uid, gid uint32) IDMap {
	return IDMap{UIDs: renamed(m.UIDs, uid), GIDs: renamed(m.GIDs, gid), Setgroups: m.Setgroups, Renamed: true}
}

// Below are the ids of a user namespace below one with the ids m that has the same.
func (m IDMap) Below() IDMap {
	return IDMap{UIDs: identity(m.UIDs), GIDs: identity(m.GIDs), Setgroups: m.Setgroups}
}

// renamed gives 0 the name id. Each range is within one of all: user_namespaces(7), "Defining user
// and group ID mappings".
func renamed(all []IDRange, id uint32) []IDRange {
	out := []IDRange{{id, 0, 1}}
	for _, r := range all {
		first, end := max(r.Inside, 1), r.Inside+r.Count
		if split := min(max(id+1, first), end); split > first {
			out = append(out, IDRange{first - 1, first, split - first})
			first = split
		}
		if end > first {
			out = append(out, IDRange{first, first, end - first})
		}
	}
	return out
}

// inside are the maps of the container, below its supervisor, which has ids.
func (m IDMap) inside() (uids, gids []IDRange) {
	if m.Renamed {
		return m.UIDs, m.GIDs
	}
	return identity(m.UIDs), identity(m.GIDs)
}

// MapUID returns id if the namespace has a mapping for it, else 0, or what is there in its place:
// the owner a file is shown with. The kernel refuses writes to inodes whose owner has no mapping
// (user_namespaces(7); inode_permission in fs/namei.c).
func (m IDMap) MapUID(id uint32) uint32 {
	return mapID(m.UIDs, id)
}

func mapID(ranges []IDRange, id uint32) uint32 {
	switch {
	case contains(ranges, id):
		return id
	case len(ranges) == 0 || contains(ranges, 0):
		return 0
	}
	return ranges[0].Inside
}

// MapGID is MapUID for groups.
func (m IDMap) MapGID(id uint32) uint32 {
	return mapID(m.GIDs, id)
}

// Single tells whether there is no more than one user id.
func (m IDMap) Single() bool {
	return len(m.UIDs) == 1 && m.UIDs[0].Count == 1
}

// format writes ranges as /proc/PID/uid_map takes them, one line each.
func format(ranges []IDRange) string {
	var b strings.Builder
	for _, r := range ranges {
		fmt.Fprintf(&b, "%d %d %d\n", r.Inside, r.Outside, r.Count)
	}
	return b.String()
}

// parseMap reads /proc/PID/uid_map: three numbers a line.
func parseMap(text []byte) ([]IDRange, error) {
	var ranges []IDRange
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || len(ranges) == maxExtents {
			return nil, fmt.Errorf("id map line %q: want three numbers", line)
		}
		var n [3]uint32
		for i := range f {
			v, err := strconv.ParseUint(string(f[i]), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("id map line %q: %w", line, err)
			}
			n[i] = uint32(v)
		}
		ranges = append(ranges, IDRange{n[0], n[1], n[2]})
	}
	return ranges, nil
}

// idsOf reads the ids of a process's user namespace. Outside is what this process's calls them.
func idsOf(pid int) (m IDMap, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	for _, f := range []struct {
		name string
		to   *[]IDRange
	}{{"uid_map", &m.UIDs}, {"gid_map", &m.GIDs}} {
		text, e := os.ReadFile(dir + f.name)
		if e == nil {
			*f.to, e = parseMap(text)
		}
		err = errors.Join(err, e)
	}
	allowed, e := os.ReadFile(dir + "setgroups")
	m.Setgroups = string(allowed) == "allow\n"
	if err = errors.Join(err, e); err != nil {
		err = fmt.Errorf("read the ids of process %d: %w", pid, err)
	}
	return m, err
}

// BesideIDs are the ids of a container below this supervisor that shares the user namespace of
// another, of which pidfd is process 1: Start.Beside.
func BesideIDs(pidfd *os.File) (IDMap, error) {
	pid, err := hostPid(pidfd)
	if err != nil {
		return IDMap{}, err
	}
	m, err := idsOf(pid)
	if again, e := hostPid(pidfd); err == nil && (e != nil || again != pid) { // -1: it has ended, and the number may be another's
		err = errors.New("read the ids of the other container: it has ended")
	}
	m.Renamed = true
	return m, err
}

// InsideUID returns what the user namespace of a process calls user ids of this one: a number, or
// "?".
func InsideUID(pid int) func(uid uint32) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	ranges, _ := parseMap(text)
	return func(uid uint32) string {
		for _, r := range ranges {
			if uid >= r.Outside && uid-r.Outside < r.Count {
				return strconv.FormatUint(uint64(r.Inside+uid-r.Outside), 10)
			}
		}
		return "?"
	}
}

// identity returns the map that gives a new user namespace every id this one
// has. In the initial namespace that is "0 0 4294967295"; when root itself lives
// in a user namespace, /proc/self/uid_map lists the ids that exist at all, and
// only those can be passed on.
func identity(mine []IDRange) []IDRange {
	out := make([]IDRange, len(mine))
	for i, r := range mine {
		out[i] = IDRange{r.Inside, r.Inside, r.Count}
	}
	return out
}

// withSubordinate puts one's own id first, as 0, and the ranges behind it.
func withSubordinate(own uint32, sub []IDRange) []IDRange {
	out := append(make([]IDRange, 0, 1+len(sub)), IDRange{0, own, 1})
	next := uint32(1)
	for _, r := range sub {
		if len(out) == maxExtents || next+r.Count < next {
			break
		}
		out = append(out, IDRange{next, r.Outside, r.Count})
		next += r.Count
	}
	return out
}

// parseSubIDs reads /etc/subuid or /etc/subgid: subuid(5), lines of
// "owner:first:count", the owner by name or by number. It returns the ranges of
// the given owner (Inside is not set); lines it cannot read are skipped, as
// newuidmap does.
func parseSubIDs(r io.Reader, uid uint32, name string) []IDRange {
	var ranges []IDRange
	id := strconv.FormatUint(uint64(uid), 10)
	s := bufio.NewScanner(io.LimitReader(r, idFileLimit))
	for s.Scan() {
		owner, rest, _ := strings.Cut(s.Text(), ":")
		if owner == "" || owner != id && owner != name {
			continue
		}
		first, count, ok := strings.Cut(rest, ":")
		f, err1 := strconv.ParseUint(first, 10, 32)
		n, err2 := strconv.ParseUint(count, 10, 32)
		if !ok || err1 != nil || err2 != nil || n == 0 || f+n > 1<<32-1 {
			continue
		}
		ranges = append(ranges, IDRange{Outside: uint32(f), Count: uint32(n)})
	}
	return ranges
}

// freeRange proposes 65536 ids above all that the file gives to users, in the form that usermod(8)
// takes. Two users with the same ids could change each other's files.
func freeRange(file string) string {
	first := uint64(100000)
	if text, err := os.ReadFile(file); err == nil {
		for line := range strings.Lines(string(text)) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) != 3 {
				continue
			}
			start, err1 := strconv.ParseUint(f[1], 10, 32)
			count, err2 := strconv.ParseUint(f[2], 10, 32)
			if err1 == nil && err2 == nil && start+count < 1<<32-65536 {
				first = max(first, start+count)
			}
		}
	}
	return fmt.Sprintf("%d-%d", first, first+65535)
}

// SubIDs returns the ranges that file (/etc/subuid or /etc/subgid) gives to a user.
// Ranges that only getsubids(1) knows, from a directory service, are not seen.
func SubIDs(file string, uid uint32, name string) ([]IDRange, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSubIDs(f, uid, name), nil
}

// UserName finds the name of a user id in the host's /etc/passwd, or what
// $USER says for users that only a directory service knows. The name only
// selects lines of /etc/subuid; newuidmap(1) checks it again.
func UserName(uid uint32) string {
	if f, err := os.Open("/etc/passwd"); err == nil {
		defer f.Close()
		var name string
		scanPasswd(f, func(u passwdEntry) bool {
			if u.uid == uid {
				name = u.name
			}
			return name == ""
		})
		if name != "" {
			return name
		}
	}
	return os.Getenv("USER")
}
