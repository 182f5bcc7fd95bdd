// Init is started in its new namespaces and followed until it has become the command.

package ns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/wire"
)

// cloneFlags are the namespaces a container gets. The user namespace, below the supervisor's, owns
// the others: whatever capabilities the command has, they give no power over the supervisor, its
// files or its processes.
func (s *Spec) cloneFlags() uintptr {
	flags := uintptr(unix.CLONE_NEWUSER)
	for _, n := range namespaceFlags {
		// The root of a cgroup namespace is the group in which it is made, so the step
		// "control-group" makes it.
		if n.name == "cgroup" && s.Cgroup != nil {
			continue
		}
		if !s.leavesOut(n.name) && (n.name != "net" || !s.hostNetwork()) && (n.name != "ipc" || !s.hostIPC()) {
			flags |= n.flag
		}
	}
	return flags
}

// Run starts init and follows it until it has become the command, or failed to: then
// errs.CodeOf tells 126 or 127 by docker's rules, or nothing if the container could not be built.
//
// It must not run in a goroutine that is locked to a thread and ends: the kernel
// sends the parent-death signal when the thread ends that made the child.
func (s *Start) Run() (*Child, error) {
	spec := *s.Spec
	spec.Explain = s.Report != nil
	spec.Process.Rlimits = withFiles(spec.Process.Rlimits)
	flags := spec.cloneFlags()
	const shared = unix.CLONE_NEWUSER | unix.CLONE_NEWNET
	if s.Beside != nil {
		flags &^= shared
	}
	before := time.Now()
	c, conn, err := launch(InitCommand, s.Stdio, s.Beside, flags, unix.CLONE_NEWNET)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c.flags, c.cgroup = flags, spec.Cgroup
	if spec.ownCgroupNS() {
		c.flags |= unix.CLONE_NEWCGROUP
	}
	var maps []string
	if s.Beside == nil {
		maps, err = c.writeMaps(spec.IDs)
	} else {
		c.flags |= shared
	}
	if err == nil && spec.Foreign != nil && flags&unix.CLONE_NEWNET != 0 {
		err = s.Attach(c)
	}
	if err == nil {
		err = c.configure(conn, &message{Op: opBuild, Spec: &spec}) // what init waits for
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	if s.Forked != nil {
		s.Forked(c)
	}
	if s.Report != nil {
		calls := append([]string{fmt.Sprintf("clone(%s|SIGCHLD) = %d", cloneFlagNames(flags), c.Pid)}, maps...)
		if s.Beside != nil {
			calls = []string{fmt.Sprintf("setns(%d /* pidfd */, %s) = 0", s.Beside.Fd(), cloneFlagNames(shared)), "unshare(" + cloneFlagNames(flags) + ") = 0",
				fmt.Sprintf("clone(CLONE_PARENT|SIGCHLD) = %d", c.Pid)}
		}
		s.Report(c.namespaceReport(calls, time.Since(before)))
	}
	if err := c.follow(conn, s); err != nil {
		return nil, err
	}
	return c, nil
}

// protect makes what is executed: a variable, so that a test can show what happens without.
var protect = readOnly

// writeMaps gives the container's user namespace the ids that the supervisor's has, each as
// itself, or renamed. It returns the calls. Init comes up meanwhile: UserNS.Start, ambient
// capabilities.
func (c *Child) writeMaps(ids IDMap) (calls []string, err error) {
	pid, err := c.HostPid()
	if err != nil {
		return nil, err
	}
	uids, gids := ids.inside()
	for _, m := range []struct {
		name   string
		ranges []IDRange
	}{{"gid_map", gids}, {"uid_map", uids}} {
		// user_namespaces(7), "Defining user and group ID mappings": with CAP_SETUID in the
		// namespace above, any id of that.
		path, text := fmt.Sprintf("/proc/%d/%s", pid, m.name), format(m.ranges)
		if err := os.WriteFile(path, []byte(text), 0); err != nil {
			return nil, fmt.Errorf("map the ids of the container: %w", err)
		}
		calls = append(calls, fmt.Sprintf("write(%s, %q, %d) = %d", path, text, len(text), len(text)))
	}
	return calls, nil
}

// originalFiles is the limit of open files that this process was started with. Go raises the soft
// limit for itself, keeps the old one to itself, and puts it back on its way to execve(2): here to
// one that fails.
var originalFiles = sync.OnceValue(func() (was unix.Rlimit) {
	var raised unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &raised) != nil {
		return unix.Rlimit{}
	}
	_ = syscall.Exec("", []string{""}, nil)
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &was)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &raised)
	return was
})

// withFiles adds the original limit of open files to limits that say nothing of it.
func withFiles(limits []Rlimit) []Rlimit {
	for _, l := range limits {
		if strings.EqualFold(l.Name, "nofile") {
			return limits
		}
	}
	was := originalFiles()
	if was.Max == 0 {
		return limits
	}
	return append(slices.Clone(limits), Rlimit{Name: "nofile", Soft: was.Cur, Hard: was.Max})
}

