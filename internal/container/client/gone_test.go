// What clients say of a supervisor that was killed.

package client

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
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

// TestASupervisorThatIsKilledWhileItUnpacks: the client says what it was at, what became of it, and
// what to do; and that does it.
func TestASupervisorThatIsKilledWhileItUnpacks(t *testing.T) {
	var b *box
	try := func(begun func(l *Launch)) (*Session, error) {
		l := NewLaunch(root, nil, nil).MapIDs(true)
		return Start(b.Container, l, b.lock, b.m, StartOptions{Stdout: b.got.w, Stderr: b.got.w, Unpacking: func(done, all int64) {
			if done == 0 && all > 0 {
				begun(l)
			}
		}})
	}
	var err error
	for range 10 { // it may be done before the signal comes
		b = newBox(t, disk.Config{Driver: disk.DriverCopy}, "say", "rice")
		var s *Session
		if s, err = try(func(l *Launch) { _ = unix.Kill(l.proc.Pid, unix.SIGKILL) }); err != nil {
			break
		}
		_, _ = s.Wait()
	}
	if err == nil || errs.CodeOf(err, 0) != 125 || !strings.HasSuffix(err.Error(), "its supervisor was killed by SIGKILL while it unpacked the image") ||
		!strings.HasPrefix(errs.HintOf(err), "start it again: the image is unpacked anew; ") {
		t.Fatalf("%v, hint %q", err, errs.HintOf(err))
	}
	again := false
	s, err := try(func(*Launch) { again = true })
	if err != nil || !again {
		t.Fatalf("the second start: %v, unpacked: %v", err, again)
	}
	ends(t, s, 0)
}

// TestStopAsksAgainWhoHasHungUp: between two runs of a container that is started again and again,
// whoever answers for it changes.
func TestStopAsksAgainWhoHasHungUp(t *testing.T) {
	c, lock := create(t)
	defer lock.Close()
	if err := c.WriteState(disk.State{Status: disk.Restarting}); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answered := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
			conn, err = l.Accept()
		}
		if err == nil {
			_, err = conn.Receive()
			err = errors.Join(err, c.WriteState(disk.State{Status: disk.Exited}), conn.Send(&control.Message{Op: control.AnsExit}))
			conn.Close()
		}
		answered <- err
	}()
	if err := Stop(c, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := c.State(); err != nil || s.Status != disk.Exited {
		t.Fatalf("after stop it is %v, %v", s.Status, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
