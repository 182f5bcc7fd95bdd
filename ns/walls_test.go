package ns

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// each runs a test as everybody a container must work for.
func each(t *testing.T, f func(t *testing.T, s *sandbox)) {
	t.Helper()
	for _, who := range people(t) {
		t.Run(who.name, func(t *testing.T) { f(t, newSandbox(t, who)) })
	}
}

func (o *outcome) facts(t *testing.T) *facts {
	t.Helper()
	f := new(facts)
	if err := json.Unmarshal([]byte(o.Stdout), f); err != nil {
		t.Fatalf("%v: %s", err, o.Stdout)
	}
	return f
}

// want compares values of one type: as text, []string{"a b"} and []string{"a", "b"} are the same.
func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func TestCommandIsBehindEveryWall(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		out := s.ok(s.job("facts"))
		f := out.facts(t)
		want(t, "pid", f.Pid, 1)
		want(t, "session", f.Sid, 1)
		want(t, "processes", f.Processes, []string{"/proc/1"})
		for _, kind := range []string{"mnt", "pid", "net", "uts", "ipc", "cgroup", "user"} {
			if f.NS[kind] == readlink("/proc/self/ns/"+kind) {
				t.Errorf("the %s namespace is the host's", kind)
			}
		}
		const docker = "00000000a80425fb"
		want(t, "bounding set", f.Status["CapBnd"], docker)
		want(t, "permitted", f.Status["CapPrm"], docker)
		want(t, "effective", f.Status["CapEff"], docker)
		want(t, "inheritable", f.Status["CapInh"], "0000000000000000")
		want(t, "ambient", f.Status["CapAmb"], "0000000000000000")
		want(t, "no_new_privs", f.Status["NoNewPrivs"], "1")
		want(t, "filter", f.Status["Seccomp"], "2")
		want(t, "blocked signals", f.Status["SigBlk"], "0000000000000000")
		want(t, "ignored signals", f.Status["SigIgn"], "0000000000000000")
		want(t, "uid", f.Status["Uid"], "0 0 0 0")
		want(t, "gid", f.Status["Gid"], "0 0 0 0")
		want(t, "host name", f.Hostname, "box")
		want(t, "loopback", f.Lo, "lo is up")
		want(t, "interfaces", f.Interfaces, []string{"lo"})
		want(t, "umask", f.Umask, 0o022)
		want(t, "directory", f.Cwd, "/")
		want(t, "environment", f.Env, []string{"A=b", "HOME=/root", "PATH=/bin"})
		for p, w := range f.Writable {
			want(t, "writable "+p, w, p == "/dev/null")
		}
	})
}

func TestDevIsComplete(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		f := s.ok(s.job("facts")).facts(t)
		all := map[string]string{
			"null": "c 1:3", "zero": "c 1:5", "full": "c 1:7", "random": "c 1:8", "urandom": "c 1:9", "tty": "c 5:0",
			"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
			"ptmx": "pts/ptmx", "core": "/proc/kcore", "pts": "other", "shm": "other", "mqueue": "other",
		}
		for name, is := range all {
			want(t, "/dev/"+name, f.Dev[name], is)
		}
		for name := range f.Dev {
			if all[name] == "" {
				t.Errorf("/dev/%s is one too many", name)
			}
		}
	})
}

func TestNothingOfTheHostIsMounted(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		f := s.ok(s.job("facts")).facts(t)
		points := map[string]string{}
		for line := range strings.Lines(f.Mounts) {
			fields := strings.Fields(line)
			points[fields[4]] = fields[5]
			if strings.Contains(line, " shared:") || strings.Contains(line, " master:") {
				t.Errorf("mounts propagate: %s", line)
			}
		}
		for _, p := range []string{"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/sys"} {
			if !strings.Contains(points[p], "nosuid") {
				t.Errorf("%s is mounted %q, without nosuid", p, points[p])
			}
		}
		for p, opts := range points {
			inside := p == "/" || strings.HasPrefix(p, "/proc") || strings.HasPrefix(p, "/dev") || strings.HasPrefix(p, "/sys")
			if !inside {
				t.Errorf("%s is still mounted", p)
			}
			if strings.HasPrefix(p, "/sys") && !strings.HasPrefix(opts, "ro") {
				t.Errorf("%s is writable", p)
			}
		}
		for _, p := range defaultReadonly {
			if _, err := os.Stat(p); err == nil && !strings.HasPrefix(points[p], "ro") {
				t.Errorf("%s is mounted %q, not read-only", p, points[p])
			}
		}
		for _, p := range []string{"/proc/keys", "/proc/timer_list", "/sys/firmware"} {
			if _, err := os.Stat(p); err == nil && points[p] == "" {
				t.Errorf("%s is not covered", p)
			}
		}
	})
}

