// Init is started in its new namespaces and followed until it has become the command.

package ns

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cloneFlags are the namespaces a container gets besides the supervisor's user namespace.
func (s *Spec) cloneFlags() uintptr {
	flags := uintptr(0)
	for _, n := range namespaceFlags {
		if !s.leavesOut(n.name) && (n.name != "net" || !s.hostNetwork()) {
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
	var extra []*os.File
	if spec.Root.FUSE != nil {
		if s.Fuse == nil {
			return nil, errors.New("start init: no /dev/fuse descriptor given")
		}
		extra = []*os.File{s.Fuse}
	}
	flags := spec.cloneFlags()
	before := time.Now()
	c, socket, err := launch(InitCommand, &spec, s.Stdio, extra, &syscall.SysProcAttr{Cloneflags: flags})
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	c.flags = flags
	if s.Forked != nil {
		s.Forked(c)
	}
	if s.Report != nil {
		s.Report(c.namespaceReport(flags, time.Since(before)))
	}
	if err := c.follow(socket, s.Mounted, s.Report); err != nil {
		return nil, err
	}
	return c, nil
}

// protect makes what is executed: a variable, so that a test can show what happens without.
var protect = readOnly

// launch starts this program as command, with spec on a descriptor and a control socket, of which
// it returns the other side.
func launch(command string, spec any, stdio [3]*os.File, extra []*os.File, sys *syscall.SysProcAttr) (*Child, int, error) {
	doc, err := json.Marshal(spec)
	if err != nil {
		return nil, -1, err
	}
	mem, err := memfd("tiffin-spec", doc)
	if err != nil {
		return nil, -1, err
	}
	specFile := os.NewFile(uintptr(mem), "spec")
	defer specFile.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	exe, err := protect(selfExe)
	if err == nil {
		defer exe.Close()
		var all [3]*os.File
		var null *os.File
		if null, all, err = openStdio(stdio); err == nil {
			defer null.Close()
			files := append(append(all[:], specFile, theirs), extra...)
			var c *Child
			if c, err = startChild(exe, command, files, sys); err == nil {
				return c, pair[0], nil
			}
		}
	}
	unix.Close(pair[0])
	return nil, -1, err
}

// startChild starts exe with an empty environment.
func startChild(exe *os.File, command string, files []*os.File, sys *syscall.SysProcAttr) (*Child, error) {
	exe, err := outOfTheWay(exe, files)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	var pidfd int
	sys.PidFD = &pidfd
	attr := &syscall.ProcAttr{Dir: "/", Env: []string{}, Sys: sys}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	// Not os.StartProcess: the first one in a process forks a child more, to see whether pidfds
	// work.
	pid, err := syscall.ForkExec(pathOf(exe), []string{"tiffin", command}, attr)
	runtime.KeepAlive(files)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.TrimPrefix(command, "__"), err)
	}
	return &Child{Pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// follow reads the child's messages until it has executed the command.
func (c *Child) follow(socket int, mounted func(), report func(Report)) error {
	ready := false
	buf := make([]byte, maxMessage+1024)
	for {
		m, fd, err := receive(socket, buf)
		switch {
		case err != nil:
			c.kill()
			return err
		case m == nil && ready:
			return nil
		case m == nil:
			return c.died()
		}
		switch m.Kind {
		case msgMounted:
			if mounted != nil {
				mounted()
			}
		case msgConsole:
			if c.Console == nil && fd >= 0 {
				c.Console, fd = os.NewFile(uintptr(fd), "console"), -1
			}
		case msgCommand:
			if c.command == nil && fd >= 0 {
				c.command, fd = os.NewFile(uintptr(fd), "command"), -1
			}
		case msgReport:
			if report != nil && m.Report != nil {
				report(*m.Report)
			}
			if err := acknowledge(socket); err != nil {
				c.kill()
				return err
			}
		case msgReady:
			ready, c.Created, c.Notes = true, m.Created, m.Notes
		case msgError:
			c.kill()
			return m.Error.Err()
		}
		if fd >= 0 {
			unix.Close(fd)
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

func (c *Child) reap() (ws syscall.WaitStatus, err error) {
	for {
		_, err = syscall.Wait4(c.Pid, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return ws, fmt.Errorf("wait for process %d: %w", c.Pid, err)
		default:
			return ws, nil
		}
	}
}

// Wait waits for the command to end and returns its exit status, 128+N after signal N. It must be
// called once, and nobody else may wait for just any child meanwhile.
func (c *Child) Wait() (int, error) {
	ws, err := c.reap()
	if err != nil {
		return -1, err
	}
	if ws.Signaled() && c.command != nil {
		// The helper was killed: its command shall not go on alone.
		_ = unix.PidfdSendSignal(int(c.command.Fd()), unix.SIGKILL, nil, 0)
	}
	return ExitStatus(ws), nil
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
	if c.command != nil {
		c.command.Close()
	}
	if c.pidfd != nil {
		return c.pidfd.Close()
	}
	return nil
}

// namespaceReport tells of the step "namespaces".
func (c *Child) namespaceReport(flags uintptr, took time.Duration) Report {
	r := Report{
		N: stepNumber("namespaces"), Step: "namespaces", Took: took,
		Calls: []string{fmt.Sprintf("clone(%s|SIGCHLD) = %d", cloneFlagNames(flags), c.Pid)},
	}
	pid, err := c.HostPid()
	if err != nil {
		r.After = err.Error()
		return r
	}
	var before, after []string
	for _, n := range []string{"mnt", "pid", "net", "uts", "ipc", "cgroup"} {
		before = append(before, readlink("/proc/self/ns/"+n))
		after = append(after, readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n)))
	}
	r.Before, r.After = strings.Join(before, " "), strings.Join(after, " ")
	return r
}

// HostPid returns the number that the /proc at hand gives the child. The supervisor lives in a pid
// namespace of its own, so Pid is another one: pidfd_open(2), "Pid" in /proc/self/fdinfo/N.
func (c *Child) HostPid() (int, error) {
	for line := range strings.Lines(readAll(fmt.Sprintf("/proc/self/fdinfo/%d", c.pidfd.Fd()))) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, fmt.Errorf("find the number of process %d: /proc/self/fdinfo does not say", c.Pid)
}
