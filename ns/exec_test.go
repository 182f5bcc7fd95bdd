package ns

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tiffin/internal/test/must"

	"golang.org/x/sys/unix"
)

func applet1(args ...string) Process {
	return Process{Args: append([]string{"/bin/applet", "applet"}, args...), Env: []string{"PATH=/bin"}}
}

// facts2 decodes the facts of PID 1 and of an exec, which print one after the other.
func facts2(t *testing.T, out *outcome) (list []facts) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(out.Stdout))
	for dec.More() {
		var f facts
		if err := dec.Decode(&f); err != nil {
			t.Fatalf("%v: %s", err, out.Stdout)
		}
		list = append(list, f)
	}
	return list
}

func TestExecJoinsEveryNamespace(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("facts-sleep")
		j.Execs = []Process{applet1("wait-for", "/tmp/ready"), applet1("facts")}
		out := s.run(j)
		for _, x := range out.Execs {
			if x.Error != nil || x.Status != 0 {
				t.Fatalf("%v\nthe container: %s%s", x, out.Stdout, out.Stderr)
			}
		}
		list := facts2(t, out)
		if len(list) != 2 {
			t.Fatalf("%d answers: %s", len(list), out.Stdout)
		}
		one, two := list[0], list[1]
		want(t, "namespaces", two.NS, one.NS)
		want(t, "mounts", two.Mounts, one.Mounts)
		for _, k := range []string{"CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups", "SigIgn", "SigBlk", "Umask"} {
			want(t, k, two.Status[k], one.Status[k])
		}
		want(t, "own session", two.Sid, two.Pid)
		want(t, "processes: PID 1 and itself", len(two.Processes), 2)
		wantOnlyStdio(t, two.FDs)
	})
}

// TestExecWhileTheCommandBecomesAnother: in that moment the container's process lives, though
// setns(2) says there is none.
func TestExecWhileTheCommandBecomesAnother(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("exec-again")
		j.Execs = []Process{applet1("wait-for", "/tmp/ready")}
		for range 40 {
			j.Execs = append(j.Execs, applet1("true"))
		}
		out := s.run(j)
		for i, x := range out.Execs {
			if x.Error != nil || x.Status != 0 {
				t.Fatalf("exec %d: %v\nthe container: %s%s", i, x, out.Stdout, out.Stderr)
			}
		}
	})
}

// wantOnlyStdio wants nothing open but 0, 1, 2, and what the Go program that tells has opened
// itself.
func wantOnlyStdio(t *testing.T, fds []string) {
	t.Helper()
	for _, fd := range fds {
		n, target, _ := strings.Cut(fd, " ")
		if n > "2" && !strings.HasPrefix(target, "anon_inode:[event") {
			t.Errorf("descriptor %s is open", fd)
		}
	}
}

// A shell, a terminal program or a CI runner may leave any number open. Go's ForkExec once put its
// pipe where the program's descriptor was.
func TestInheritedDescriptorsAreInNobodysWay(t *testing.T) {
	s := newSandbox(t, people(t)[0])
	for n := 4; n < 24; n++ {
		for _, s.open = range [][]int{{n}, {4, n}, {n, n + 1, n + 2}} {
			j := s.job("sleep")
			j.Execs = []Process{applet1("true"), applet1("facts")}
			out := s.run(j)
			for _, x := range out.Execs {
				if x.Error != nil || x.Status != 0 {
					t.Errorf("with %v open: %v", s.open, x)
				}
			}
			for _, f := range facts2(t, out) {
				wantOnlyStdio(t, f.FDs)
			}
		}
	}
}

func TestExecStatusUserAndDirectory(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("sleep")
		notThere := applet1("true")
		notThere.Args[0] = "nosuch"
		denied := applet1("true")
		denied.Args[0] = "/etc/passwd"
		noDir := applet1("true")
		noDir.Cwd = "/nosuch"
		inTmp := applet1("facts")
		inTmp.Cwd = "/tmp"
		user := applet1("facts")
		user.User = "user"
		j.Execs = []Process{applet1("exit", "3"), applet1("suicide"), notThere, denied, noDir, inTmp, user}
		out := s.run(j)
		want(t, "exit", out.Execs[0].Status, 3)
		want(t, "signal", out.Execs[1].Status, 137)
		for i, code := range map[int]int{2: 127, 3: 126, 4: 126} {
			if e := out.Execs[i].Error; e == nil || e.Code != code {
				t.Errorf("exec %d: %v, want %d", i, out.Execs[i], code)
			}
		}
		list := facts2(t, out)
		if len(list) == 0 {
			t.Fatalf("no answers: %v, %v, the container: %s", out.Execs[0], out.Execs[5], out.Stderr)
		}
		want(t, "directory", list[0].Cwd, "/tmp")
		if s.who.single {
			if e := out.Execs[6].Error; e == nil || !strings.Contains(e.Message, "not mapped") {
				t.Errorf("%v", out.Execs[6])
			}
			return
		}
		want(t, "user", list[1].Status["Uid"], "1000 1000 1000 1000")
		want(t, "effective", list[1].Status["CapEff"], "0000000000000000")
		want(t, "home", list[1].Env[0], "HOME=/home/user")
	})
}