func TestNoDescriptorIsLeftOpen(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		f := s.ok(s.job("facts")).facts(t)
		for _, fd := range f.FDs {
			n, target, _ := strings.Cut(fd, " ")
			if n > "2" && !strings.HasPrefix(target, "anon_inode:[event") { // the applet's own poller
				t.Errorf("descriptor %s is open", fd)
			}
		}
	})
}

func TestExitStatusIsTheCommands(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, init := range []bool{false, true} {
			j := s.job("exit", "42")
			j.Spec.Init = init
			want(t, "exit 42", s.run(j).Status, 42)
		}
		j := s.job("suicide")
		j.Spec.Init = true
		want(t, "killed by signal 9", s.run(j).Status, 137)
		// PID 1 cannot kill itself: pid_namespaces(7). The supervisor can.
		j = s.job("sleep")
		j.Signal = 9
		want(t, "killed from outside", s.run(j).Status, 137)
	})
}

func TestCommandThatCannotBeExecuted(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		s.write("root/bin/plain", "no first line")
		s.write("root/bin/script", "#!/no/such/interpreter\n")
		if err := os.Chmod(s.path("root/bin/script"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			args []string
			code int
			msg  string
		}{
			{[]string{"nosuch"}, 127, `exec: "nosuch": executable file not found in $PATH`},
			{[]string{"/nosuch"}, 127, `exec: "/nosuch": no such file or directory`},
			{[]string{"plain"}, 126, `exec: "plain": permission denied`},
			{[]string{"/bin/plain"}, 126, `exec: "/bin/plain": permission denied`},
			{[]string{"/bin"}, 126, `exec: "/bin": permission denied`},
			{[]string{"script"}, 127, `exec: "script": no such file or directory`},
			{nil, 125, "no command specified"},
		} {
			for _, init := range []bool{false, true} {
				j := s.job()
				j.Spec.Process.Args, j.Spec.Init = c.args, init
				e := s.fails(j)
				want(t, fmt.Sprint(c.args, " exit status"), e.Code, c.code)
				want(t, fmt.Sprint(c.args, " message"), e.Message, c.msg)
			}
		}
	})
}

func TestSignalReachesTheCommand(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, init := range []bool{false, true} {
			j := s.job("trap")
			j.Signal, j.Spec.Init = 15, init
			j.Execs, j.Patient = []Process{applet1("wait-for", "/tmp/ready")}, true // which is when it has a handler
			_ = os.Remove(s.path("root/tmp/ready"))
			out := s.run(j)
			want(t, "status", out.Status, 7)
			want(t, "output", out.Stdout, "got terminated\n")
		}
	})
}

func TestInitReapsOrphans(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("orphans")
		j.Spec.Init = true
		out := s.ok(j)
		want(t, "output", out.Stdout, "parent is 1\nno zombies\n")
		f := s.ok(func() *job { j := s.job("facts"); j.Spec.Init = true; return j }()).facts(t)
		want(t, "processes", len(f.Processes), 2)
		want(t, "effective", f.Status["CapEff"], "00000000a80425fb")
	})
}

func TestInitIsNoMorePrivilegedThanTheCommand(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("cat-init")
		j.Spec.Init = true
		out := s.ok(j)
		for line := range strings.Lines(out.Stdout) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
			v = strings.TrimSpace(v)
			switch {
			case strings.HasPrefix(k, "CapEff"), strings.HasPrefix(k, "CapPrm"), strings.HasPrefix(k, "CapBnd"):
				want(t, "PID 1, each thread: "+k, v, "00000000a80425fb")
			case k == "NoNewPrivs":
				want(t, "PID 1: "+k, v, "1")
			case k == "Seccomp":
				want(t, "PID 1: "+k, v, "2")
			}
		}
		if !strings.Contains(out.Stdout, "CapEff") {
			t.Errorf("no status of PID 1: %s", out.Stdout)
		}
	})
}

