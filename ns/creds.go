// Capabilities, limits and identity of the command: what it gets by default, and the steps that
// give up the rest. Nothing is given back once a step has taken it.

package ns

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/wire"
)

// defaultCaps is docker's default set: docker-run(1), "Runtime privilege and Linux capabilities".
// Package managers set file capabilities with SETFCAP; here they count in the container's user
// namespace, as all the others do.
const defaultCaps uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER |
	1<<unix.CAP_FSETID | 1<<unix.CAP_KILL | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SETGID |
	1<<unix.CAP_SETPCAP | 1<<unix.CAP_SETUID | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETFCAP |
	1<<unix.CAP_MKNOD | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_AUDIT_WRITE

// capNames are the capabilities by number: linux/capability.h.
var capNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
	"IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
	"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
	"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
	"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// ValidCap reports whether name, such as "CAP_KILL" or "kill", is that of a capability.
func ValidCap(name string) bool {
	_, err := (&Process{Caps: []string{name}}).capMask()
	return err == nil
}

// AllCaps returns the names of all capabilities.
func AllCaps() []string {
	names := make([]string, len(capNames))
	for i, n := range capNames {
		names[i] = "CAP_" + n
	}
	return names
}

// ValidRlimit reports whether name, such as "nofile", is that of a limit.
func ValidRlimit(name string) bool { return slices.Contains(rlimits[:], name) }

// DefaultCaps returns the names of the capabilities a container's root has.
func DefaultCaps() []string {
	var names []string
	for i, n := range capNames {
		if defaultCaps&(1<<i) != 0 {
			names = append(names, "CAP_"+n)
		}
	}
	return names
}

// capMask returns the bits of Process.Caps.
func (p *Process) capMask() (uint64, error) {
	if p.Caps == nil {
		return defaultCaps, nil
	}
	var mask uint64
next:
	for _, name := range p.Caps {
		short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		for i, n := range capNames {
			if n == short {
				mask |= 1 << i
				continue next
			}
		}
		return 0, errs.Hint(fmt.Errorf("unknown capability %q", name), "capabilities(7) lists them")
	}
	return mask, nil
}

