package fstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

// offences are clients that leave something behind, and what the harness has
// to say about it.
var offences = []struct {
	name string
	want string
	do   func(t *testing.T, m *Mount)
}{
	{"a process", "left behind: a process that the test started", func(t *testing.T, m *Mount) { exec.Command("sleep", "1000").Start() }},
	{"an open file", "", func(t *testing.T, m *Mount) { // seen by the client itself, which cannot unmount
		f, err := os.Create(filepath.Join(m.Dir, "x"))
		t.Log(f.Name(), err)
	}},
	{"a fifo in the upper directory", "is neither a regular file nor a directory", func(t *testing.T, m *Mount) { unix.Mkfifo(filepath.Join(m.Upper, "x"), 0o600) }},
	{"a senseless whiteout", "is a whiteout of a name", func(t *testing.T, m *Mount) { os.WriteFile(filepath.Join(m.Upper, ".wh.x"), nil, 0o600) }},
	{"an unreadable attribute", "not UID:GID:MODE", func(t *testing.T, m *Mount) {
		os.WriteFile(filepath.Join(m.Upper, "x"), nil, 0o600)
		unix.Setxattr(filepath.Join(m.Upper, "x"), "user.containers.override_stat", []byte("?"), 0)
	}},
	{"a failed test", "", func(t *testing.T, m *Mount) { t.Fail() }},
}

func TestWhatIsLeftBehindIsNoticed(t *testing.T) {
	for _, o := range offences {
		t.Run(o.name, func(t *testing.T) {
			if InClient() {
				o.do(t, client.mount)
				return
			}
			dir := scratch(t)
			s := &spec{Test: t.Name(), Args: testArgs(t), Dir: dir, Image: *Union(t),
				Upper: filepath.Join(dir, "disk", "upper"), Work: filepath.Join(dir, "disk", "work")}
			out, res := startAnchor(t, s, Options{Timeout: time.Minute})
			if res.Missing != "" {
				need(t, res.Missing, res.Why)
			}
			said := strings.Join(res.Errors, "\n")
			if o.want == "" && res.Exit == 0 || !strings.Contains(said, o.want) {
				t.Errorf("exit status %d, errors %q, wanted %q\n%s", res.Exit, said, o.want, out)
			}
		})
	}
}

func TestServersComeAndGo(t *testing.T) {
	Run(t, Options{}, func(t *testing.T, m *Mount) {
		file := filepath.Join(m.Dir, "file")
		check := func(want string) {
			t.Helper()
			if b, err := os.ReadFile(file); err != nil || string(b) != want {
				t.Errorf("the file has %q, %v, wanted %q", b, err, want)
			}
		}
		if err := os.WriteFile(file, []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		m.Remount(t)
		check("1")
		m.Kill(t)
		if _, err := os.Lstat(file); err == nil {
			t.Error("the file is there without a server")
		}
		m.EnableFaults()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		check("1")
		m.Fault(t, 1, unix.EIO)
		if err := os.Chmod(file, 0o600); err != unix.EIO && !strings.Contains(err.Error(), "input/output") {
			t.Errorf("chmod with a fault says %v", err)
		}
		if !m.Fault(t, 0, 0) {
			t.Error("the fault did not happen")
		}
	})
}

func TestTheServerDoesNotSeeTheMount(t *testing.T) {
	Run(t, Options{}, func(t *testing.T, m *Mount) {
		mine, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || !strings.Contains(string(mine), " "+m.Dir+" ") {
			t.Errorf("the client does not see the mount: %v", err)
		}
		anchors, err := os.ReadFile("/proc/" + parent() + "/mountinfo")
		if err != nil || strings.Contains(string(anchors), " "+m.Dir+" ") {
			t.Errorf("the anchor, in whose mount namespace the server is, sees the mount: %v", err)
		}
	})
}

func parent() string {
	to, _ := os.Readlink("/proc/self")
	b, _ := os.ReadFile("/proc/" + to + "/status")
	_, rest, _ := strings.Cut(string(b), "PPid:\t")
	pid, _, _ := strings.Cut(rest, "\n")
	return pid
}
