// The checks of the machine itself, and which setting is to blame if a user namespace cannot be
// made.

package probe

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/ns"
	"tiffin/ns/cgroup"
)

const outerFix = "docker, podman or tiffin run --security-opt seccomp=unconfined …   # for the container around this session; docker with AppArmor: also apparmor=unconfined"

// appArmorFix gives the right to this program, and to those that it carries and executes for
// containers, if the user's store is in its usual place: by a profile that confines nothing and has
// the rule "userns". To switch the restriction off (sysctl) would do so for the whole machine.
func appArmorFix() string {
	exe, err := os.Executable()
	if err != nil {
		exe = "/usr/local/bin/tiffin"
	}
	// For AppArmor a path begins with a slash or a variable, so there is a profile for each.
	return `printf '%s\n' 'abi <abi/4.0>,' 'include <tunables/global>' 'profile tiffin "` + exe + `" flags=(unconfined) { userns, }' ` +
		`'profile tiffin-programs "@{HOME}/.local/share/tiffin/programs/*" flags=(unconfined) { userns, }' > /etc/apparmor.d/tiffin` +
		"\napparmor_parser -r /etc/apparmor.d/tiffin"
}

// setting reads a file of /proc, "" if it does not exist: readSetting, or a function of a test.
type setting func(path string) string

func readSetting(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Minimum is the first Linux that has all calls of ns: mount_setattr(2).
const (
	minMajor = 5
	minMinor = 12
)

// kernel compares version numbers; the calls themselves need a namespace to be tried in.
func kernel() Result {
	r := Result{Name: "kernel", Level: Required, Page: "mount_setattr(2), VERSIONS"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		r.Why = err.Error()
		return r
	}
	release := unix.ByteSliceToString(u.Release[:])
	r.Found = "Linux " + release
	if r.OK = newEnough(release); !r.OK {
		r.Why = fmt.Sprintf("Linux %d.%d or later is needed, this is %s", minMajor, minMinor, release)
		r.Fix = "a newer kernel"
	}
	return r
}

func newEnough(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return true // not for us to say
	}
	return major > minMajor || major == minMajor && minor >= minMinor
}

// userNamespace says what came of the attempt to enter one.
func userNamespace(err error) Result {
	r := Result{Name: "user namespace", Level: Required, Page: "user_namespaces(7)", Found: "can be created, with your id mapped"}
	if err == nil {
		r.OK = true
		return r
	}
	r.Why, r.Fix = whyNoUserNS(err, readSetting)
	return r
}

