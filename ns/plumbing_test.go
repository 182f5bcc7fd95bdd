package ns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tiffin/internal/test/must"

	"golang.org/x/sys/unix"
)

// testPlumbing is the program under test: "unshare" or "enter PID", then letters of unshare(1),
// then a command.
func testPlumbing(args []string) int {
	render := func(err error) string { return "error: " + err.Error() + "\n" }
	var err error
	if args[0] == "enter" {
		pid, _ := strconv.Atoi(args[1])
		err = (&Enter{PID: pid, Flags: letterFlags(args[2]), Args: args[3:], Render: render}).Run()
	} else {
		err = (&Unshare{
			Flags: letterFlags(args[1]), MapRoot: strings.Contains(args[1], "r"), Fork: strings.Contains(args[1], "f"),
			MountProc: strings.Contains(args[1], "P"), Propagation: unix.MS_PRIVATE, Args: args[2:], Render: render,
		}).Run()
	}
	fmt.Fprintln(os.Stderr, err)
	return 125
}

func letterFlags(letters string) (flags uintptr) {
	for i, l := range "UmpnuiC" {
		if strings.ContainsRune(letters, l) {
			flags |= namespaceFiles[i].flag
		}
	}
	return flags
}

// byHand runs it as the sandbox's person and returns what the command printed, and the exit status.
func (s *sandbox) byHand(args ...string) (string, int) {
	return output(s.plumbing(args...))
}

func (s *sandbox) plumbing(args ...string) *exec.Cmd {
	cmd := exec.Command(testBinary(s.t), append([]string{"test-plumbing"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir, cmd.SysProcAttr = "/", as(s.who)
	return cmd
}

func as(who person) *syscall.SysProcAttr {
	if int(who.uid) == os.Getuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.uid, Gid: who.gid}}
}

func output(cmd *exec.Cmd) (string, int) {
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	} else if err != nil {
		return err.Error(), -1
	}
	return string(out), 0
}

// TestUnshareIsLikeThatOfUtilLinux compares what a command sees of itself.
func TestUnshareIsLikeThatOfUtilLinux(t *testing.T) {
	must.Tool(t, "unshare")
	const look = `id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep -E '^(Cap|Sig[BIC]|Threads|NSpid|NoNew)' /proc/self/status; ulimit -n; ulimit -Hn
		grep -c shared: /proc/self/mountinfo; for n in user mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done; [ $0 = --mount-proc ] && ls -d /proc/[0-9]*; exit 7`
	each(t, func(t *testing.T, s *sandbox) {
		for _, flags := range [][]string{{"U"}, {"Ur"}, {"Urf"}, {"Urpf"}, {"Urp"}, {"Urm"}, {"Urmpf", "--mount-proc"}, {"UrmpfnuiC", "--mount-proc"}} {
			ours := flags[0]
			if len(flags) > 1 {
				ours += "P"
			}
			theirs := exec.Command("unshare", slices.Concat([]string{"-" + flags[0]}, flags[1:], []string{"sh", "-c", look, flags[len(flags)-1]})...)
			theirs.Dir, theirs.SysProcAttr, theirs.Env = "/", as(s.who), []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
			wantOut, wantStatus := output(theirs)
			got, status := s.byHand("unshare", ours, "sh", "-c", look, flags[len(flags)-1])
			// The numbers of processes and namespaces differ from run to run; whether they are
			// new does not.
			strip := func(out string) string {
				var keep []string
				for line := range strings.Lines(out) {
					if f := strings.Fields(line); len(f) > 1 && f[0] == "NSpid:" {
						line = "NSpid: " + strings.Join(f[2:], " ") + "\n"
					}
					if kind, _, ok := strings.Cut(line, ":["); ok {
						line = fmt.Sprintf("%s namespace: new %v\n", kind, strings.TrimSpace(line) != readlink("/proc/self/ns/"+kind))
					}
					keep = append(keep, line)
				}
				return strings.Join(keep, "")
			}
			if strip(got) != strip(wantOut) || status != wantStatus {
				t.Errorf("-%s: exit status %d\n%s\nunshare(1): %d\n%s", ours, status, got, wantStatus, wantOut)
			}
		}
	})
}

