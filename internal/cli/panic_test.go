package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAPanicInTheFileSystemEndsTheContainer injects a panic, with locks held, into each kind of
// request of a real container. The container must end at once and say why, with no process
// that waits for ever, and can then be removed.
func TestAPanicInTheFileSystemEndsTheContainer(t *testing.T) {
	store, host := terminalStore(t), t.TempDir()
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	k.tiffin("run", "--rm", "tiffin/base", "true") // a bare build has none
	t.Setenv("CGO_ENABLED", "0")                   // static: it runs in a container
	armed := filepath.Join(host, "armed")
	bare := filepath.Join(t.TempDir(), "tiffin")
	if out, err := exec.Command("go", "build", "-ldflags", "-X tiffin/fs.breakFile="+armed, "-o", bare, "tiffin").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	self := filepath.Join(t.TempDir(), "break-it")
	if out, err := exec.Command("go", "build", "-o", self, "./testdata/panic").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	requests, err := exec.Command(self).Output()
	if err != nil {
		t.Fatal(err)
	}
	whole := binary
	binary = bare
	defer func() { binary = whole }()
	for _, request := range strings.Fields(string(requests)) {
		t.Run(request, func(t *testing.T) {
			k := &killer{t: t, p: k.p, store: store}
			k.tiffin("run", "--network", "none", "--name", "box", "-v", host+":/host", "-v", self+":/break-it", "tiffin/base", "/break-it", request)
			begun := time.Now()
			cmd := exec.Command("timeout", "-s", "KILL", "120", bare, "start", "-a", "box")
			cmd.Env = k.command().Env
			out, _ := cmd.CombinedOutput()
			os.Remove(armed)
			want := "tiffin: container box has been ended: the file system has failed at " + request
			if s := string(out); cmd.ProcessState.ExitCode() != 125 || !strings.HasPrefix(s, want) || !strings.Contains(s, "asked for by a test") {
				t.Errorf("status %d after %v, and it says %s", cmd.ProcessState.ExitCode(), time.Since(begun), s)
			}
			var c []struct {
				State struct{ Status, Error string }
			}
			if err := json.Unmarshal([]byte(k.tiffin("inspect", "box")), &c); err != nil || c[0].State.Status != "exited" || !strings.Contains(c[0].State.Error, request) {
				t.Errorf("inspect: %v, %+v", err, c)
			}
			stack, err := os.ReadFile(filepath.Join(k.dirOf("box"), "panic"))
			if err != nil || !strings.Contains(string(stack), "breakIfAsked") {
				t.Errorf("the stack: %v\n%s", err, stack)
			}
			for end := time.Now().Add(time.Minute); len(supervisors(store)) > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Error("its supervisor is still there")
					break
				}
			}
			k.tiffin("rm", "-f", "box")
		})
	}
	t.Run("exec", func(t *testing.T) {
		k := &killer{t: t, p: k.p, store: store}
		k.tiffin("run", "-d", "--name", "box", "-v", host+":/host", "tiffin/base", "sh", "-c", "mkdir /d; echo > /d/a; exec sleep 1000")
		out, err := k.try("exec", "box", "sh", "-c", "while ! [ -e /d/a ]; do :; done; : > /host/armed; chmod 600 /d/a")
		os.Remove(armed)
		if err == nil || !strings.HasPrefix(out, "tiffin: container box has been ended: ") {
			t.Errorf("exec: %v, %s", err, out)
		}
		if out := k.tiffin("wait", "box"); out != "125\n" {
			t.Errorf("wait says %s", out)
		}
		k.tiffin("stop", "box")
		k.tiffin("rm", "-f", "box")
	})
}

// dirOf is the directory of a container.
func (k *killer) dirOf(name string) string {
	id := strings.TrimSpace(k.tiffin("ps", "-aq", "--no-trunc", "--filter", "name="+name))
	return filepath.Join(k.store, "containers", id)
}
