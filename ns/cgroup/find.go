// Where this user may make control groups, and if nowhere, what an administrator has to type.

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// Hierarchy is where the control groups of version 2 are mounted: /sys/fs/cgroup, or beside those
// of version 1 as systemd does it. It is "" if they are not.
func Hierarchy() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if onCgroup2(dir) {
			return dir
		}
	}
	return ""
}

func onCgroup2(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// Of is the control group of a process, "" if there is none: cgroups(7), "/proc files".
func Of(pid int) string {
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/cgroup", pid))) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && Hierarchy() != "" {
			return filepath.Join(Hierarchy(), path)
		}
	}
	return ""
}

// Manager says where systemd's manager for this user listens, and which controllers it has to give
// away. The socket is "" if none runs: pam_systemd(8), XDG_RUNTIME_DIR.
func Manager() (socket string, controllers []string) {
	uid := os.Geteuid()
	run, dir := fmt.Sprintf("/run/user/%d", uid), fmt.Sprintf("user.slice/user-%d.slice/user@%[1]d.service", uid)
	if uid == 0 {
		run, dir = "/run", ""
	} else if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		run = d
	}
	socket = run + "/systemd/private"
	if Hierarchy() == "" || unix.Access(socket, unix.W_OK) != nil {
		return "", nil
	}
	return socket, list(filepath.Join(Hierarchy(), dir, "cgroup.controllers"))
}

// Delegated finds the closest group, from that of this process upwards, in which this user may make
// groups with the controllers that are needed, and has it hand them down.
func Delegated(need []string) (dir string, err error) {
	own := Of(os.Getpid())
	if own == "" {
		return "", errors.New("control groups of version 2 are not mounted")
	}
	why := fmt.Errorf("your session's control group, %s, is not yours", own)
	for dir := own; len(dir) >= len(Hierarchy()) && ours(dir); dir = filepath.Dir(dir) {
		if why = HandDown(dir, need); why == nil {
			return dir, nil
		}
	}
	return "", why
}

// ours tells whether this user may make groups in dir and move processes there. cgroups(7),
// "Cgroups v2 delegation", names the files.
func ours(dir string) bool {
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if unix.Faccessat(unix.AT_FDCWD, filepath.Join(dir, name), unix.W_OK, unix.AT_EACCESS) != nil {
			return false
		}
	}
	return onCgroup2(dir)
}

// HandDown makes controllers available to the groups in dir.
func HandDown(dir string, need []string) error {
	if lacking := Lacking(need, list(dir+"/cgroup.controllers")); len(lacking) > 0 {
		return fmt.Errorf("%s has no controller %s", dir, strings.Join(lacking, ", "))
	}
	var text []string
	for _, c := range Lacking(need, list(dir+"/cgroup.subtree_control")) {
		text = append(text, "+"+c)
	}
	if len(text) == 0 {
		return nil
	}
	err := write(dir, "cgroup.subtree_control", strings.Join(text, " "))
	if errors.Is(err, unix.EBUSY) {
		// cgroups(7), "Cgroups v2 "no internal processes" rule".
		return errs.Hint(fmt.Errorf("processes are in %s itself, so it cannot hand down %s", dir, strings.Join(need, ", ")),
			fmt.Sprintf("move your shell into a group below it: mkdir %s/shell; echo $$ > %[1]s/shell/cgroup.procs", dir))
	}
	return err
}

// Lacking are the names in need that are not in have.
func Lacking(need, have []string) []string {
	return slices.DeleteFunc(slices.Clone(need), func(c string) bool { return slices.Contains(have, c) })
}

// Missing says why this user cannot have the controllers, with the lines that change it.
func Missing(why error, need []string, name string) error {
	err := fmt.Errorf("no control group with %s: %w", strings.Join(need, ", "), why)
	if len(need) == 0 {
		err = fmt.Errorf("no control group: %w", why)
	}
	if errs.HintOf(why) != "" {
		return err
	}
	hint := "an administrator can change that:\n" + Fix(name)
	if len(need) > 0 {
		hint = "`--limits best-effort` bounds each process alone, as far as a process can; " + hint
	}
	return errs.Hint(err, hint)
}

// delegate makes systemd give each user's manager all controllers: systemd.resource-control(5),
// Delegate=.
const delegate = `mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\nDelegate=cpu cpuset io memory pids\n' > /etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload`

// Fix is what an administrator types to give the user with a name control groups. That systemd
// runs is known by its directory, as sd_booted of libsystemd does it.
func Fix(name string) string {
	_, err := os.Stat("/run/systemd/system")
	socket, _ := Manager()
	switch {
	case socket != "":
		return delegate + "   # then log in anew"
	case Hierarchy() != "/sys/fs/cgroup":
		return "boot Linux with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all   # version 1 has the controllers"
	case err == nil:
		return "loginctl enable-linger " + name + "\n" + delegate
	}
	return fmt.Sprintf("mkdir -p /sys/fs/cgroup/%s/shell && chown -R %[1]s /sys/fs/cgroup/%[1]s\n", name) +
		fmt.Sprintf("echo %d > /sys/fs/cgroup/%s/shell/cgroup.procs   # the process that is to start containers", os.Getppid(), name)
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func list(path string) []string { return strings.Fields(read(path)) }

func write(dir, file, text string) error {
	// Without O_CREAT: the files are the kernel's.
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}