func TestUnshareBecomesTheCommand(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for range 50 { // whatever the runtime's threads are doing
			cmd := s.plumbing("unshare", "Ur", "sh", "-c", "echo $$")
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			want(t, "number of the process", strings.TrimSpace(out.String()), fmt.Sprint(cmd.Process.Pid))
		}
	})
}

func TestWithoutForkThePidNamespaceEndsWithTheFirstChild(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		out, status := s.byHand("unshare", "Urp", "sh", "-c", "sh -c 'echo I am $$'; sh -c 'echo I am $$'")
		if !strings.HasPrefix(out, "I am 1\n") || strings.Count(out, "I am") != 1 || status == 0 {
			t.Errorf("%d: %s", status, out)
		}
	})
}

func TestPlumbingExitsLikeItsCommand(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, c := range []struct {
			letters, command string
			status           int
			says             string
		}{
			{"Ur", "exit 5", 5, ""},
			{"Urf", "exit 5", 5, ""},
			{"Urpf", "kill -9 $$", 0, ""}, // PID 1 cannot kill itself: pid_namespaces(7)
			{"Urf", "kill -9 $$", 137, ""},
			{"Uf", "nosuch", 127, ""},
			{"Urmf", "exit 3", 3, ""},
			{"UP", "true", 125, "error: mount /proc: operation not permitted"},
		} {
			out, status := s.byHand("unshare", c.letters, "sh", "-c", c.command)
			if status != c.status || !strings.Contains(out, c.says) {
				t.Errorf("-%s %s: %d, want %d: %s", c.letters, c.command, status, c.status, out)
			}
		}
		for command, want := range map[string]int{"nosuch": 127, "/etc/nosuch": 127, "/etc/passwd": 126, "/etc": 126} {
			if out, status := s.byHand("unshare", "Ur", command); status != want || !strings.HasPrefix(out, "error: exec: ") {
				t.Errorf("%s: %d, want %d: %s", command, status, want, out)
			}
		}
	})
}

// A directory of $PATH that one may not look into has no command in it: 127, as a shell says.
func TestHiddenDirectoriesInPathAreSkipped(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		hidden := s.path("hidden")
		s.mkdir("hidden")
		if err := os.Chmod(hidden, 0); err != nil {
			t.Fatal(err)
		}
		for command, want := range map[string]int{"true": 0, "nosuch": 127} {
			cmd := s.plumbing("unshare", "U", command)
			cmd.Env = []string{"PATH=" + hidden + ":/usr/bin:/bin"}
			if out, status := output(cmd); status != want {
				t.Errorf("%s: %d, want %d: %s", command, status, want, out)
			}
		}
	})
}

func TestEnterJoinsTheNamespacesOfAProcess(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		other := s.plumbing("unshare", "UrmpfuP", "sh", "-c", "echo $$; exec sleep 1000")
		r, err := other.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
		line := make([]byte, 8)
		if n, _ := r.Read(line); string(line[:n]) != "1\n" {
			t.Fatalf("%q", line[:n])
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", other.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		child, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		defer func() { _ = unix.Kill(child, unix.SIGKILL) }()
		pid := strconv.Itoa(child)

		for _, kind := range []string{"user", "mnt", "pid", "uts", "net"} {
			out, status := s.byHand("enter", pid, "", "readlink", "/proc/self/ns/"+kind)
			want(t, kind+" namespace", strings.TrimSpace(out), readlink("/proc/"+pid+"/ns/"+kind))
			want(t, "exit status", status, 0)
		}
		out, _ := s.byHand("enter", pid, "Uu", "readlink", "/proc/self/ns/mnt")
		want(t, "namespace not asked for", strings.TrimSpace(out), readlink("/proc/self/ns/mnt"))
		out, status := s.byHand("enter", pid, "", "sh", "-c", "id -u; ls -d /proc/1; kill -0 1 && exit 9")
		want(t, "root there", out, "0\n/proc/1\n")
		want(t, "exit status", status, 9)
		if out, status := s.byHand("enter", pid, "", "nosuch"); status != 127 {
			t.Errorf("%d: %s", status, out)
		}
		if out, status := s.byHand("enter", strconv.Itoa(os.Getpid()), "U", "true"); status != 125 || !strings.Contains(out, "already") && s.who.uid == 0 {
			t.Errorf("%d: %s", status, out)
		}
	})
}
