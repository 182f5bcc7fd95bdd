// The anchor, the first of the three processes of a test: it holds the user namespace, starts
// server and client, and restarts or kills the server when the client asks.

package fstest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/sidecar"
	"tiffin/internal/wire"
)

// The anchor's inherited descriptors.
const (
	anchorResult = 3 // pipe to T: one result as JSON
	anchorGate   = 4 // pipe from T: end-of-file when the ids are mapped
)

type anchor struct {
	spec   *spec
	res    result
	k      *wire.Conn    // to the client
	server *exec.Cmd     // nil when there is none
	report chan []string // the server's last words
	faults faults
	client *exec.Cmd
}

func anchorMain(s *spec) int {
	out := os.NewFile(anchorResult, "result")
	syscall.CloseOnExec(anchorResult)
	if s.WaitForIDs {
		// user_namespaces(7), "Capabilities": a process without a mapped id lost
		// its capabilities at execve(2); another one, now as id 0, returns them.
		io.Copy(io.Discard, os.NewFile(anchorGate, "gate"))
		s.WaitForIDs = false
		unix.FcntlInt(anchorResult, unix.F_SETFD, 0)
		cmd := self("anchor", s)
		err := syscall.Exec(cmd.Path, cmd.Args, cmd.Environ())
		fmt.Fprintln(os.Stderr, "fstest: run this binary again:", err)
		return 2
	}
	a := &anchor{spec: s}
	if err := a.run(); err != nil {
		if what, ok := missing(err); ok {
			a.res.Missing, a.res.Why = what, err.Error()
		}
		a.res.Errors = append(a.res.Errors, err.Error())
	}
	json.NewEncoder(out).Encode(a.res)
	return 0
}

func (a *anchor) run() error {
	// mount_namespaces(7), "Shared subtrees": nothing mounted here may reach
	// the outside, nor what the client mounts reach here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &errMissing{"userns", fmt.Errorf("make the mounts private: %w", err)}
	}
	// prctl(2), PR_SET_CHILD_SUBREAPER: orphans of the test come to us to be counted.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := a.prepareUpper(); err != nil {
		return err
	}
	if err := a.startClient(); err != nil {
		return err
	}
	go a.endOnSIGTERM()
	err := a.answer()
	if err == nil {
		err = a.finish()
	}
	return err
}

func (a *anchor) prepareUpper() error {
	s := a.spec
	if s.Upper == "" {
		return nil
	}
	disk := filepath.Dir(s.Upper)
	if s.Ramfs { // it has none, and a user namespace may mount it
		if err := unix.Mount("ramfs", disk, "ramfs", 0, ""); err != nil {
			return fmt.Errorf("mount a ramfs for the upper directory: %w", err)
		}
	}
	if s.Tmpfs > 0 {
		if err := unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", s.Tmpfs)); err != nil {
			return fmt.Errorf("mount a tmpfs for the upper directory: %w", err)
		}
	}
	for _, d := range []string{s.Upper, s.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if s.Sidecar {
		side, err := sidecar.Create(s.Upper)
		side.Close()
		return err
	}
	return nil
}

func (a *anchor) startClient() error {
	k, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	a.k = k
	a.client = self("client", a.spec, a.spec.Args...)
	a.client.Stdout, a.client.Stderr = os.Stdout, os.Stderr
	a.client.ExtraFiles = []*os.File{theirs}
	a.client.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return a.client.Start()
}

// endOnSIGTERM prints the stacks of server and client and ends both.
func (a *anchor) endOnSIGTERM() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	fmt.Fprintln(os.Stderr, "fstest: out of time; stacks of server and client follow")
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		for _, cmd := range []*exec.Cmd{a.server, a.client} {
			if cmd != nil {
				cmd.Process.Signal(sig)
				time.Sleep(500 * time.Millisecond) // one after the other, or their output mixes
			}
		}
	}
}

