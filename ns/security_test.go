package ns

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountPointStaysInsideTheRoot(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		s.mkdir("outside")
		s.mkdir("vol")
		s.write("vol/file", "volume")
		// Absolute, relative with too many "..", through a chain, and to something that does not
		// exist.
		s.symlink(s.path("outside"), "root/abs")
		s.symlink("../../../../../../../../../.."+s.path("outside"), "root/rel")
		s.symlink("/abs", "root/chain")
		s.symlink("/", "root/slash")
		for _, target := range []string{"/abs", "/rel", "/chain", "/abs/sub", "/rel/../sub", "/slash/abs/x"} {
			j := s.job("cat", target+"/file")
			j.Spec.Mounts = []Mount{{Source: s.path("vol"), Target: target}}
			out := s.run(j)
			if out.Error == nil {
				want(t, target, out.Stdout, "volume")
			} else if !strings.Contains(out.Error.Message, "mount point") {
				t.Errorf("%s: %+v", target, out.Error)
			}
			if left, _ := os.ReadDir(s.path("outside")); len(left) > 0 {
				t.Errorf("%s: %s was made outside", target, left[0].Name())
			}
		}
		s.symlink("loop", "root/loop")
		j := s.job("true")
		j.Spec.Mounts = []Mount{{Source: s.path("vol"), Target: "/loop/x"}}
		s.fails(j)
	})
}

func TestSystemDirectoryThatIsALinkIsRefused(t *testing.T) {
	for _, dir := range []string{"proc", "dev", "sys"} {
		t.Run(dir, func(t *testing.T) {
			each(t, func(t *testing.T, s *sandbox) {
				s.symlink("/etc", "root/"+dir)
				e := s.fails(s.job("true"))
				if !strings.Contains(e.Message, "/"+dir+" is a symbolic link") || e.Hint == "" {
					t.Errorf("%+v", e)
				}
			})
		})
	}
}

func TestUserFilesThatAreTraps(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		passwd := s.path("root/etc/passwd")
		attempt := func(what, errorHas string) {
			t.Helper()
			j := s.job("true")
			j.Spec.Process.User = "secret"
			e := s.fails(j)
			if !strings.Contains(e.Message, errorHas) {
				t.Errorf("%s: %s", what, e.Message)
			}
		}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(os.Remove(passwd))
		check(unix.Mkfifo(passwd, 0o644))
		attempt("a fifo", "not a regular file")
		check(os.Remove(passwd))

		s.write("host-passwd", "secret:x:0:0::/:/bin/sh\n")
		s.symlink(s.path("host-passwd"), "root/etc/passwd")
		attempt("a link to the host", "unable to find user secret")
		check(os.Remove(passwd))

		s.symlink("/proc/self/fd/3", "root/etc/passwd")
		attempt("a magic link", "too many levels of symbolic links")
		check(os.Remove(passwd))

		s.symlink("/dev/zero", "root/etc/passwd")
		attempt("an endless device", "not a regular file")
		check(os.Remove(passwd))

		check(os.WriteFile(passwd, nil, 0o644))
		check(os.Truncate(passwd, 1<<40)) // a hole of a terabyte
		attempt("a huge file", "read the image's /etc/passwd")
		check(os.Remove(passwd))

		check(os.WriteFile(passwd, []byte(strings.Repeat("x:x:1:1::/:\n", 1<<20)), 0o644))
		attempt("a long file", "unable to find user secret")
		check(os.Remove(passwd))

		check(os.Mkdir(passwd, 0o755))
		attempt("a directory", "not a regular file")
	})
}

// The program that init and the exec helper run is this binary, and the user owns it: file
// permissions do not protect it. CVE-2019-5736.
func TestProgramCannotBeOverwrittenFromInside(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		// A copy, owned by whom the container runs as, and written to if the test finds a hole.
		binary := s.path("tiffin")
		data, err := os.ReadFile(testBinary(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(binary, data, 0o755); err != nil {
			t.Fatal(err)
		}
		s.own("tiffin")
		run := func(j *job, unsafe bool) *outcome {
			t.Helper()
			_ = os.Remove(s.path("root/tmp/ready"))
			// A copy of its own: while the supervisor runs the very file, writing fails anyway
			// (ETXTBSY).
			j.Victim, j.Unsafe = binary, unsafe
			return s.run(j)
		}
		intact := func() bool {
			now, err := os.ReadFile(binary)
			if err != nil || len(now) != len(data) || string(now[:64]) != string(data[:64]) {
				_ = os.WriteFile(binary, data, 0o755)
				return false
			}
			return true
		}
		// With --init, PID 1 is tiffin all the time. Nothing else in the container may write it.
		j := s.job("overwrite", "/proc/1/exe")
		j.Spec.Init = true
		out := run(j, false)
		if !intact() {
			t.Error("the program was overwritten through /proc/1/exe")
		}
		if strings.Contains(out.Stdout, "wrote") {
			t.Errorf("written: %s", out.Stdout)
		}
		// The classic: the container executes /proc/self/exe, by a script's first line, and so
		// gets hold of the program that called it.
		s.write("root/bin/trap", "#!/proc/self/exe\n")
		if err := os.Chmod(s.path("root/bin/trap"), 0o755); err != nil {
			t.Fatal(err)
		}
		j = s.job("watch-exe")
		trap := applet1()
		trap.Args = []string{"/bin/trap", "x"}
		j.Execs, j.Patient = []Process{applet1("wait-for", "/tmp/ready"), trap}, true
		out = run(j, false)
		if !intact() {
			t.Error("the program was overwritten through a descriptor")
		}
		if !strings.Contains(out.Stdout, "read-only file system") || strings.Contains(out.Stdout, "wrote") {
			t.Errorf("the attack was not made, or worked: %s", out.Stdout)
		}
		// The same attack against a program started by its name works: so the test can see.
		out = run(j, true)
		if intact() || !strings.Contains(out.Stdout, "wrote") {
			t.Errorf("the attack does not work even without the measure: %s", out.Stdout)
		}
	})
}

func TestProgramIsCopiedIfItsNameIsGone(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		binary := s.path("tiffin")
		data, err := os.ReadFile(testBinary(t))
		if err == nil {
			err = os.WriteFile(binary, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.binary = binary
		j := s.job("overwrite", "/proc/1/exe")
		j.Spec.Init, j.RemoveSelf = true, true
		out := s.run(j)
		if out.Error != nil || strings.Contains(out.Stdout, "wrote") {
			t.Errorf("%+v", out)
		}
	})
}

func TestNothingIsLeftMountedOrRunning(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		s.ok(s.job("true"))
		if strings.Contains(readAll("/proc/self/mountinfo"), s.dir) {
			t.Error("a mount is left on the host")
		}
		left, status := output(exec.Command("pgrep", "-f", filepath.Join(s.dir, "")))
		if status != 1 { // no process is it
			t.Errorf("processes are left, or pgrep(1) does not work: status %d: %s", status, left)
		}
	})
}