func TestUserOfTheImage(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, c := range []struct{ user, uid, gid, groups, home string }{
			{"", "0", "0", "0", "/root"},
			{"root", "0", "0", "0", "/root"},
			{"user", "1000", "1000", "1000 1001", "/home/user"},
			{"1000", "1000", "1000", "1000 1001", "/home/user"},
			{"user:extra", "1000", "1001", "1001", "/home/user"},
			{"user:7", "1000", "7", "7", "/home/user"},
			{"1234", "1234", "0", "0", "/"},
		} {
			j := s.job("facts")
			j.Spec.Process.User = c.user
			if s.who.single && c.uid != "0" {
				e := s.fails(j)
				if !strings.Contains(e.Message, "user id "+c.uid+" is not mapped") || e.Hint == "" {
					t.Errorf("user %s: %+v", c.user, e)
				}
				continue
			}
			f := s.ok(j).facts(t)
			want(t, c.user+" uid", f.Status["Uid"], strings.Repeat(c.uid+" ", 3)+c.uid)
			want(t, c.user+" gid", f.Status["Gid"], strings.Repeat(c.gid+" ", 3)+c.gid)
			if !s.who.single {
				want(t, c.user+" groups", f.Status["Groups"], c.groups)
			}
			if !slices.Contains(f.Env, "HOME="+c.home) {
				t.Errorf("%s: HOME: %v", c.user, f.Env)
			}
			if c.uid != "0" {
				for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
					want(t, c.user+" "+set, f.Status[set], "0000000000000000")
				}
				want(t, "CapBnd", f.Status["CapBnd"], "00000000a80425fb")
			}
		}
		j := s.job("true")
		j.Spec.Process.User = "nobody"
		want(t, "message", s.fails(j).Message, "unable to find user nobody: no matching entries in passwd file")
		// A number that 32 bits do not hold would be 0 in them, and one that is a name in the image
		// is a number all the same.
		j.Spec.Process.User = "4294967296"
		want(t, "message", s.fails(j).Message, "unable to find user 4294967296: no matching entries in passwd file")
		s.write("root/etc/passwd", "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n")
		j = s.job("facts")
		if j.Spec.Process.User = "1000"; s.who.single {
			want(t, "message", strings.Contains(s.fails(j).Message, "user id 1000 is not mapped"), true)
		} else {
			want(t, "uid", s.ok(j).facts(t).Status["Uid"], "1000 1000 1000 1000")
		}
		j = s.job("true")
		j.Spec.Process.User = "root:nogroup"
		want(t, "message", s.fails(j).Message, "unable to find group nogroup: no matching entries in group file")
	})
}

func TestVolumes(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		s.mkdir("vol")
		s.write("vol/file", "from the host")
		s.write("one", "a single file")
		j := s.job("facts")
		j.Spec.Mounts = []Mount{
			{Source: s.path("vol"), Target: "/data/rw"},
			{Source: s.path("vol"), Target: "/data/ro", ReadOnly: true},
			{Source: s.path("one"), Target: "/etc/one"},
			{Target: "/scratch", Options: "size=1m,exec,mode=700"},
		}
		j.Spec.Process.Args = []string{"/bin/applet", "applet", "volumes"}
		out := s.ok(j)
		want(t, "output", out.Stdout, strings.Join([]string{
			"/data/rw/file: from the host", "/data/ro/file: from the host", "/etc/one: a single file",
			"write /data/rw/new: ok", "write /data/ro/new: read-only file system", "write /scratch/new: ok", ""}, "\n"))
		if text, err := os.ReadFile(s.path("vol/new")); err != nil || string(text) != "x" {
			t.Errorf("the host does not see what was written: %v", err)
		}
		for _, p := range []string{"/data/rw", "/data/ro", "/etc/one", "/scratch"} {
			if !slices.Contains(out.Created, p) {
				t.Errorf("%s is not told as created: %v", p, out.Created)
			}
		}
		j.Spec.Mounts = []Mount{{Source: s.path("nosuch"), Target: "/x"}}
		if e := s.fails(j); !strings.Contains(e.Message, "nosuch") || !strings.Contains(e.Message, "no such file") || e.Hint == "" {
			t.Errorf("missing source: %+v", e)
		}
	})
}

func TestFilesOverTheImages(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		s.write("root/etc/hosts", "the image's")
		j := s.job("cat", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
		j.Spec.Files = []File{{"/etc/hosts", "hosts\n"}, {"/etc/hostname", "box\n"}, {"/etc/resolv.conf", "nameserver\n"}}
		// As in many images: a link to what only a running system has.
		s.symlink("../run/systemd/resolve/stub-resolv.conf", "root/etc/resolv.conf")
		out := s.ok(j)
		want(t, "files", out.Stdout, "hosts\nbox\nnameserver\n")
		if text, _ := os.ReadFile(s.path("root/etc/hosts")); string(text) != "the image's" {
			t.Errorf("the image's file was changed: %q", text)
		}
	})
}

func TestReadOnlyRoot(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("write", "/tmp/x", "x")
		s.ok(j)
		j.Spec.ReadOnly = true
		out := s.run(j)
		want(t, "status", out.Status, 1)
		if !strings.Contains(out.Stdout, "read-only file system") {
			t.Error(out.Stdout)
		}
		j = s.job("write", "/tmp/x", "x")
		j.Spec.ReadOnly = true
		j.Spec.Mounts = []Mount{{Target: "/tmp"}}
		s.ok(j)
	})
}

