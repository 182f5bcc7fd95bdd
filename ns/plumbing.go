// Namespaces by hand: what unshare(1) and nsenter(1) of util-linux do, so that a person who learns
// namespaces needs nothing but tiffin. Both are a list of system calls that ends with execve(2);
// alone.go says why a Go program cannot simply make them.

package ns

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// Unshare moves this process into new namespaces, where it becomes a command.
type Unshare struct {
	Flags       uintptr // CLONE_NEWUSER, CLONE_NEWNS …: unshare(2)
	MapRoot     bool    // the caller's ids are 0 in the new user namespace
	Fork        bool    // the command is a child: with CLONE_NEWPID, it is PID 1
	MountProc   bool    // mount a /proc that shows the new pid namespace
	Propagation uintptr // MS_PRIVATE, MS_SHARED or MS_SLAVE for all mounts; 0 leaves them as they are
	Args        []string
	Render      func(error) string // the words for an error that ends this process
}

// Run does not return if it can begin. The process exits with 125 if a system call fails, 126 if
// the command cannot be executed, 127 if there is none.
func (u *Unshare) Run() error {
	if len(u.Args) == 0 {
		return errors.New("unshare: no command")
	}
	p := &program{render: u.Render}
	what := "unshare(" + cloneFlagNames(u.Flags) + ")"
	if u.Flags != 0 {
		p.add(plainCall, what, func(err error) error { return u.explain(what, err) }, unix.SYS_UNSHARE, u.Flags)
	}
	if u.MapRoot {
		// user_namespaces(7), "Defining user and group ID mappings": one's own id may be mapped
		// without any capability outside, and the group only after setgroups(2) was given up for
		// good.
		p.write("/proc/self/setgroups", "deny", nil)
		p.write("/proc/self/uid_map", format([]IDRange{{0, uint32(os.Geteuid()), 1}}), nil)
		p.write("/proc/self/gid_map", format([]IDRange{{0, uint32(os.Getegid()), 1}}), nil)
	}
	if u.Fork {
		p.fork()
	}
	if u.Flags&unix.CLONE_NEWNS != 0 && u.Propagation != 0 {
		// mount_namespaces(7), "Shared subtrees": the copies are peers of the originals until
		// told otherwise.
		p.mount("none", "/", "", unix.MS_REC|u.Propagation, nil)
	}
	if u.MountProc {
		// The /proc that is there belongs to the pid namespace of the process that mounted it:
		// pid_namespaces(7), "/proc and PID namespaces".
		if u.Propagation == 0 {
			p.mount("none", "/proc", "", unix.MS_REC|unix.MS_PRIVATE, nil)
		}
		p.mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, func(err error) error {
			return errs.Hint(fmt.Errorf("mount /proc: %w", err), "it shows the pid namespace of who mounts it, so that must be a new one: unshare with --pid --fork too; see pid_namespaces(7)")
		})
	}
	return p.become(u.Args)
}

func (u *Unshare) explain(what string, err error) error {
	if u.Flags&unix.CLONE_NEWUSER != 0 {
		return userNSError(err)
	}
	err = fmt.Errorf("%s: %w", what, err)
	if errors.Is(err, unix.EPERM) {
		err = errs.Hint(err, "only root may make these; with a user namespace of your own (-U, or -r to be root in it) you may too; see namespaces(7)")
	}
	return err
}

// Enter moves this process into the namespaces of another, where it becomes a command.
type Enter struct {
	PID    int
	Flags  uintptr // CLONE_NEWUSER …; 0 means all that are not this process's already
	RootAt string  // stay among one's own files, in the user namespace, with the process's root here
	Args   []string
	Render func(error) string
}

// namespaceFiles are the names in /proc/PID/ns: namespaces(7).
var namespaceFiles = []struct {
	flag uintptr
	name string
}{
	{unix.CLONE_NEWUSER, "user"}, {unix.CLONE_NEWNS, "mnt"}, {unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWNET, "net"},
	{unix.CLONE_NEWUTS, "uts"}, {unix.CLONE_NEWIPC, "ipc"}, {unix.CLONE_NEWCGROUP, "cgroup"},
}

// Run does not return if it can begin; statuses are those of Unshare.Run.
func (e *Enter) Run() error {
	if len(e.Args) == 0 {
		return errors.New("enter: no command")
	}
	// One descriptor stands for the process and all its namespaces: setns(2), "pidfd".
	pidfd, err := unix.PidfdOpen(e.PID, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", e.PID, err)
	}
	differ, err := differing(e.PID)
	if err != nil {
		return err
	}
	flags := e.Flags
	if flags == 0 {
		flags = differ
	}
	// setns(2): "It is not permitted to use setns() to reenter the caller's current user
	// namespace."
	if flags&^differ&unix.CLONE_NEWUSER != 0 {
		return errs.Hint(fmt.Errorf("process %d is in your user namespace already", e.PID), "leave out -U; see setns(2), EINVAL")
	}
	p := &program{render: e.Render}
	if e.RootAt != "" {
		if err := e.rootAt(p, pidfd, differ&unix.CLONE_NEWUSER != 0); err != nil {
			return err
		}
		return p.become(e.Args)
	}
	if flags != 0 {
		what := "setns(" + cloneFlagNames(flags) + ")"
		p.add(plainCall, what, func(err error) error {
			err = fmt.Errorf("%s: %w", what, err)
			if errors.Is(err, unix.EPERM) && differ&^flags&unix.CLONE_NEWUSER != 0 {
				err = errs.Hint(err, "it needs CAP_SYS_ADMIN in the user namespace that owns them: enter that too, with -U; see setns(2)")
			}
			return err
		}, unix.SYS_SETNS, uintptr(pidfd), flags)
	}
	if flags&unix.CLONE_NEWUSER != 0 && hasRoot(e.PID) {
		// All capabilities are there already; this makes execve(2) keep them. See
		// user_namespaces(7), "Capabilities".
		p.add(plainCall, "setresgid(0, 0, 0)", nil, unix.SYS_SETRESGID, 0, 0, 0)
		p.add(plainCall, "setresuid(0, 0, 0)", nil, unix.SYS_SETRESUID, 0, 0, 0)
	}
	if flags&unix.CLONE_NEWPID != 0 {
		p.fork() // it concerns children only: setns(2), "PID namespaces"
	}
	return p.become(e.Args)
}

// differing are the namespaces of a process that this one is not in.
func differing(pid int) (flags uintptr, err error) {
	for _, f := range namespaceFiles {
		theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/" + f.name)
		if err != nil {
			return 0, errs.Hint(fmt.Errorf("look at the namespaces of process %d: %w", pid, err), "a process of another user, or one that has gained privileges, does not show them; see proc(5), /proc/pid/ns")
		}
		mine, err := os.Readlink("/proc/self/ns/" + f.name)
		if err != nil {
			return 0, err
		}
		if theirs != mine {
			flags |= f.flag
		}
	}
	return flags, nil
}

// hasRoot tells whether there are a user and a group 0 in a process's user namespace.
func hasRoot(pid int) bool {
	for _, file := range []string{"uid_map", "gid_map"} {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
		if err != nil {
			return false
		}
		ranges, err := parseMap(text)
		found := false
		for _, r := range ranges {
			found = found || r.Inside == 0
		}
		if err != nil || !found {
			return false
		}
	}
	return true
}