// launch starts this program as command, and returns the connection to it: in new namespaces, or as
// a helper in the user namespace of the container's process container, if that is not nil, and in
// its namespaces of also. With both, it is in new namespaces and in those of that process.
func launch(command string, stdio [3]*os.File, container *os.File, namespaces, also uintptr) (c *Child, conn *wire.Conn, err error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			conn.Close()
			err = fmt.Errorf("start %s: %w", strings.TrimPrefix(command, "__"), err)
		}
	}()
	exe, err := protect(selfExe)
	if err != nil {
		return nil, nil, err
	}
	alone := make(chan struct{})
	defer func() {
		go func() {
			exe.Close()
			close(alone)
		}()
	}()
	null, all, err := openStdio(stdio)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	if files := append(all[:], theirs); namespaces != 0 && container == nil {
		c, err = startInit(exe, command, files, namespaces)
	} else {
		c, err = startHelper(exe, []string{"tiffin", command}, files, container, namespaces, also)
	}
	if err == nil {
		c.alone = alone
	}
	return c, conn, err
}

// configure sends the process that was launched its first message, after this process has closed
// the clone of the program's mount (protect). The kernel waits for an RCU grace period then, a
// millisecond or two (namespace_unlock in fs/namespace.c); the process comes up meanwhile.
func (c *Child) configure(conn *wire.Conn, m *message) error {
	<-c.alone
	return answer(conn, m)
}

