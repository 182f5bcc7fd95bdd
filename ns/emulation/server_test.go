package emulation

import (
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/wire"
)

// TestStuckCallsDoNotHoldUpOthers: when no thread of a helper comes back, those that it works on
// fail, and another helper answers the others.
func TestStuckCallsDoNotHoldUpOthers(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = 50 * time.Millisecond
	var helpers atomic.Int32
	a := newAnswerer(&Server{}, nil, func(*Message) (*wire.Conn, error) {
		ours, theirs, err := wire.Pair()
		if err != nil {
			return nil, err
		}
		conn, err := wire.Open(theirs)
		if err != nil {
			return nil, err
		}
		answers := helpers.Add(1) > 1 // the first one never does
		go func() {
			for {
				m := new(Message)
				if conn.Receive(m) != nil {
					conn.Close()
					return
				}
				if answers {
					_ = conn.Send(&Message{Call: m.Call, Inode: 5})
				}
			}
		}()
		return ours, nil
	})
	a.l = &listener{os.Stdin}
	const stuck, others = maxAtOnce, 20
	got := make(chan *Message, stuck+others)
	call := func(id uint64) { got <- a.ask(&notification{ID: id}, &Message{Op: opChown}) }
	for id := range uint64(stuck) {
		go call(id)
	}
	for waiting := 0; waiting < stuck; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		waiting = len(a.waiting)
		a.mu.Unlock()
	}
	for id := range uint64(others) {
		go call(1000 + id)
	}
	failed, answered := 0, 0
	for range stuck + others {
		select {
		case m := <-got:
			switch {
			case m.Errno == unix.ENOSYS:
				failed++
			case m.Inode == 5:
				answered++
			}
		case <-time.After(time.Minute):
			t.Fatalf("%d calls are answered, %d have failed, and others wait", answered, failed)
		}
	}
	if failed != stuck || answered != others || helpers.Load() != 2 {
		t.Errorf("%d calls failed, %d are answered, by %d helpers", failed, answered, helpers.Load())
	}
}
