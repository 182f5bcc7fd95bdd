// Stages 1 to 8: what is looked at of the process that the program makes of a command.

package mini

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/ns"
	"tiffin/tutorial/sandbox"
)

// The names of the checks.
const (
	isProgram = "mini is a program"
	statusIs  = "mini ends with the status of the command"
	killedIs  = "if a signal has ended the command, mini ends with 128 and its number"
	signalled = "SIGTERM, sent to mini, reaches the command"

	ownUser = "the command is in a user namespace of its own"
	isRoot  = "its user and its group are 0 there"

	ownPid    = "the command is in a pid namespace of its own"
	ownMounts = "it is in a mount namespace of its own"
	ownProc   = "its /proc shows its pid namespace"

	dirIsRoot   = "DIR is the root mount of its mount namespace"
	nothingLeft = "nothing of the old root is mounted there"
	cwdInside   = "its working directory is inside, too"

	ownName = "the host name is mini, in a uts namespace of its own"
	ownIPC  = "it is in an ipc namespace of its own"
	ownNet  = "it is in a network namespace of its own, where lo is up"

	fewBounding = "its bounding set has no more than docker's"
	fewOwned    = "it has no capability beyond them"
	noNewPrivs  = "no_new_privs is set"

	orphansReaped   = "an orphan that has ended does not stay a zombie"
	statusOfCommand = "the status is the command's, not an orphan's"
	allEnds         = "with the command, all that it has started ends"

	noneHanded = "the command has no descriptor that mini was started with"
	noneOpened = "it has no descriptor that mini has opened"
)

func itoa(n int) string { return strconv.Itoa(n) }

// sleeper is a command that stays, unlike any other.
func sleeper() []string { return []string{"/bin/sleep", itoa(1e8 + rand.IntN(9e8))} }

// shell is a command of the shell, unlike any other.
func shell(script string) []string {
	return []string{"/bin/sh", "-c", script + "; : " + itoa(rand.IntN(1e9))}
}

func lookStatus(l *look) error {
	if !l.executable() {
		l.no(isProgram, "a file mini with permission to execute it", "none", "The file must be called mini, in the work directory, and chmod +x makes it a program; a script's first line is #!/bin/sh.")
		return errNotReached
	}
	where := "tried in a sandbox"
	if l.name == "" {
		where = "tried as it is: this machine makes no sandbox"
	}
	l.ok(isProgram, where)
	r, err := l.run("/bin/sh", "-c", "exit 7")
	if err != nil {
		return err
	}
	defer r.end()
	found, ok := "it does not end", false
	if status, ended := r.wait(); ended {
		found, ok = "status "+itoa(status)+" "+r.output(), status == 7
	}
	l.be(ok, statusIs, "status 7, of `exit 7`", found, "The status of a program is the one that it ends with itself: it must wait for the command, and end with what wait(2) tells.")
	if !ok {
		return errNotReached
	}
	if err := l.lookKilled(); err != nil {
		return err
	}
	return l.lookSignal()
}

