// Who the command runs as: names are looked up in the image's own passwd(5) and group(5), which
// strangers wrote.

package ns

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// An image's /etc/passwd and /etc/group are written by strangers: only regular
// files inside the image are read, and no more than this many bytes of each.
const (
	UserFileLimit = 4 << 20
	maxGroups     = 1024 // supplementary groups taken from an image
)

// passwdEntry is a line of /etc/passwd, passwd(5).
type passwdEntry struct {
	name     string
	uid, gid uint32
	home     string
}

// groupEntry is a line of /etc/group, group(5).
type groupEntry struct {
	name    string
	gid     uint32
	members string // comma-separated
}

// scanColon calls line with the fields of each line that has at least n of them, until
// it returns false. Lines longer than 64 KiB end the scan with an error.
func scanColon(r io.Reader, n int, line func(fields [][]byte) bool) error {
	s := bufio.NewScanner(io.LimitReader(r, UserFileLimit))
	for s.Scan() {
		fields := bytes.Split(s.Bytes(), []byte(":"))
		if len(fields) >= n && len(fields[0]) > 0 && !line(fields) {
			return nil
		}
	}
	return s.Err()
}

// scanPasswd calls f for each well-formed line of a passwd file until it returns false.
func scanPasswd(r io.Reader, f func(passwdEntry) bool) error {
	return scanColon(r, 6, func(p [][]byte) bool {
		uid, ok1 := parseID(string(p[2]))
		gid, ok2 := parseID(string(p[3]))
		if !ok1 || !ok2 {
			return true
		}
		return f(passwdEntry{string(p[0]), uid, gid, string(p[5])})
	})
}

// scanGroup calls f for each well-formed line of a group file until it returns false.
func scanGroup(r io.Reader, f func(groupEntry) bool) error {
	return scanColon(r, 4, func(p [][]byte) bool {
		gid, ok := parseID(string(p[2]))
		if !ok {
			return true
		}
		return f(groupEntry{string(p[0]), gid, string(p[3])})
	})
}

// parseID reads a numeric user or group id. The highest one means "no change" to
// setresuid(2) and is no id.
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}

func (g groupEntry) has(user string) bool {
	for m := range strings.SplitSeq(g.members, ",") {
		if m == user {
			return true
		}
	}
	return false
}

// Identity is what a USER of an image's config comes to.
type Identity struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string
}

// userFiles gives access to a container's /etc/passwd and /etc/group. A missing
// file is nil without an error.
type userFiles interface {
	open(path string) (io.ReadCloser, error)
}

// LookUpUser works out the ids of "name|uid[:group|gid]", as an image's config has it. open opens
// files of the image; of a missing one it returns nil.
func LookUpUser(spec string, open func(path string) (io.ReadCloser, error)) (uid, gid uint32, err error) {
	who, err := resolveUser(spec, userFilesFunc(open))
	return who.UID, who.GID, err
}

// LookUpIdentity is LookUpUser with all groups, those of --group-add among them, in a user
// namespace with these ids.
func LookUpIdentity(spec string, groups []string, open func(path string) (io.ReadCloser, error), ids IDMap) (Identity, error) {
	who, err := resolveUser(spec, userFilesFunc(open))
	if err == nil {
		err = addGroups(&who, groups, userFilesFunc(open))
	}
	if err == nil {
		err = checkMapped(who, ids)
	}
	return who, err
}

// FilesBelow opens files of the tree at dir, and none outside of it.
func FilesBelow(dir string) func(path string) (io.ReadCloser, error) {
	return func(path string) (io.ReadCloser, error) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", dir, err)
		}
		defer unix.Close(fd)
		return rootFiles(fd).open(path)
	}
}

type userFilesFunc func(path string) (io.ReadCloser, error)

func (f userFilesFunc) open(path string) (io.ReadCloser, error) { return f(path) }