// answer does what the client asks for, until it is gone.
func (a *anchor) answer() error {
	for {
		m := &message{}
		err := a.k.Receive(m)
		if err != nil {
			break
		}
		reply := &message{}
		switch m.Op {
		case "start":
			a.spec.Faults = m.Faults
			err = a.startServer(m)
		case "kill":
			if a.server != nil {
				a.server.Process.Kill()
			}
			a.waitServer(true)
		case "wait":
			a.waitServer(false)
		case "fault":
			reply.Hit = a.faults.arm(m.N, unix.Errno(m.Errno))
		case "missing":
			return &errMissing{m.What, fmt.Errorf("%s", m.Err)}
		default:
			err = fmt.Errorf("unknown request %q", m.Op)
		}
		if err != nil {
			reply.Err = err.Error()
			reply.What, _ = missing(err)
		}
		a.k.Send(reply)
	}
	a.client.Wait()
	a.res.Exit = a.client.ProcessState.ExitCode()
	return nil
}

// startServer starts a server whose connection to the client came with the request.
func (a *anchor) startServer(request *message) error {
	theirs, err := request.file()
	if err != nil {
		return err
	}
	defer theirs.Close()
	report, theirReport, err := wire.Pair()
	if err != nil {
		return err
	}
	defer theirReport.Close()
	a.server = self("server", a.spec)
	a.server.Stdout, a.server.Stderr = os.Stdout, os.Stderr
	a.server.ExtraFiles = []*os.File{theirs, theirReport}
	a.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.server.Start(); err != nil {
		return err
	}
	a.faults.server = a.server
	a.report = make(chan []string, 1)
	go a.listenTo(report, a.report)
	return nil
}

// listenTo takes a server's messages until it is gone.
func (a *anchor) listenTo(server *wire.Conn, report chan<- []string) {
	defer server.Close()
	var errs []string
	for {
		m, err := receive(server)
		if err != nil {
			report <- errs
			return
		}
		if listener, err := m.file(); err == nil {
			go a.faults.watch(listener)
		}
		errs = append(errs, m.Errs...)
	}
}

// waitServer waits for the server's end and takes down what it reports.
func (a *anchor) waitServer(killed bool) {
	if a.server == nil {
		return
	}
	server := a.server
	timer := time.AfterFunc(2*time.Minute, func() {
		fmt.Fprintln(os.Stderr, "fstest: the server did not end 2 minutes after its mount was gone; its stacks follow")
		server.Process.Signal(syscall.SIGQUIT)
	})
	err := server.Wait()
	timer.Stop()
	a.server = nil
	errs := <-a.report
	if killed || a.faults.arm(0, 0) {
		return
	}
	if a.res.Errors = append(a.res.Errors, errs...); err != nil {
		a.res.Errors = append(a.res.Errors, "the server ended with "+err.Error())
	}
}

// finish looks for what was left behind.
func (a *anchor) finish() error {
	a.endOrphans()
	a.waitServer(false)
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(info), " "+a.spec.mountPoint()+" ") {
		a.res.Errors = append(a.res.Errors, "left behind: the mount, in the server's own mount namespace")
	}
	if a.spec.Upper != "" {
		a.res.Errors = append(a.res.Errors, checkUpper(a.spec, false)...)
	}
	return nil
}

// endOrphans kills what the client started and did not wait for: such a process
// would keep the client's mount namespace, and so the mount, alive.
func (a *anchor) endOrphans() {
	status, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, p := range status {
		b, _ := os.ReadFile(p)
		if !strings.Contains(string(b), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err != nil || a.server != nil && pid == a.server.Process.Pid {
			continue
		}
		name, _, _ := strings.Cut(string(b), "\n")
		a.res.Errors = append(a.res.Errors, "left behind: a process that the test started, "+name)
		syscall.Kill(pid, syscall.SIGKILL)
		syscall.Wait4(pid, nil, 0, nil)
	}
}

// checkUpper runs Fsck and looks whether the work directory is empty.
func checkUpper(s *spec, crashed bool) []string {
	var bad []string
	if es, err := os.ReadDir(s.Work); err != nil || len(es) > 0 {
		bad = append(bad, fmt.Sprintf("left behind in the work directory: %v, %v", es, err))
	}
	x, _, _, err := s.Image.open()
	if err != nil {
		return append(bad, err.Error())
	}
	return append(bad, Fsck(s.Upper, x, crashed)...)
}