// lookKilled ends the command from this side: process 1 of a pid namespace cannot be killed from
// within (pid_namespaces(7), "The namespace init process").
func (l *look) lookKilled() error {
	r, v, err := l.running(killedIs, nil, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	_ = unix.Kill(int(v), unix.SIGKILL)
	found, ok := "it does not end", false
	if status, ended := r.wait(); ended {
		found, ok = "status "+itoa(status), status == 128+9
	}
	l.be(ok, killedIs, "status 137, for SIGKILL", found, "A process that a signal ends has no exit status. wait(2) says which signal it was, and shells make 128 and its number of that.")
	return nil
}

func (l *look) lookSignal() error {
	r, v, err := l.running(signalled, nil, shell("trap 'exit 42' TERM; while :; do sleep 0.05; done")...)
	if err != nil {
		return err
	}
	defer r.end()
	for end := time.Now().Add(patience); time.Now().Before(end) && !catches(v, unix.SIGTERM); {
		time.Sleep(5 * time.Millisecond) // until the trap is set
	}
	_ = unix.Kill(r.first(), unix.SIGTERM)
	expected, found, ok := "status 42, of the command's trap", "the command goes on", false
	why := "A signal goes to one process. mini has to catch it and send it on: kill(2), to the command."
	if status, ended := r.wait(); ended {
		found, ok = "status "+itoa(status), status == 42
		if status == 128+15 {
			why = "The signal has ended mini, and the command knows nothing of it. " + why
		}
	}
	l.be(ok, signalled, expected, found, why)
	return nil
}

// catches tells whether the process has a handler for a signal.
func catches(v view, s unix.Signal) bool { return v.capabilities("SigCgt")&(1<<(s-1)) != 0 }

// own checks a namespace: it must differ from that in which the program began.
func (l *look) own(v view, name, check, why string) bool {
	pid, _ := strconv.Atoi(l.ends)
	out, in := view(pid).namespace(name), v.namespace(name)
	ok := in != "" && in != out
	l.be(ok, check, "a namespace that mini has made", in+", where mini began", why)
	if ok {
		l.ok(check, in)
	}
	return ok
}

func lookUser(l *look) error {
	r, v, err := l.running(ownUser, nil, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	if !l.own(v, "user", ownUser, "Without a user namespace all that follows is root's alone: unshare(2) or clone(2) with CLONE_NEWUSER.") {
		return errNotReached
	}
	uid, hasUID := v.mapped("Uid", "uid_map")
	gid, hasGID := v.mapped("Gid", "gid_map")
	why := "The map must say that 0 inside is the caller's id outside: `0 ID 1`."
	switch {
	case !hasUID:
		uid, why = "none, so it shows as 65534", "A new user namespace has no ids until somebody has written /proc/PID/uid_map, once, with one write."
	case !hasGID:
		gid, why = "none, so it shows as 65534", "The group needs a map of its own, gid_map; and to write it without privilege, setgroups must be denied first."
	}
	l.be(uid == "0" && gid == "0", isRoot, "user 0, group 0", "user "+uid+", group "+gid, why)
	return nil
}

func lookProc(l *look) error {
	r, v, err := l.running(ownPid, nil, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	if !l.own(v, "pid", ownPid, "unshare(2) with CLONE_NEWPID moves the children, not the caller: the command must come from a fork after it. Or it was not called.") {
		return errNotReached
	}
	if !l.own(v, "mnt", ownMounts, "What is mounted without CLONE_NEWNS is mounted for all.") {
		return errNotReached
	}
	inside := v.inside()
	out, _ := l.enter(v, "-m", "/bin/sh", "-c", "cat /proc/"+inside+"/cmdline").Output()
	cmdline, _ := os.ReadFile(procFile(int(v), "cmdline"))
	expected := "the command as /proc/" + inside
	if string(out) == string(cmdline) && len(cmdline) > 0 {
		l.ok(ownProc, expected)
		return nil
	}
	n, kind := 0, ""
	for _, m := range v.mounts() {
		if m.at == "/proc" {
			n, kind = n+1, m.kind
		}
	}
	why := "A /proc shows the pid namespace of the process that has mounted it. So a new one must be mounted, from inside the new namespace: type proc, after the fork."
	if n == 0 {
		why = "There is nothing mounted on /proc, and an empty directory shows no process. It must be mounted in the tree that the command will have."
	}
	l.no(ownProc, expected, strings.TrimSpace(fmt.Sprintf("%d mounts on /proc %s, and another process there, or none", n, kind)), why)
	return nil
}

// enter is a program of the checker's in the user namespace of a process, and in one more.
func (l *look) enter(v view, namespace string, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.ctx, l.Tiffin, append([]string{"enter", "-U", namespace, "-t", itoa(int(v))}, command...)...)
	cmd.Env = []string{sandbox.Path}
	return cmd
}

func lookRoot(l *look) error {
	r, v, err := l.running(dirIsRoot, nil, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	dir := file(filepath.Join(l.Dir, root))
	var left []string
	roots := 0
	for _, m := range v.mounts() {
		if m.at == "/" {
			roots++
		} else if !within(m.at, "/proc", "/dev", "/sys", "/tmp", "/run") {
			left = append(left, m.at)
		}
	}
	switch is := file(procFile(int(v), "root") + "/."); {
	case is != dir:
		l.no(dirIsRoot, "DIR", "another directory", "The root directory of the command is still the one that mini began with, or not DIR.")
		return errNotReached
	case v.top("root") != dir && roots < 2:
		l.no(dirIsRoot, "DIR, with nothing above it", "DIR, below another root", "chroot(2) moves a pointer of one process, and the tree stays: who may call chroot gets out. pivot_root(2) exchanges the root mount.")
		return errNotReached
	}
	l.ok(dirIsRoot, "")
	switch {
	case roots > 1:
		l.no(nothingLeft, "1 mount on /", itoa(roots)+" mounts on /", "pivot_root(\".\", \".\") puts the old root on top of the new one. It must be unmounted, with all that is in it: umount2(2), MNT_DETACH.")
	default:
		l.be(len(left) == 0, nothingLeft, "no mount but /, and what a container has in /proc, /dev, /sys, /tmp, /run", "mounted on "+strings.Join(left, ", "), "The old root has only moved: as long as it is mounted, every file of it can be reached. umount2(2), MNT_DETACH.")
	}
	l.be(v.top("cwd") == dir, cwdInside, "a directory below DIR", "one in another tree", "A working directory in the old root keeps that alive, unmounted or not, and leads out with `..`: chdir(\"/\") after pivot_root (CVE-2024-21626 was of this kind).")
	return nil
}

func within(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
}

func lookNames(l *look) error {
	r, v, err := l.running(ownName, nil, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	if l.own(v, "uts", ownName, "The host name of the machine is that of all processes in one uts namespace: CLONE_NEWUTS.") {
		out, _ := l.enter(v, "-u", "/bin/uname", "-n").Output()
		name := strings.TrimSpace(string(out))
		l.be(name == "mini", ownName, "mini", name, "A new uts namespace begins with a copy of the old name: sethostname(2) changes it.")
	}
	l.own(v, "ipc", ownIPC, "Message queues and shared memory of System V belong to an ipc namespace: CLONE_NEWIPC.")
	if l.own(v, "net", ownNet, "The interfaces and ports of the machine are those of its network namespace: CLONE_NEWNET.") {
		// Which addresses are this namespace's own: an interface that is down has none.
		routes, _ := os.ReadFile(procFile(int(v), "net/fib_trie"))
		l.be(strings.Contains(string(routes), "127.0.0.1"), ownNet, "127.0.0.1 on lo", "lo is down", "A new network namespace has one interface, lo, and it is down: `ip link set lo up`, or SIOCSIFFLAGS of netdevice(7).")
	}
	return nil
}

func lookRights(l *look) error {
	r, v, err := l.running(fewBounding, nil, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	l.be(v.beyond("CapBnd") == "", fewBounding, "none of "+v.beyond("CapBnd"), v.beyond("CapBnd"), "What is in the bounding set comes back: whenever user 0 executes a program, its permitted set is the bounding set. prctl(2), PR_CAPBSET_DROP, for each.")
	var more []string
	for _, set := range []string{"CapPrm", "CapEff", "CapInh", "CapAmb"} {
		if names := v.beyond(set); names != "" {
			more = append(more, set+": "+names)
		}
	}
	l.be(len(more) == 0, fewOwned, "no other in CapPrm, CapEff, CapInh, CapAmb", strings.Join(more, "; "), "Root of a new user namespace has all capabilities in it, and each opens a part of the kernel: mounts, networks, tracing. capset(2), or execve(2) after the bounding set is small.")
	set := strings.Join(v.status("NoNewPrivs"), "")
	l.be(set == "1", noNewPrivs, "NoNewPrivs: 1", "NoNewPrivs: "+set, "Without it a set-user-ID program, or one with file capabilities, may get more than the command has. prctl(2), PR_SET_NO_NEW_PRIVS, once: it is inherited.")
	return nil
}

// beyond names the capabilities of a set that a container of docker, or of ours, does not have.
func (v view) beyond(set string) string {
	var names []string
	mask := v.capabilities(set)
	for i, name := range ns.AllCaps() {
		if mask&(1<<i) != 0 && !slices.Contains(ns.DefaultCaps(), name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func lookOrphans(l *look) error {
	orphan := []string{"/bin/sleep", "1." + itoa(rand.IntN(1e9))} // seconds
	becomes := strings.Join(sleeper(), " ")
	r, err := l.run("/bin/sh", "-c", "/bin/sh -c '"+strings.Join(orphan, " ")+" & exit 0'; exec "+becomes)
	if err != nil {
		return err
	}
	defer r.end()
	v, o := view(r.await(strings.Fields(becomes)...)), view(r.await(orphan...))
	if v == 0 || o == 0 {
		l.no(orphansReaped, "the command, and a process that it has left", "none: "+r.output(), "The command must be able to start others and to become another: is it started at all, and not stopped early?")
		return errNotReached
	}
	state := "" // of the orphan, at last
	dead := time.Time{}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if state = strings.Join(o.status("State"), " "); state == "" {
			break
		}
		if dead.IsZero() && strings.HasPrefix(state, "Z") {
			dead = time.Now()
		}
		if !dead.IsZero() && time.Since(dead) > time.Second {
			break
		}
	}
	why := "Process 1 of a pid namespace inherits every orphan, and must wait for it: wait(2), for any child, again and again. Your process 1 is " + strconv.Quote(v.one()) + "."
	if !strings.HasPrefix(state, "Z") && state != "" {
		return fmt.Errorf("the orphan of stage 7 has not ended: %s", state)
	}
	l.be(state == "", orphansReaped, "no process, or none that is dead", "state "+state, why)

	early, err := l.run(shell(`/bin/sh -c '/bin/sh -c "sleep 0.1; exit 3" & exit 0'; sleep 0.4; exit 5`)...)
	if err != nil {
		return err
	}
	defer early.end()
	n, ended := early.wait()
	l.be(ended && n == 5, statusOfCommand, "status 5, of the command", "status "+itoa(n), "wait(2) for any child returns for orphans, too: compare the number that it returns with the command's, and go on if it is another.")
	return l.lookRemains()
}

// lookRemains looks for what a command has left behind.
func (l *look) lookRemains() error {
	left := sleeper()
	r, err := l.run(shell(strings.Join(left, " ") + " >/dev/null & sleep 0.1; exit 0")...)
	if err != nil {
		return err
	}
	defer r.end()
	pid := r.await(left...)
	_, ended := r.wait()
	alive := pid != 0 && ended
	for end := time.Now().Add(time.Second); alive && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		alive = view(pid).status("State") != nil
	}
	found := "nothing is left"
	if !ended {
		found = "mini waits for what the command has left"
	} else if alive {
		found = "`" + strings.Join(left, " ") + "` lives on"
	}
	l.be(ended && !alive, allEnds, "nothing is left", found, "When process 1 ends, the kernel ends all of its pid namespace. So it ends with the command, not with the last orphan.")
	return nil
}

// one is the command line of process 1 of the process's pid namespace.
func (v view) one() string {
	space := v.namespace("pid")
	for pid := range processes() {
		if w := view(pid); w.inside() == "1" && w.namespace("pid") == space {
			b, _ := os.ReadFile(procFile(pid, "cmdline"))
			return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return ""
}

// lookDescriptors starts the program with more descriptors than it needs, as its caller may have
// them.
func lookDescriptors(l *look) error {
	secret := filepath.Join(l.Dir, "secret")
	if err := l.files.WriteFile(filepath.Base(secret), []byte("of the host\n"), 0o600); err != nil {
		return err
	}
	r, v, err := l.running(noneHanded, []string{"/bin/sh", "-c", `exec 7<"$0" 9<"$1"; shift; exec "$@"`, secret, l.Dir}, sleeper()...)
	if err != nil {
		return err
	}
	defer r.end()
	var handed, opened []string
	all := v.descriptors()
	for _, n := range slices.Sorted(maps.Keys(all)) {
		switch to := all[n]; {
		case n <= 2, strings.HasPrefix(to, "anon_inode:"): // of its own run-time
		case n == 7 || n == 9:
			handed = append(handed, itoa(n)+" -> "+to)
		default:
			opened = append(opened, itoa(n)+" -> "+to)
		}
	}
	l.be(len(handed) == 0, noneHanded, "0, 1 and 2", strings.Join(handed, ", "), "execve(2) keeps every descriptor that is not marked close-on-exec, and those that mini was started with are not. A directory among them leads out, by openat(2), past every wall: close_range(2), from 3 on.")
	l.be(len(opened) == 0, noneOpened, "0, 1 and 2", strings.Join(opened, ", "), "mini has opened something and not closed it before execve(2). O_CLOEXEC closes it in time; a descriptor of the old root is a way out (CVE-2024-21626).")
	return nil
}