func TestTerminalIsTheCommandsOwn(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, init := range []bool{false, true} {
			j := s.job("tty")
			j.Spec.Init = init
			j.Spec.Process.Terminal, j.Spec.Process.Rows, j.Spec.Process.Cols = true, 24, 81
			out := s.run(j)
			shown := strings.ReplaceAll(out.Console, "\r\n", "\n")
			want(t, fmt.Sprint("with init ", init), shown, "size 24x81\nstdin /dev/pts/0\nconsole true\nhello from /dev/tty\nforeground true\n")
			want(t, "status", out.Status, 0)
		}
		j := s.job("sleep")
		p := applet1("tty")
		p.Terminal, p.Rows, p.Cols = true, 10, 20
		j.Execs = []Process{p}
		x := s.run(j).Execs[0]
		if x.Error != nil || x.Status != 0 || !strings.Contains(x.Console, "hello from /dev/tty") || !strings.Contains(x.Console, "foreground true") {
			t.Errorf("exec: %v", x)
		}
	})
}

func TestControlCReachesTheForeground(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("sleep")
		j.Spec.Init = true // without, PID 1 ignores it
		j.Spec.Process.Terminal = true
		j.Input = "\x03"
		want(t, "status", s.run(j).Status, 130)
	})
}

func TestTerminalBelongsToTheUser(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		if s.who.single {
			return // there is no other user
		}
		j := s.job("tty")
		j.Spec.Process.Terminal, j.Spec.Process.User = true, "user"
		out := s.run(j)
		want(t, "status", out.Status, 0)
		j = s.job("open-stdout")
		j.OwnPipe = true
		j.Spec.Process.User = "user"
		want(t, "open /dev/stdout", s.ok(j).Stdout, "opened\n")
	})
}

// Kill -9 of the supervisor leaves nothing running, whatever the command did to its credentials.
func TestContainerDiesWithItsSupervisor(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, user := range []string{"", "user"} {
			if user != "" && s.who.single {
				continue
			}
			j := s.job("sleep")
			j.Hold = true
			j.Spec.Process.User = user
			cmd := s.client(j)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout = w
			cmd.ExtraFiles = []*os.File{w}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			line, err := bufio.NewReader(r).ReadString('\n')
			f := strings.Fields(line)
			if err != nil || len(f) != 4 {
				t.Fatalf("%v: %q", err, line)
			}
			pid, _ := strconv.Atoi(f[1])
			supervisor, _ := strconv.Atoi(f[3])
			if !alive(pid) || !alive(supervisor) {
				t.Fatalf("%d and %d should live", pid, supervisor)
			}
			if err := unix.Kill(supervisor, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(time.Minute)
			for alive(pid) && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
			}
			if alive(pid) {
				t.Errorf("PID 1 outlives its supervisor")
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			_ = cmd.Wait()
			r.Close()
		}
	})
}

func TestInitEndsIfNobodyServesTheRoot(t *testing.T) {
	// A root that is a FUSE mount whose server goes away before it answers: the error comes back.
	each(t, func(t *testing.T, s *sandbox) {
		if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err == nil {
			f.Close()
		} else {
			must.Skip(t, "fuse", "%v", err)
		}
		j := s.job("true")
		j.DeadFuse = true
		j.Spec.Root = Root{Target: s.path("target"), FUSE: &FUSEMount{
			Source: "test", Type: "fuse", Data: "fd=3,rootmode=40000,user_id=0,group_id=0"}}
		e := s.fails(j)
		if !strings.Contains(e.Message, "proc: ") || e.Hint == "" {
			t.Errorf("%+v", e)
		}
	})
}
