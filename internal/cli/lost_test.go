package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// supervisorOf is the number of a running container's supervisor.
func (k *killer) supervisorOf(name string) int {
	k.t.Helper()
	pid, _ := strconv.Atoi(strings.TrimSpace(k.tiffin("inspect", "-f", "{{.State.SupervisorPid}}", name)))
	if pid < 2 {
		k.t.Fatalf("the supervisor of %s is %d", name, pid)
	}
	return pid
}

// try runs a command that may fail, and returns all it prints.
func (k *killer) try(args ...string) (string, error) {
	out, err := k.command(args...).CombinedOutput()
	return string(out), err
}

func TestAKilledSupervisorIsNoticed(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	k.tiffin("run", "-d", "--name", "idle", "tiffin/base", "sh", "-c", "[ -e /kept ] || echo kept > /kept; exec sleep 1000")
	wait := k.command("wait", "idle")
	var waited strings.Builder
	wait.Stdout = &waited
	if err := wait.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := k.try("exec", "idle", "cat", "/kept"); err == nil {
			break
		}
	}
	k.tiffin("commit", "idle", "saved") // writes out what the kernel has in memory
	if err := syscall.Kill(k.supervisorOf("idle"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := wait.Wait(); err != nil || waited.String() != "137\n" {
		t.Errorf("wait: %v, %q", err, waited.String())
	}
	if s := k.tiffin("ps", "-a", "--format", "{{.Status}}"); !strings.HasPrefix(s, "Exited (137)") {
		t.Errorf("ps says %s", s)
	}
	if out, err := k.try("exec", "idle", "true"); err == nil || !strings.Contains(out, "not running") {
		t.Errorf("exec: %s", out)
	}
	k.tiffin("start", "idle")
	if out := k.tiffin("exec", "idle", "cat", "/kept"); out != "kept\n" {
		t.Errorf("after a restart /kept is %q", out)
	}
	k.tiffin("rm", "-f", "idle")
}

func TestAHungSupervisorCanBeRemoved(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	k.tiffin("run", "-d", "--name", "hung", "tiffin/base", "sleep", "1000")
	if err := syscall.Kill(k.supervisorOf("hung"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	k.tiffin("rm", "-f", "hung")
}

// TestManyClientsOfOneContainer lets many clients use a container at once.
func TestManyClientsOfOneContainer(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	k.tiffin("run", "-d", "--name", "busy", "tiffin/base", "sleep", "1000")
	var cmds []*exec.Cmd
	for i := range 12 {
		args := []string{"exec", "busy", "sh", "-c", "echo x > /f" + strconv.Itoa(i) + "; cat /etc/passwd >/dev/null"}
		switch i % 4 {
		case 1:
			args = []string{"diff", "busy"}
		case 2:
			args = []string{"ps"}
		case 3:
			args = []string{"commit", "busy", "img" + strconv.Itoa(i)}
		}
		cmds = append(cmds, k.command(args...))
	}
	for _, c := range cmds {
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", strings.Join(c.Args[1:], " "), err)
		}
	}
	k.tiffin("rm", "-f", "busy")
	if ents, _ := filepath.Glob(filepath.Join(store, "containers", "*")); len(ents) != 0 {
		t.Errorf("left: %v", ents)
	}
}