// startInit starts exe in new namespaces with an empty environment, before its ids are mapped:
// UserNS.Start.
func startInit(exe *os.File, command string, files []*os.File, namespaces uintptr) (*Child, error) {
	exe, err := outOfTheWay(exe, files)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	var pidfd int
	// With CLONE_NEWUSER, ForkExec does without CLONE_VM.
	attr := &syscall.ProcAttr{Dir: "/", Env: []string{}, Sys: &syscall.SysProcAttr{
		Cloneflags: namespaces, AmbientCaps: allCaps(), PidFD: &pidfd}}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	// Not os.StartProcess: the first one in a process forks a child more, to see whether pidfds
	// work.
	pid, err := syscall.ForkExec(pathOf(exe), []string{"tiffin", command}, attr)
	runtime.KeepAlive(files)
	if err != nil {
		return nil, userNSError(err)
	}
	return &Child{Pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// startHelper starts exe with these arguments and an empty environment in the container's user
// namespace: with the container's ids and capabilities, and, but for the namespaces of also,
// otherwise as this process. The container does not see it. Outside of that namespace it could not
// look at the root: what fuse(4) calls allow_other reaches the user namespace that owns the mount,
// and those below. With namespaces it is no helper but process 1 of a container that shares the
// other one's network.
func startHelper(exe *os.File, argv []string, files []*os.File, container *os.File, namespaces, also uintptr) (*Child, error) {
	exe, err := outOfTheWay(exe, files)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	var pid, pidfd int
	start := func() (err error) {
		s := spawn{path: pathOf(exe), argv: argv, env: []string{}, user: -1, also: also, below: namespaces, deathSig: uint64(unix.SIGKILL)}
		if namespaces != 0 { // init, which has a step for the signal
			s.dir, s.deathSig = "/", 0
		}
		if container != nil {
			s.user = int(container.Fd())
		}
		for _, f := range files {
			s.files = append(s.files, int(f.Fd()))
		}
		pid, pidfd, err = s.start()
		return err
	}
	if container == nil {
		err = start()
	} else {
		err = whileLiving(int(container.Fd()), start)
	}
	runtime.KeepAlive(files)
	if err != nil {
		return nil, err
	}
	return &Child{Pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// Helper runs this program as command in the container's user namespace, and in nothing else of the
// container but the namespaces of also, such as CLONE_NEWNET. It returns the connection to the
// helper, which must be waited for.
func (c *Child) Helper(command string, also uintptr) (*Child, *wire.Conn, error) {
	helper, conn, err := launch(command, [3]*os.File{}, c.pidfd, 0, also)
	if err == nil {
		<-helper.alone
	}
	return helper, conn, err
}

// Companion runs a program beside the container: in none of its namespaces, in those of this
// process, with the rights that this process still has. It returns the connection to it. It must be
// waited for.
func Companion(program *os.File, command string) (*Child, *wire.Conn, error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	null, all, err := openStdio([3]*os.File{})
	if err == nil {
		defer null.Close()
		var c *Child
		if c, err = startHelper(program, []string{"tiffin", command}, append(all[:], theirs), nil, 0, 0); err == nil {
			return c, conn, nil
		}
	}
	conn.Close()
	return nil, nil, fmt.Errorf("start %s: %w", strings.TrimPrefix(command, "__"), err)
}

// Foreign runs a program as Companion does, but one of others: with its own arguments, argv[0]
// included, and standard files; nil = /dev/null.
func Foreign(program *os.File, argv []string, stdio [3]*os.File) (*Child, error) {
	null, all, err := openStdio(stdio)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return startHelper(program, argv, all[:], nil, 0, 0)
}

// follow reads the child's messages until it has executed the command.
func (c *Child) follow(conn *wire.Conn, s *Start) error {
	ready, mounted, taps := false, s.Mounted, 0
	for {
		m := new(message)
		err := conn.Receive(m)
		switch {
		case errors.Is(err, io.EOF) && ready:
			return nil
		case errors.Is(err, io.EOF):
			return c.died()
		case err != nil:
			c.kill()
			return fmt.Errorf("hear from init: %w", err)
		}
		if ready && (m.Op == opMounted || m.Op == opTap || m.Op == opConsole) {
			m.Op = "" // with --init the command might find init's socket before that is closed
		}
		switch m.Op {
		case opMounted:
			if fuse := m.file(); mounted != nil && fuse != nil {
				mounted(fuse)
				mounted = nil
			} else if fuse != nil {
				fuse.Close()
			}
		case opTap:
			if cable := m.file(); s.Tap != nil && cable != nil && taps < len(s.Spec.Interfaces) {
				s.Tap(taps, cable)
				taps++
			} else if cable != nil {
				cable.Close()
			}
		case opConsole:
			if c.Console == nil {
				c.Console = m.file()
			}
		case opCommand:
			if c.command == nil {
				c.command = m.file()
			}
		case opListener:
			if c.handed == nil && !ready && s.Emulate != nil {
				c.handed = m.emulation()
				err = s.Emulate(c.handed)
			}
		case opReport:
			if s.Report != nil && m.Report != nil {
				s.Report(*m.Report)
			}
			err = answer(conn, &message{Op: opNext})
		case opReady:
			ready, c.Created, c.Notes = true, m.Created, m.Notes
		case opError:
			if err = errors.New("hear from init: an error without a word"); m.Error != nil {
				err = m.Error.Err()
			}
		}
		m.close()
		if err != nil {
			c.kill()
			return err
		}
	}
}

// died reports a child that ended without a word.
func (c *Child) died() error {
	ws, err := c.reap()
	c.Close()
	switch {
	case err != nil:
		return err
	case ws.Signaled():
		return fmt.Errorf("init was killed by signal %d (%v)", ws.Signal(), ws.Signal())
	}
	return fmt.Errorf("init ended early with status %d", ws.ExitStatus())
}

// kill ends a child that is of no use, and reaps it.
func (c *Child) kill() {
	_ = unix.PidfdSendSignal(int(c.pidfd.Fd()), unix.SIGKILL, nil, 0)
	_, _ = c.reap()
	c.Close()
}

func (c *Child) reap() (syscall.WaitStatus, error) { return reapProcess(c.Pid) }

// reapProcess waits for the end of a child: wait(2).
func reapProcess(pid int) (ws syscall.WaitStatus, err error) {
	for {
		_, err = syscall.Wait4(pid, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return ws, fmt.Errorf("wait for process %d: %w", pid, err)
		default:
			return ws, nil
		}
	}
}

// Wait waits for the command to end and returns its exit status, 128+N after signal N. It must be
// called once; meanwhile no other goroutine may call wait(2) for just any child.
func (c *Child) Wait() (int, error) {
	ws, err := c.reap()
	if err != nil {
		return -1, err
	}
	if ws.Signaled() && c.command != nil {
		// The helper was killed: its command must not go on alone. It is now a child of this
		// process, which has to wait for it: before that the container's process 1 cannot end, as
		// it waits for all of its namespace to be gone, pid_namespaces(7).
		_ = unix.PidfdSendSignal(int(c.command.Fd()), unix.SIGKILL, nil, 0)
		_ = unix.Waitid(unix.P_PIDFD, int(c.command.Fd()), nil, unix.WEXITED, nil)
	}
	return exitStatus(ws), nil
}

// Signal sends a signal to the command. PID 1 ignores signals it has no handler
// for, save SIGKILL and SIGSTOP from outside: pid_namespaces(7).
func (c *Child) Signal(sig syscall.Signal) error {
	target := c.pidfd
	if c.command != nil {
		target = c.command
	}
	err := unix.PidfdSendSignal(int(target.Fd()), sig, nil, 0)
	if err == unix.ESRCH {
		return os.ErrProcessDone
	}
	return err
}

// Close releases descriptors.
func (c *Child) Close() error {
	if c.Console != nil {
		c.Console.Close()
	}
	if c.handed != nil {
		c.handed.Close()
	}
	if c.command != nil {
		c.command.Close()
	}
	if c.pidfd != nil {
		return c.pidfd.Close()
	}
	return nil
}

// namespaceReport tells of the step "namespaces".
func (c *Child) namespaceReport(calls []string, took time.Duration) Report {
	r := Report{N: stepNumber("namespaces"), Step: "namespaces", Took: took, Calls: calls}
	pid, err := c.HostPid()
	if err != nil {
		r.After = err.Error()
		return r
	}
	var before, after []string
	for _, n := range []string{"user", "mnt", "pid", "net", "uts", "ipc", "cgroup"} {
		before = append(before, readlink("/proc/self/ns/"+n))
		after = append(after, readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n)))
	}
	r.Before, r.After = strings.Join(before, " "), strings.Join(after, " ")
	return r
}
