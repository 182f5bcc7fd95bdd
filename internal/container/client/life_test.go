// What the three processes guarantee when one of them is killed, stopped, or goes.

package client

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// hasty makes clients impatient, until the test ends.
func hasty(t *testing.T) {
	was := patience
	patience = 500 * time.Millisecond
	t.Cleanup(func() { patience = was })
}

// signalTo sends a signal to a process, and waits until it is stopped if that is the signal.
func signalTo(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
	for stat := ""; sig == unix.SIGSTOP && !strings.Contains(stat, ") T "); {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		stat = string(text)
	}
}

func TestAKilledClientTakesItsContainerAlong(t *testing.T) {
	b := newBox(t, disk.Config{}, "sleep")
	client, out := b.client()
	out.has("asleep")
	pid := b.state(disk.Running).Pid
	_ = client.Process.Kill()
	if s := b.state(disk.Exited); s.ExitCode == 0 { // Go's runtime hears SIGHUP
		t.Errorf("%+v", s)
	}
	gone(t, pid)
}

// TestAStoppedClientHoldsUpNothing: job control stops it, not the container.
func TestAStoppedClientHoldsUpNothing(t *testing.T) {
	b := newBox(t, disk.Config{}, "signals")
	client, out := b.client()
	out.has("ready")
	signalTo(t, client.Process.Pid, unix.SIGSTOP)
	if err := Kill(b.Container, unix.SIGUSR1); err != nil {
		t.Error(err)
	}
	out.has("user defined signal 1") // the supervisor writes to the client's descriptor by itself
	if err := Kill(b.Container, unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if s := b.state(disk.Exited); s.ExitCode != 7 {
		t.Errorf("%+v", s)
	}
	signalTo(t, client.Process.Pid, unix.SIGCONT)
	if err := client.Wait(); client.ProcessState.ExitCode() != 7 {
		t.Errorf("when it goes on it learns: %v", err)
	}
}

func TestAContainerOutlivesAClientThatLeaves(t *testing.T) {
	for name, leave := range map[string]func(b *box, s *Session) error{
		"by detaching":       func(_ *box, s *Session) error { return s.Detach() },
		"without a word":     func(_ *box, s *Session) error { return s.conn.Close() },
		"after a long while": func(_ *box, s *Session) error { time.Sleep(200 * time.Millisecond); return s.Detach() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, disk.Config{}, "signals")
			var s *Session
			if name == "without a word" {
				s = b.detached() // in the foreground that would be the end
			} else {
				s = b.start(StartOptions{})
				b.got.has("ready")
			}
			if err := leave(b, s); err != nil {
				t.Fatal(err)
			}
			out := newOutput(t)
			again, err := Attach(b.Container, out.w, out.w)
			if err != nil {
				t.Fatal(err)
			}
			if name == "without a word" { // it may not have come so far
				b.waitLog("ready")
			}
			seen := strings.Count(b.got.String(), "\n")
			if err := Kill(b.Container, unix.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			out.has("user defined signal 1")
			if strings.Count(b.got.String(), "\n") != seen {
				t.Errorf("the client that has left still gets its output: %q", b.got)
			}
			if err := again.Signal(unix.SIGTERM); err != nil {
				t.Error(err)
			}
			ends(t, again, 7)
		})
	}
}