// resolveUser works out "name|uid[:group|gid]": OCI image-spec v1.1 config.md, "User".
// A number is never looked up as a name: an image could make it root (CVE-2016-3697). It needs no
// line in /etc/passwd, and its group is then 0, as in docker. Without ":group", the supplementary
// groups of the user come from /etc/group.
func resolveUser(spec string, files userFiles) (Identity, error) {
	user, group, withGroup := strings.Cut(spec, ":")
	if user == "" {
		user = "0"
	}
	who := Identity{Home: "/"}
	number, numeric := parseID(user)
	var found *passwdEntry
	err := readUserFile(files, "/etc/passwd", func(r io.Reader) error {
		return scanPasswd(r, func(p passwdEntry) bool {
			if numeric && p.uid == number || !numeric && p.name == user {
				found = &p
			}
			return found == nil
		})
	})
	if err != nil {
		return who, err
	}
	switch {
	case found != nil:
		who.UID, who.GID, who.Home = found.uid, found.gid, found.home
	case numeric:
		who.UID = number
	default:
		return who, errs.Hint(fmt.Errorf("unable to find user %s: no matching entries in passwd file", user),
			"give a user that the image's /etc/passwd has, or a number below 4294967295")
	}
	return who, resolveGroups(&who, found, group, withGroup, files)
}

// resolveGroups fills in the group and the supplementary groups.
func resolveGroups(who *Identity, user *passwdEntry, group string, withGroup bool, files userFiles) error {
	if withGroup {
		if n, ok := parseID(group); ok {
			who.GID = n
			return nil
		}
	} else if user == nil {
		return nil
	}
	matched := false
	err := readUserFile(files, "/etc/group", func(r io.Reader) error {
		return scanGroup(r, func(g groupEntry) bool {
			if withGroup && g.name == group {
				who.GID, matched = g.gid, true
			}
			if !withGroup && g.has(user.name) && len(who.Groups) < maxGroups {
				who.Groups = append(who.Groups, g.gid)
			}
			return !matched
		})
	})
	if err == nil && withGroup && !matched {
		err = errs.Hint(fmt.Errorf("unable to find group %s: no matching entries in group file", group),
			"give a group that the image's /etc/group has, or a number")
	}
	return err
}

// addGroups adds supplementary groups by name or number: docker-run(1), --group-add.
func addGroups(who *Identity, names []string, files userFiles) error {
	for _, name := range names {
		if name == KeepGroups {
			continue
		}
		g, ok := parseID(name)
		if !ok {
			of := Identity{}
			if err := resolveGroups(&of, nil, name, true, files); err != nil {
				return err
			}
			g = of.GID
		}
		if !slices.Contains(who.Groups, g) {
			who.Groups = append(who.Groups, g)
		}
	}
	return nil
}

func readUserFile(files userFiles, path string, read func(io.Reader) error) error {
	f, err := files.open(path)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("read the image's %s: %w", path, err)
	}
	return nil
}

// checkMapped refuses ids that the user namespace does not have, before the
// kernel does so with a bare EINVAL.
func checkMapped(who Identity, ids IDMap) error {
	kind, id, has := "user", who.UID, ids.UIDs
	if ids.HasUID(id) {
		kind, id, has = "group", who.GID, ids.GIDs
		if ids.hasGID(id) {
			return nil
		}
	}
	var list []string
	total := uint32(0)
	for _, r := range has {
		text := strconv.FormatUint(uint64(r.Inside), 10)
		if total += r.Count; r.Count > 1 {
			text += " to " + strconv.FormatUint(uint64(r.Inside)+uint64(r.Count)-1, 10)
		}
		list = append(list, text)
	}
	advice := "run as root of the container (-u 0), or have subordinate ids: `tiffin doctor` says how; see user_namespaces(7)"
	if total > 1 {
		advice = "take one of these, or have more subordinate ids: see subuid(5) and user_namespaces(7)"
	}
	return errs.Hint(fmt.Errorf("%s id %d is not mapped in this user namespace, which has %s", kind, id, strings.Join(list, ", ")), advice)
}

// rootFiles reads the files of the tree at an O_PATH descriptor, or of the
// process's own root if it is AT_FDCWD.
type rootFiles int

// open opens path for reading without ever leaving the tree, and without waiting
// for the other end of a fifo. It insists on a regular file.
func (root rootFiles) open(path string) (io.ReadCloser, error) {
	f, err := openRegular(int(root), path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the image's %s: %w", path, err)
	}
	return f, nil
}
