// Owners: the names of --chown are looked up in the image.

package build

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDatabase is how much of passwd and group is read, in bytes.
const maxDatabase = 1 << 20

// lookupOwner reads USER[:GROUP], names or numbers. A user without a group has the group of the
// same number, with a name that of passwd: the Dockerfile reference, "COPY --chown".
func lookupOwner(t tree, owner string) (uid, gid uint32, err error) {
	user, group, _ := strings.Cut(owner, ":")
	if n, err := strconv.ParseUint(user, 10, 31); err == nil {
		uid, gid = uint32(n), uint32(n)
	} else {
		f := lookup(t, "etc/passwd", user)
		if len(f) < 4 || !parseIDs(f[2:4], &uid, &gid) {
			return 0, 0, fmt.Errorf("the image has no user %q", user)
		}
	}
	if group == "" {
		return uid, gid, nil
	}
	if n, err := strconv.ParseUint(group, 10, 31); err == nil {
		return uid, uint32(n), nil
	}
	f := lookup(t, "etc/group", group)
	if len(f) < 3 || !parseIDs(f[2:3], &gid) {
		return 0, 0, fmt.Errorf("the image has no group %q", group)
	}
	return uid, gid, nil
}

func parseIDs(fields []string, to ...*uint32) bool {
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return false
		}
		*to[i] = uint32(n)
	}
	return true
}

// lookup finds the line of a name: passwd(5), group(5).
func lookup(t tree, database, name string) []string {
	real, f, err := follow(t, database)
	if err != nil || !f.is(unix.S_IFREG) {
		return nil
	}
	r, err := t.open(real)
	if err != nil {
		return nil
	}
	defer r.Close()
	lines := bufio.NewScanner(io.LimitReader(r, maxDatabase))
	for lines.Scan() {
		if fields := strings.Split(lines.Text(), ":"); fields[0] == name {
			return fields
		}
	}
	return nil
}
