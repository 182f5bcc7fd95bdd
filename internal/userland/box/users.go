// Commands about users, from passwd(5) and group(5): id, whoami, groups, getent.

package box

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// An account is a line of /etc/passwd or /etc/group (passwd(5), group(5)): name
// and number, and all fields as they stand. os/user is not used: it may call
// libc, and it reads the file again for each question.
type account struct {
	name   string
	id     int
	fields []string
}

var passwd, group []account // read on first use

// readAccounts reads the file; what is not a sane line is left out, and a
// missing file is an empty one, as in images without accounts.
func readAccounts(path string, cache *[]account) []account {
	if *cache != nil {
		return *cache
	}
	*cache = []account{}
	text, err := os.ReadFile(path)
	if err != nil {
		return *cache
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 3 {
			continue
		}
		if id, err := strconv.Atoi(f[2]); err == nil {
			*cache = append(*cache, account{f[0], id, f})
		}
	}
	return *cache
}

func users() []account  { return readAccounts("/etc/passwd", &passwd) }
func groups() []account { return readAccounts("/etc/group", &group) }

// byID is the name that belongs to a number, "" if it has none.
func byID(list []account, id int) string {
	for _, a := range list {
		if a.id == id {
			return a.name
		}
	}
	return ""
}

// nameOr is the name, or the number when there is no name.
func nameOr(list []account, id int) string {
	if s := byID(list, id); s != "" {
		return s
	}
	return strconv.Itoa(id)
}

// find looks an account up by name, else by number.
func find(list []account, s string) (account, bool) {
	for _, a := range list {
		if a.name == s {
			return a, true
		}
	}
	id, err := strconv.Atoi(s)
	if err != nil || id < 0 {
		return account{}, false
	}
	for _, a := range list {
		if a.id == id {
			return a, true
		}
	}
	return account{name: s, id: id}, true
}

// memberOf lists the groups that /etc/group gives to a user beside the one in
// /etc/passwd.
func memberOf(user string) []int {
	var ids []int
	for _, g := range groups() {
		if len(g.fields) > 3 && slices.Contains(strings.Split(g.fields[3], ","), user) {
			ids = append(ids, g.id)
		}
	}
	return ids
}

// id: print user and group ids.
func id(c *Call) {
	c.opts("ugGnr", "user=u", "group=g", "groups=G", "name=n", "real=r")
	uid, gid, euid, egid := os.Getuid(), os.Getgid(), os.Geteuid(), os.Getegid()
	supp, _ := os.Getgroups()
	if len(c.args) > 0 {
		u, ok := find(users(), c.args[0])
		if !ok || u.fields == nil {
			c.die(1, "%s: no such user", c.args[0])
		}
		uid = u.id
		gid, _ = strconv.Atoi(u.fields[3])
		euid, egid, supp = uid, gid, memberOf(u.name)
	}
	if c.has('r') {
		euid, egid = uid, gid
	}
	all := []int{egid}
	for _, g := range supp {
		if !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	show := func(list []account, n int) string {
		if c.has('n') {
			return nameOr(list, n)
		}
		return strconv.Itoa(n)
	}
	switch {
	case c.has('u'):
		fmt.Fprintln(c.out, show(users(), euid))
	case c.has('g'):
		fmt.Fprintln(c.out, show(groups(), egid))
	case c.has('G'):
		var s []string
		for _, g := range all {
			s = append(s, show(groups(), g))
		}
		fmt.Fprintln(c.out, strings.Join(s, " "))
	default:
		c.idLine(uid, euid, gid, egid, all)
	}
}

// withName is "0(root)", or "4711" where there is no name.
func withName(list []account, n int) string {
	if s := byID(list, n); s != "" {
		return fmt.Sprintf("%d(%s)", n, s)
	}
	return strconv.Itoa(n)
}

func (c *Call) idLine(uid, euid, gid, egid int, all []int) {
	fmt.Fprintf(c.out, "uid=%s gid=%s", withName(users(), uid), withName(groups(), gid))
	if euid != uid {
		fmt.Fprintf(c.out, " euid=%s", withName(users(), euid))
	}
	if egid != gid {
		fmt.Fprintf(c.out, " egid=%s", withName(groups(), egid))
	}
	var s []string
	for _, g := range all {
		s = append(s, withName(groups(), g))
	}
	fmt.Fprintf(c.out, " groups=%s\n", strings.Join(s, ","))
}

// whoami: the name of the effective user.
func whoami(c *Call) {
	c.opts("")
	c.need(0, 0)
	name := byID(users(), os.Geteuid())
	if name == "" {
		c.die(1, "no name for user id %d", os.Geteuid())
	}
	fmt.Fprintln(c.out, name)
}

// groupsCmd: the groups of the process, or of a user.
func groupsCmd(c *Call) {
	c.opts("")
	ids := []int{os.Getegid()}
	supp, _ := os.Getgroups()
	if len(c.args) > 0 {
		u, ok := find(users(), c.args[0])
		if !ok || u.fields == nil {
			c.die(1, "%s: no such user", c.args[0])
		}
		ids[0], _ = strconv.Atoi(u.fields[3])
		supp = memberOf(u.name)
		fmt.Fprintf(c.out, "%s : ", u.name)
	}
	var s []string
	for _, g := range append(ids, supp...) {
		if n := nameOr(groups(), g); !slices.Contains(s, n) {
			s = append(s, n)
		}
	}
	fmt.Fprintln(c.out, strings.Join(s, " "))
}

// getent: entries of passwd, group and hosts.
func getent(c *Call) {
	c.opts("")
	c.need(1, -1)
	files := map[string]string{"passwd": "/etc/passwd", "group": "/etc/group", "hosts": "/etc/hosts"}
	path := files[c.args[0]]
	if path == "" {
		c.die(1, "%s: unknown database (passwd, group, hosts)", c.args[0])
	}
	text, err := os.ReadFile(path)
	if err != nil {
		c.die(1, "%s: %s", path, reason(err))
	}
	for _, key := range append(c.args[1:], "")[:max(1, len(c.args)-1)] {
		found := false
		for line := range strings.Lines(string(text)) {
			f := strings.FieldsFunc(line, func(r rune) bool { return r == ':' || r == '\n' })
			if c.args[0] == "hosts" {
				f = strings.Fields(line)
			} else if len(f) > 2 {
				f = []string{f[0], f[2]}
			}
			if key == "" || slices.Contains(f, key) {
				fmt.Fprint(c.out, line)
				found = true
				if key != "" {
					break
				}
			}
		}
		if !found && key != "" && c.args[0] == "hosts" { // hosts(5) has not got it: resolv.conf(5)
			addrs, _ := net.LookupHost(key)
			for _, a := range addrs {
				fmt.Fprintf(c.out, "%-15s %s\n", a, key)
			}
			found = len(addrs) > 0
		}
		if !found && key != "" {
			c.exit = 2
		}
	}
}

// UserName is the name of a user id, or the number if it has none.
func UserName(uid int) string { return nameOr(users(), uid) }