// whyNoUserNS finds the setting that keeps a user from creating namespaces: clone(2), ERRORS.
func whyNoUserNS(err error, get setting) (why, fix string) {
	const limit = "/proc/sys/user/max_user_namespaces"
	switch {
	case get("/proc/self/uid_map") == "": // EINVAL may come from any call that an old kernel does not have
		return "this kernel is built without user namespaces (CONFIG_USER_NS)", "a kernel with CONFIG_USER_NS=y"
	case get(limit) == "0":
		return "the number of user namespaces is limited to 0 in " + limit, "sysctl -w user.max_user_namespaces=15000"
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		return "the limit of user namespaces is reached (" + limit + ": " + get(limit) + "), or 32 of them are nested", "sysctl -w user.max_user_namespaces=15000"
	case get("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		return "kernel.unprivileged_userns_clone is 0: only root may create user namespaces", "sysctl -w kernel.unprivileged_userns_clone=1"
	case apparmorRestricts(get):
		return "kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor lets only listed programs use user namespaces", appArmorFix()
	case errors.Is(err, unix.EPERM) && rootCannotMap(get):
		// Since Linux 5.12: user_namespaces(7), "Defining user and group ID mappings".
		return "you are root without CAP_SETFCAP, who may not map user 0, as in a container of crun or runc",
			`add "CAP_SETFCAP" to each list of process.capabilities in config.json   # for the container around this session; docker and podman: --cap-add SETFCAP`
	case confined(get):
		return "a seccomp filter around this session forbids user namespaces, as in a container", outerFix
	case errors.Is(err, unix.EPERM) && chrooted():
		return "this session runs in a chroot, where user namespaces are refused", "start tiffin outside of the chroot"
	}
	return err.Error(), ""
}

func apparmorRestricts(get setting) bool {
	return get("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
}

// confined tells whether a seccomp filter is loaded.
func confined(get setting) bool { return status(get, "Seccomp") == "2" }

// rootCannotMap tells whether this is user 0 of its user namespace, without CAP_SETFCAP.
func rootCannotMap(get setting) bool {
	effective, err := strconv.ParseUint(status(get, "CapEff"), 16, 64)
	return err == nil && strings.HasPrefix(status(get, "Uid"), "0\t") && effective&(1<<unix.CAP_SETFCAP) == 0
}

// status is a field of /proc/self/status, proc(5).
func status(get setting, field string) string {
	for line := range strings.Lines(get("/proc/self/status")) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// chrooted tells whether / is not the root of a mount.
func chrooted() bool {
	var stx unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, "/", unix.AT_NO_AUTOMOUNT, 0, &stx)
	return err == nil && stx.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
}

// subordinate maps all ids that this user may have. denied is why not even one could be mapped.
func subordinate(denied error) Result {
	r := Result{Name: "subordinate ids", Level: Optional, Page: "subuid(5); newuidmap(1)"}
	if denied != nil {
		r.Why = "not tried: there are no user namespaces"
		return r
	}
	u := ns.UserNS{Args: []string{"tiffin", Command}}
	p, err := u.Start()
	if err != nil {
		r.Why = err.Error()
		return r
	}
	_, _ = p.Wait()
	p.Conn.Close()
	if len(p.Notes) > 0 {
		why := make([]string, len(p.Notes))
		fix := make([]string, 0, len(p.Notes))
		for i, n := range p.Notes {
			why[i] = n.What + ": " + n.Why
			if n.Fix != "" {
				fix = append(fix, n.Fix)
			}
		}
		r.Why = strings.Join(why, "; ") + "; containers have one user id, yours"
		r.Fix = strings.Join(fix, " && ")
		return r
	}
	if why := overlaps(); why != "" {
		r.Why, r.Fix = why, "edit /etc/subuid and /etc/subgid so that each user has a range of its own"
		return r
	}
	var users, groups uint64
	for _, m := range p.IDs.UIDs {
		users += uint64(m.Count)
	}
	for _, m := range p.IDs.GIDs {
		groups += uint64(m.Count)
	}
	r.OK, r.Found = true, fmt.Sprintf("%d user ids and %d group ids are mapped", users, groups)
	return r
}

// overlaps looks for another user with some of our subordinate ids: each could then change the
// other's files.
func overlaps() string {
	uid := uint32(os.Geteuid())
	name := ns.UserName(uid)
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		mine, err := ns.SubIDs(file, uid, name)
		if err != nil || len(mine) == 0 {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if other := overlap(string(text), mine, strconv.Itoa(int(uid)), name); other != "" {
			return fmt.Sprintf("the range of %s in %s overlaps with that of %s", name, file, other)
		}
	}
	return ""
}

// overlap returns the owner of a line that shares ids with mine.
func overlap(text string, mine []ns.IDRange, id, name string) string {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] == id || f[0] == name {
			continue
		}
		first, err1 := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		for _, m := range mine {
			if first < uint64(m.Outside)+uint64(m.Count) && uint64(m.Outside) < first+count {
				return f[0]
			}
		}
	}
	return ""
}

// controlGroups looks whether limits on all processes of a container can be kept, and which.
func controlGroups() Result {
	r := Result{Name: "cgroup", Level: Optional, Page: "cgroups(7), \"Cgroups v2 delegation\""}
	socket, has := cgroup.Manager()
	from := "systemd's manager for you gives"
	var why error
	if socket == "" {
		var dir string
		if dir, why = cgroup.Delegated(nil); why == nil {
			has, from = strings.Fields(readSetting(dir+"/cgroup.controllers")), dir+" has"
			_, why = cgroup.Delegated(has)
		}
	}
	lacking := cgroup.Lacking([]string{"cpu", "cpuset", "io", "memory", "pids"}, has)
	switch {
	case why != nil:
		r.Why = why.Error()
	case len(lacking) == 0:
		r.OK = true
	case len(has) == 0:
		r.Why = from + " no controller"
	}
	found := from + " " + strings.Join(has, ", ")
	if r.OK {
		r.Found = found
	} else {
		if r.Why == "" {
			r.Why = found + ", but not " + strings.Join(lacking, ", ")
		}
		r.Fix = cgroup.Fix(ns.UserName(uint32(os.Geteuid())))
	}
	return r
}