// waitLog waits until a line is in the container's log.
func (b *box) waitLog(text string) {
	b.t.Helper()
	found := errors.New("found")
	err := b.Logs(disk.LogRange{Tail: -1, Follow: true}, func(e disk.Entry) error {
		if strings.Contains(string(e.Text), text) {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		b.t.Fatalf("%q is not in the log: %v", text, err)
	}
}

func TestAKilledSupervisorTakesEverythingAlong(t *testing.T) {
	b := newBox(t, disk.Config{}, "sleep")
	s := b.start(StartOptions{})
	b.got.has("asleep")
	st := b.state(disk.Running)
	e, err := Exec(b.Container, control.Exec{Args: []string{"/bin/box", "sleep"}}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	signalTo(t, st.Supervisor, unix.SIGKILL)
	for who, s := range map[string]*Session{"run": s, "exec": e} {
		if _, err := s.Wait(); !errors.Is(err, control.ErrGone) || errs.CodeOf(err, 0) != 137 {
			t.Errorf("%s is told: %v", who, err)
		}
	}
	if status, err := Wait(b.Container); status != 137 || err != nil {
		t.Errorf("wait: %d, %v", status, err)
	}
	gone(t, st.Pid)
	for what, err := range map[string]error{"kill": Kill(b.Container, unix.SIGTERM), "exec": exec1(b)} {
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := Stop(b.Container, nil); err != nil {
		t.Errorf("what has ended is stopped already: %v", err)
	}
	// Nothing is in the way of the next run.
	if b.lock, err = b.Lock(); err != nil {
		t.Fatal(err)
	}
	s = b.detached()
	if err := Kill(b.Container, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	ends(t, s, 137)
}

// TestATerminatedSupervisorClearsUp: whoever sends SIGTERM to all processes means the container.
func TestATerminatedSupervisorClearsUp(t *testing.T) {
	few := 5 // seconds
	for name, e := range map[string]struct {
		cfg   disk.Config
		heard string
		exit  int
	}{
		"it ends":           {disk.Config{}, "terminated\n", 7},
		"by its own signal": {disk.Config{StopSignal: "USR1", StopTimeout: &few}, "user defined signal 1\n", 137},
		"nothing is left":   {disk.Config{AutoRemove: true}, "terminated\n", 7},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, e.cfg, "signals")
			s := b.start(StartOptions{Tied: true})
			b.got.has("ready")
			pid := b.state(disk.Running).Supervisor
			for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
				_ = unix.Kill(pid, sig) // perhaps it has gone by the last
				time.Sleep(10 * time.Millisecond)
			}
			ends(t, s, e.exit)
			gone(t, pid)
			b.got.has(e.heard)
			if n := strings.Count(b.got.String(), e.heard); n != 1 {
				t.Errorf("%d times: %q", n, b.got)
			}
			if e.cfg.AutoRemove {
				if _, err := os.Stat(b.Dir()); !os.IsNotExist(err) {
					t.Errorf("its directory: %v", err)
				}
			} else if st := b.state(disk.Exited); st.ExitCode != e.exit || st.Error != "" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestNothingIsLeftWhenAJobKillsWhatIsLeft, which a batch system does when the client has gone.
func TestNothingIsLeftWhenAJobKillsWhatIsLeft(t *testing.T) {
	t.Setenv("SLURM_JOB_ID", "7")
	for range 10 {
		b := newBox(t, disk.Config{AutoRemove: true}, "signals")
		s := b.start(StartOptions{Tied: true})
		b.got.has("ready")
		pid := b.state(disk.Running).Supervisor
		if err := s.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ends(t, s, 7)
		_ = unix.Kill(pid, unix.SIGKILL)
		gone(t, pid)
		for _, dir := range []string{b.Dir(), filepath.Join(root, "tmp", b.ID)} {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Fatalf("%s is there: %v", dir, err)
			}
		}
	}
}

// TestASignalToAllArrivesOnce: the supervisor leaves it to the client to pass it on, which has a
// moment for that. On a machine with much to do that may not be enough each time.
func TestASignalToAllArrivesOnce(t *testing.T) {
	status := 0
	for range 10 {
		b := newBox(t, disk.Config{}, "patient")
		s := b.start(StartOptions{Tied: true})
		b.got.has("ready")
		signalTo(t, b.state(disk.Running).Supervisor, unix.SIGTERM)
		time.Sleep(50 * time.Millisecond) // of two at once the kernel makes one
		if err := s.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var err error
		if status, err = s.Wait(); status == 1 && err == nil {
			return
		}
	}
	t.Errorf("it arrived %d times", status)
}

func exec1(b *box) error {
	_, err := Exec(b.Container, control.Exec{Args: []string{"/bin/box", "exit", "0"}}, nil, nil, nil)
	return err
}

func TestAStoppedSupervisorIsEndedAfterAWhile(t *testing.T) {
	zero := 0
	for name, end := range map[string]func(*disk.Container) error{
		"kill":   func(c *disk.Container) error { return Kill(c, unix.SIGKILL) },
		"stop":   func(c *disk.Container) error { return Stop(c, &zero) },
		"remove": func(c *disk.Container) error { return Remove(c, true) },
	} {
		t.Run(name, func(t *testing.T) {
			hasty(t)
			b := newBox(t, disk.Config{}, "sleep")
			b.detached()
			st := b.state(disk.Running)
			signalTo(t, st.Supervisor, unix.SIGSTOP)
			if name == "kill" {
				err := Kill(b.Container, unix.SIGTERM)
				if err == nil || !strings.Contains(err.Error(), "does not answer") || errs.HintOf(err) == "" {
					t.Errorf("a signal that did not arrive: %v", err)
				}
			}
			if err := end(b.Container); err != nil {
				t.Fatal(err)
			}
			if b.Locked() {
				t.Error("its lock is held")
			}
			gone(t, st.Pid)
		})
	}
}

func TestStopWaitsAsLongAsItIsTold(t *testing.T) {
	b := newBox(t, disk.Config{StopSignal: "USR1"}, "signals")
	s := b.start(StartOptions{})
	b.got.has("ready")
	one := 1
	begun := time.Now()
	if err := Stop(b.Container, &one); err != nil { // it survives that signal
		t.Error(err)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("killed after %v", took)
	}
	b.got.has("user defined signal 1")
	ends(t, s, 137)

	for _, seconds := range []int{-1, 3600} {
		b = newBox(t, disk.Config{StopTimeout: &seconds}, "signals")
		s = b.start(StartOptions{})
		b.got.has("ready")
		if err := Stop(b.Container, nil); err != nil {
			t.Error(err)
		}
		ends(t, s, 7)
	}
	bad := newBox(t, disk.Config{StopSignal: "NOPE"}, "signals")
	if err := Stop(bad.Container, nil); err == nil {
		t.Error("stopped by a signal that is none")
	}
}

func TestAKilledClientOfExecTakesItsCommandAlone(t *testing.T) {
	b := newBox(t, disk.Config{}, "signals")
	s := b.start(StartOptions{})
	b.got.has("ready")
	client, out := b.client("/bin/box", "sleep")
	out.has("asleep")
	before := below(t, b)
	_ = client.Process.Kill()
	for end := time.Now().Add(time.Minute); below(t, b) >= before; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its command goes on")
		}
	}
	if err := s.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, s, 7)
}

// below counts the processes of the container's supervisor.
func below(t *testing.T, b *box) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(b.state(disk.Running).Supervisor) + "/task/" + strconv.Itoa(b.state(disk.Running).Supervisor) + "/children")
	if err != nil {
		t.Skip(err) // CONFIG_PROC_CHILDREN
	}
	tasks, _ := os.ReadDir("/proc/" + strconv.Itoa(b.state(disk.Running).Supervisor) + "/task")
	n = len(strings.Fields(string(text)))
	for _, task := range tasks {
		if task.Name() != strconv.Itoa(b.state(disk.Running).Supervisor) {
			text, _ := os.ReadFile("/proc/" + strconv.Itoa(b.state(disk.Running).Supervisor) + "/task/" + task.Name() + "/children")
			n += len(strings.Fields(string(text)))
		}
	}
	return n
}