// Credentials belong to threads: credentials(7) and nptl(7) have the C library
// change all of a process's at once, and so does Go's package syscall. Here only
// the calling thread counts: it is the one that executes the command, and execve(2) ends
// all others. With --init this process stays, so there all threads must follow.
//
// raw makes a system call in this thread, or in all.
func (b *builder) raw(trap, a1, a2, a3, a4, a5 uintptr) error {
	var errno syscall.Errno
	if b.stays() {
		_, _, errno = syscall.AllThreadsSyscall6(trap, a1, a2, a3, a4, a5, 0)
	} else {
		_, _, errno = unix.RawSyscall6(trap, a1, a2, a3, a4, a5, 0)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// stays tells whether this process goes on while the command runs.
func (b *builder) stays() bool {
	return (b.spec.Init || b.spec.leavesOut(withoutUserMap)) && !b.joining
}

// runBounding drops what the command may never have.
func runBounding(b *builder) error {
	keep, err := b.proc.capMask()
	if err != nil {
		return err
	}
	for c := range uintptr(lastCap + 1) {
		if keep&(1<<c) != 0 {
			continue
		}
		if err := b.raw(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return &callError{"prctl(PR_CAPBSET_DROP, CAP_" + capNames[c] + ")", err}
		}
	}
	// Capabilities that a newer kernel has and this table lacks.
	for c := uintptr(lastCap + 1); c < 64; c++ {
		if b.raw(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0) != nil {
			break
		}
	}
	return b.call(nil, "prctl(PR_CAPBSET_DROP, /* each that is not in %#x */)", keep)
}

// identity is who the command runs as.
func (b *builder) identity() (Identity, error) {
	files := rootFiles(b.root)
	who, err := resolveUser(b.proc.User, files)
	if err == nil {
		err = addGroups(&who, b.proc.Groups, files)
	}
	return who, err
}

// runUser becomes the user of the image's config.
func runUser(b *builder) error {
	who, err := b.identity()
	if err == nil && !b.emulated {
		err = checkMapped(who, b.spec.IDs)
	}
	if err != nil {
		return errs.Code(err, 125)
	}
	b.who = who
	if !b.spec.IDs.Setgroups && !b.emulated && !slices.Contains(b.proc.Groups, KeepGroups) && len(b.proc.Groups) > 0 {
		b.note("--group-add "+strings.Join(b.proc.Groups, ","), "where one group is mapped, nobody gets another: setgroups(2) is denied", "")
	}
	b.giveStdio()
	if b.emulated && !b.becomes { // it is that user already
		return nil
	}
	// Where root is emulated, the supervisor answers these calls.
	if (b.spec.IDs.Setgroups || b.emulated) && !slices.Contains(b.proc.Groups, KeepGroups) {
		if err := b.setgroups(); err != nil {
			return err
		}
	}
	gid, uid := uintptr(who.GID), uintptr(who.UID)
	if err := b.call(b.raw(unix.SYS_SETRESGID, gid, gid, gid, 0, 0), "setresgid(%d, %d, %d)", gid, gid, gid); err != nil {
		return err
	}
	if err := b.call(b.raw(unix.SYS_SETRESUID, uid, uid, uid, 0, 0), "setresuid(%d, %d, %d)", uid, uid, uid); err != nil {
		return err
	}
	if b.lateCwd {
		if err := b.call(unix.Chdir(b.proc.Cwd), "chdir(%q)", b.proc.Cwd); err != nil {
			return errs.Code(err, 126)
		}
	}
	return nil
}

// setgroups sets the supplementary groups that have a mapping. The primary group is one of them, as
// in docker: a process must not get what a file denies to its group by changing that group, as a
// set-group-ID program does (CVE-2022-36109). Where setgroups(2) is denied, the caller's groups
// stay: user_namespaces(7), "The /proc/pid/setgroups file".
func (b *builder) setgroups() error {
	groups := []uint32{b.who.GID} // it is mapped: checkMapped; or emulated
	for _, g := range b.who.Groups {
		if g == b.who.GID {
			continue
		}
		if b.spec.IDs.hasGID(g) || b.emulated {
			groups = append(groups, g)
		} else {
			b.note(fmt.Sprintf("group %d of the user", g), "it is not mapped in this user namespace", "")
		}
	}
	err := b.raw(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0, 0, 0)
	return b.call(err, "setgroups(%d, %v)", len(groups), groups)
}

// giveStdio makes the command's user the owner of the pipes and the terminal it gets as standard
// files, so that it can open /dev/stdout anew.
func (b *builder) giveStdio() {
	if b.who.UID == 0 {
		return
	}
	for fd := range 3 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFIFO || fd == 0 && b.console >= 0 {
			_ = unix.Fchown(fd, int(b.who.UID), -1) // not ours: then it stays as it is
		}
	}
}

// runCaps leaves root what the bounding set allows, and other users nothing. It comes after
// setresuid(2), which has already taken the capabilities of a user that is not 0.
func runCaps(b *builder) error {
	keep, err := b.proc.capMask()
	if err != nil {
		return err
	}
	if b.who.UID != 0 {
		keep = 0
	}
	err = b.raw(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if err := b.call(err, "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)"); err != nil {
		return err
	}
	hdr, data := capData(keep)
	err = b.raw(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)), 0, 0, 0)
	if err := b.call(err, "capset({effective=%#x, permitted=%#x, inheritable=0})", keep, keep); err != nil {
		return err
	}
	return b.rearm()
}

// capData is what capset(2) takes to leave keep.
func capData(keep uint64) (*unix.CapUserHeader, *[2]unix.CapUserData) {
	return &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &[2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)},
		{Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
}

// rearm sets the parent-death signal again: a change of credentials clears it,
// prctl(2), PR_SET_PDEATHSIG. If the supervisor died in between, its socket is closed.
func (b *builder) rearm() error {
	err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	if err := b.call(err, "prctl(PR_SET_PDEATHSIG, SIGKILL)"); err != nil {
		return err
	}
	poll := []unix.PollFd{{Fd: wire.FD, Events: 0}}
	if n, err := unix.Poll(poll, 0); err == nil && n > 0 && poll[0].Revents&unix.POLLHUP != 0 {
		return errors.New("the supervisor is gone")
	}
	return nil
}

func runParentDeath(b *builder) error { return b.rearm() }

func deathSignal(*builder) string {
	var sig int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&sig)), 0, 0, 0); err != nil {
		return err.Error()
	}
	return pick(sig == 0, "no signal when the parent ends", fmt.Sprintf("signal %d when the parent ends", sig))
}

