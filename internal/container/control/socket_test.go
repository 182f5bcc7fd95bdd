package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tiffin/internal/test/reexec"
)

// TestTheSocketIsItsOwnersAlone, whatever the umask is.
func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.l.Close()
	fi, err := os.Stat(filepath.Join(dir, "control"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

func TestMain(m *testing.M) { os.Exit(reexec.Main(m, reexec.Parts{"dial": dial})) }

// dial asks the supervisor of the container in a directory, and prints what it is told.
func dial(args []string) int {
	d, err := os.Open(args[0])
	if err == nil {
		var c *Conn
		if c, err = Dial(d); err == nil {
			_, err = c.Call(&Message{Op: OpCounts})
		}
	}
	fmt.Println(err)
	return 0
}

// TestAnotherUserIsTurnedAway who gets as far as to connect: here root, which no mode keeps away,
// becomes another user only after the socket has been opened to all.
func TestAnotherUserIsTurnedAway(t *testing.T) {
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
	defer l.l.Close()
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
	cmd := reexec.Command("dial", dir)
	cmd.Dir = "/"
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