func TestADetachedExecOutlivesItsClient(t *testing.T) {
	b := newBox(t, disk.Config{}, "signals")
	s := b.start(StartOptions{})
	b.got.has("ready")
	e, err := Exec(b.Container, control.Exec{Args: []string{"/bin/box", "write", "/tmp/f"}, Detach: true}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.conn.Close()
	tree, err := OpenTree(b.Container, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	size := func() int {
		var n counter
		_ = tree.Pack(&n, "/tmp/f", "f", false)
		return int(n)
	}
	for end, first := time.Now().Add(time.Minute), size(); size() <= first+512; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not go on")
		}
	}
	if err := s.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, s, 7)
}

// counter counts the bytes that are written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func TestAllWhoWaitLearnTheStatus(t *testing.T) {
	b := newBox(t, disk.Config{}, "signals")
	s := b.start(StartOptions{})
	b.got.has("ready")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if status, err := Wait(b.Container); status != 7 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	for range 5 {
		out := newOutput(t)
		a, err := Attach(b.Container, out.w, out.w)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { ends(t, a, 7) })
	}
	time.Sleep(50 * time.Millisecond)
	if err := s.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	ends(t, s, 7)
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	for _, e := range []struct {
		cfg  disk.Config
		args string
		code int
		word string
	}{
		{disk.Config{Entrypoint: []string{"/nosuch"}}, "x", 127, "nosuch"},
		{disk.Config{Entrypoint: []string{"/bin/text"}}, "x", 126, "permission"},
		{disk.Config{User: "nobody-here"}, "exit", 125, "nobody-here"},
		{disk.Config{Dir: "/etc/menu"}, "exit", 126, "working directory"},
		{disk.Config{Volumes: []disk.Volume{{Source: "/nosuch-source", Target: "/v"}}}, "exit", 125, "nosuch-source"},
		{disk.Config{Rights: disk.Rights{Rlimits: []ns.Rlimit{{Name: "nofile", Soft: 1 << 40, Hard: 1 << 40}}}}, "exit", 125, "nofile"},
	} {
		b := newBox(t, e.cfg, e.args)
		s, err := Start(b.Container, nil, b.lock, b.m, StartOptions{Stdout: b.got.w, Stderr: b.got.w})
		if err == nil {
			t.Errorf("%+v: it runs", e.cfg)
			_, _ = s.Wait()
			continue
		}
		if errs.CodeOf(err, 0) != e.code || !strings.Contains(strings.ToLower(err.Error()), e.word) {
			t.Errorf("%+v: %v, exit status %d; want %d", e.cfg, err, errs.CodeOf(err, 0), e.code)
		}
		b.lock.Close()
		if b.Locked() {
			t.Errorf("%+v: its supervisor has not gone", e.cfg)
		}
	}
}

