package client

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
)

// create makes a container that is complete, and its lock, which is held.
func create(t *testing.T) (*disk.Container, *os.File) {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, lock, err := disk.In(root).Create(disk.Config{Name: "box"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Commission(nil); err != nil {
		t.Fatal(err)
	}
	return c, lock
}

// TestWaitTellsThatASupervisorWasKilled plays one that is being killed: its connections are
// gone and its lock is still held for a moment.
func TestWaitTellsThatASupervisorWasKilled(t *testing.T) {
	c, lock := create(t)
	if err := c.WriteState(disk.State{Status: disk.Running}); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
			time.AfterFunc(50*time.Millisecond, func() { lock.Close() })
		}
	}()
	if status, err := Wait(c); status != 137 || err != nil {
		t.Errorf("status %d, %v; want 137", status, err)
	}
}
