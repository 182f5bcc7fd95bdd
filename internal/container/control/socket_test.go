package control

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTheSocketIsItsOwnersAlone, whatever the umask is.
func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fi, err := os.Stat(filepath.Join(dir, "control"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// TestAnotherUserIsTurnedAway who gets as far as to connect: here root, which no mode keeps away,
// becomes somebody else only after the socket has been opened to all.
func TestAnotherUserIsTurnedAway(t *testing.T) {
	if dir := os.Getenv("TIFFIN_TEST_DIAL"); dir != "" {
		d, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Dial(d)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Call(&Message{Op: OpCounts})
		t.Fatalf("answered: %v", err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir, err := os.MkdirTemp("/var/tmp", "tiffin-control-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"", "control"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan bool, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
			served <- true
		}
	}()
	exe := filepath.Join(dir, "dial")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(exe, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestAnotherUserIsTurnedAway$")
	cmd.Env, cmd.Dir = append(os.Environ(), "TIFFIN_TEST_DIAL="+dir), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	out, _ := cmd.CombinedOutput()
	if !strings.Contains(string(out), "belongs to another user") {
		t.Errorf("it was told: %s", out)
	}
	select {
	case <-served:
		t.Error("it was served")
	default:
	}
}
