package container

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// TestWaitTellsThatASupervisorWasKilled plays one that is being killed: its connections are
// gone and its lock is still held for a moment.
func TestWaitTellsThatASupervisorWasKilled(t *testing.T) {
	c := create(t, newSet(t), "box")
	lock, err := acquire(c.path("lock"), os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.writeState(State{Status: Running}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := net.Listen("unix", socketPath(dir))
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
	defer l.Close()
	if status, err := c.Wait(); status != 137 || err != nil {
		t.Errorf("status %d, %v; want 137", status, err)
	}
}

// TestASupervisorThatHasHungUpIsGone whether it has done so before or after the question.
func TestASupervisorThatHasHungUpIsGone(t *testing.T) {
	mine, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	theirs.Close()
	if _, err := mine.call(&message{Op: opWait}); !errors.Is(err, errSupervisorGone) {
		t.Errorf("%v, want %v", err, errSupervisorGone)
	}
}