func TestWorkingDirectoryIsMade(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("facts")
		j.Spec.Process.Cwd = "/new/dir"
		out := s.ok(j)
		want(t, "directory", out.facts(t).Cwd, "/new/dir")
		want(t, "created", slices.Contains(out.Created, "/new/dir"), true)
		s.write("root/file", "")
		j.Spec.Process.Cwd = "/file/x"
		if e := s.fails(j); e.Code != 126 || !strings.Contains(e.Message, "working directory /file/x") {
			t.Errorf("%+v", e)
		}
	})
}

func TestHostNetwork(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("facts")
		j.Spec.Network = "host"
		f := s.ok(j).facts(t)
		want(t, "network namespace", f.NS["net"], readlink("/proc/self/ns/net"))
		if fd, err := os.OpenFile(filepath.Join("/sys/kernel", "notes"), os.O_RDONLY, 0); err == nil {
			fd.Close()
		}
		for line := range strings.Lines(f.Mounts) {
			fields := strings.Fields(line)
			if strings.HasPrefix(fields[4], "/sys") && !strings.HasPrefix(fields[5], "ro") {
				t.Errorf("%s is writable", fields[4])
			}
		}
	})
}

func TestLimitsAndOOMScore(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("limits")
		adj := 500
		j.Spec.Process.Rlimits = []Rlimit{{"nofile", 200, 200}, {"core", 0, 0}}
		j.Spec.Process.OOMScoreAdj = &adj
		want(t, "limits", s.ok(j).Stdout, "nofile 200 200\ncore 0 0\noom 500\n")
	})
}

func TestExplainReportsEveryStep(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("true")
		j.Explain = true
		out := s.ok(j)
		next := 2 // the first is the client's
		for _, r := range out.Reports {
			st := Steps()[r.N-1]
			want(t, "name", r.Step, st.Name)
			if st.Where == "exec" {
				t.Errorf("%s is not for init", st.Name)
			}
			if r.N < next {
				t.Errorf("step %d %s out of order", r.N, r.Step)
			}
			next = r.N + 1
			if len(r.Calls) == 0 && r.Skipped == "" {
				t.Errorf("%s: no calls, and not skipped", r.Step)
			}
			t.Logf("%2d %-15s %v %s\n  %s\n  %q → %q", r.N, r.Step, r.Took, r.Skipped, strings.Join(r.Calls, "\n  "), r.Before, r.After)
		}
		want(t, "reports", len(out.Reports), len(Steps())-2)
	})
}

func TestStepsAreDocumented(t *testing.T) {
	spec := &Spec{}
	seen := map[string]bool{}
	for _, s := range Steps() {
		if s.Name == "" || s.Why == "" || s.Man == "" || len(s.Calls) == 0 || s.ByHand == nil || seen[s.Name] {
			t.Errorf("step %q lacks something, or is there twice", s.Name)
		}
		seen[s.Name] = true
		if s.ByHand != nil {
			_ = s.ByHand(spec)
		}
		if (s.Where == "client" || s.Where == "supervisor") != (s.run == nil) {
			t.Errorf("step %q: where is it run?", s.Name)
		}
	}
}

func TestSystemCallsAreFiltered(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		calls := []string{fmt.Sprint(unix.SYS_KEYCTL), fmt.Sprint(unix.SYS_IO_URING_SETUP), fmt.Sprint(unix.SYS_CLONE3), "1000"}
		for _, init := range []bool{false, true} {
			j := s.job(append([]string{"call"}, calls...)...)
			j.Spec.Init = init
			out := strings.Fields(s.ok(j).Stdout)
			want(t, "keyctl, io_uring_setup, clone3, one that does not exist",
				[]string{out[1], out[3], out[5], out[7]}, []string{"EPERM", "EPERM", "ENOSYS", "ENOSYS"})
		}
		j := s.job("facts")
		j.Spec.Process.NoSeccomp = true
		want(t, "left out", s.ok(j).facts(t).Status["Seccomp"], "0")
	})
}

func TestStepThatIsLeftOut(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		j := s.job("facts")
		j.Spec.Without = []string{"seccomp", "no-new-privs", "mask", "bounding-set", "capabilities", "hostname"}
		f := s.ok(j).facts(t)
		want(t, "filter", f.Status["Seccomp"], "0")
		want(t, "no_new_privs", f.Status["NoNewPrivs"], "0")
		if strings.Contains(f.Mounts, "/proc/keys") {
			t.Error("still masked")
		}
		if f.Status["CapEff"] == "00000000a80425fb" {
			t.Error("still without capabilities")
		}
	})
}