// sessionID shows 0 for a session whose leader is outside of the pid namespace.
func sessionID(*builder) string {
	sid, err := unix.Getsid(0)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("session %d", sid)
}

func sessionKeyring(*builder) string {
	id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err != nil {
		return "session keyring: " + err.Error()
	}
	return fmt.Sprintf("session keyring %d", id)
}

func runSession(b *builder) error {
	sid, err := unix.Setsid()
	if err == unix.EPERM { // already a leader
		_ = b.call(err, "setsid()")
		return nil
	}
	return b.returned(sid, err, "setsid()")
}

func runNoNewPrivs(b *builder) error {
	err := b.raw(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	return b.call(err, "prctl(PR_SET_NO_NEW_PRIVS, 1)")
}

// runKeyring gives the command a session keyring of its own: without it, keyctl(1) inside finds
// the keys of the login session. Kernels without keys, and filters around us, are fine.
func runKeyring(b *builder) error {
	// NULL makes a new one; a name would find the one of another container. The result differs
	// from thread to thread, hence not raw.
	serial, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	switch errno {
	case 0:
		return b.returned(int(serial), nil, "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)")
	case unix.ENOSYS, unix.EPERM, unix.EDQUOT:
		b.note("session keyring", "keyctl: "+errno.Error(), "")
		return nil
	}
	return b.call(errno, "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)")
}

// rlimits are the names of setrlimit(2) as docker's --ulimit has them.
var rlimits = [...]string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile",
	"memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"}

func (p *Process) umask() int {
	if p.Umask == nil {
		return 0o022
	}
	return int(*p.Umask)
}

func runLimits(b *builder) error {
	// umask(2) never fails. 022 as in docker, whatever the caller has.
	mask := b.proc.umask()
	old := unix.Umask(mask)
	_ = b.returned(old, nil, "umask(%03o)", mask)
	for _, l := range b.proc.Rlimits {
		if err := b.setRlimit(l); err != nil {
			return errs.Hint(err, "a hard limit cannot be raised without root; see getrlimit(2)")
		}
	}
	if err := b.setShares(); err != nil {
		return err
	}
	if b.proc.OOMScoreAdj == nil {
		return nil
	}
	text := fmt.Sprint(*b.proc.OOMScoreAdj)
	err := os.WriteFile("/proc/self/oom_score_adj", []byte(text), 0)
	return b.call(err, `write("/proc/self/oom_score_adj", %q)`, text)
}

// setShares sets what belongs to a thread: this one becomes the command, or starts it.
func (b *builder) setShares() error {
	if cpus := b.proc.CPUs; len(cpus) > 0 {
		var set unix.CPUSet
		for _, n := range cpus {
			set.Set(n)
		}
		if err := b.call(unix.SchedSetaffinity(0, &set), "sched_setaffinity(0, %d, %v)", unsafe.Sizeof(set), cpus); err != nil {
			return err
		}
	}
	if more := b.proc.Nice; more > 0 {
		// getpriority(2), "C library/kernel differences": the call returns 20 - nice.
		was, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err := b.returned(was, err, "getpriority(PRIO_PROCESS, 0)"); err != nil {
			return err
		}
		n := min(20-was+more, 19)
		if err := b.call(unix.Setpriority(unix.PRIO_PROCESS, 0, n), "setpriority(PRIO_PROCESS, 0, %d)", n); err != nil {
			return err
		}
	}
	if p := b.proc.IOPriority; p > 0 {
		var err error
		if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, uintptr(p)); errno != 0 {
			err = errno
		}
		return b.call(err, "ioprio_set(IOPRIO_WHO_PROCESS, 0, %#x)", p)
	}
	return nil
}

// ioprioWhoProcess is IOPRIO_WHO_PROCESS of ioprio_set(2), which package unix lacks.
const ioprioWhoProcess = 1

func (b *builder) setRlimit(l Rlimit) error {
	for i, name := range rlimits {
		if name != strings.ToLower(l.Name) {
			continue
		}
		// syscall, not unix: the run-time raised nofile for itself and would put the old one
		// back on exec, unless told by this function.
		err := syscall.Setrlimit(i, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard})
		return b.call(err, "setrlimit(RLIMIT_%s, {%d, %d})", strings.ToUpper(name), l.Soft, l.Hard)
	}
	return fmt.Errorf("unknown limit %q", l.Name)
}