// TestAFirstRunThatFailsIsNotRepeated: the keeper would find the state of a container that has run,
// and goes without a look.
func TestAFirstRunThatFailsIsNotRepeated(t *testing.T) {
	b := newBox(t, disk.Config{Entrypoint: []string{"/nosuch"}, Restart: disk.Restart{Policy: disk.RestartAlways}}, "x")
	if _, err := Start(b.Container, nil, b.lock, b.m, StartOptions{}); errs.CodeOf(err, 0) != 127 || b.Kept(nil) {
		t.Errorf("%v, and somebody starts it again: %v", err, b.Kept(nil))
	}
	b.lock.Close()
	lock, err := b.LockWithin(time.Minute)
	if err != nil {
		t.Fatalf("the keeper has not gone: %v", err)
	}
	lock.Close()
	if s, err := b.ReadState(); err != nil || s.Restarts > 0 {
		t.Errorf("it was started %d times more, %v", s.Restarts, err)
	}
}

// TestALaunchThatIsNotNeededGoes, and so does one whose client changes its mind too late.
func TestALaunchThatIsNotNeededGoes(t *testing.T) {
	newBox(t, disk.Config{}, "exit") // or it is skipped
	l := NewLaunch(root, nil, nil).MapIDs(true)
	l.Cancel()
	if l.err != nil {
		t.Error(l.err)
	}
	begun := time.Now()
	broken := errors.New("enough")
	b := newBox(t, disk.Config{}, "sleep")
	steps := 0
	_, err := Start(b.Container, nil, b.lock, b.m, StartOptions{Stdout: b.got.w, Stderr: b.got.w, Explain: func(spec *ns.Spec, r ns.Report, _ *Pause) error {
		if steps++; spec == nil || r.Step == "" {
			t.Errorf("%+v", r)
		}
		if r.Step == "hostname" {
			return broken
		}
		return nil
	}})
	if !errors.Is(err, broken) || steps < 3 || time.Since(begun) > time.Minute {
		t.Errorf("%v after %d steps", err, steps)
	}
	b.lock.Close()
	if b.Locked() {
		t.Error("a start that was given up goes on")
	}
}
