// The supervisor's side of the helper: it is started when somebody connects, and again if it is
// killed, and told when the container has ended.

package port

import (
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// Listeners are the listening sockets of a container. Close must be called, Serve may be.
type Listeners struct {
	all []listener

	mu      sync.Mutex    // guards what follows
	clients *os.File      // readable when there is one: an instance of epoll(7)
	conn    *wire.Conn    // to the helper
	stopped chan struct{} // closed: the helper does not listen any more, or it is gone
	follow  bool          // the helper is to tell of flows
	closed  bool
}

// Helper is a process that runs Main, as the supervisor has it.
type Helper struct {
	Conn *wire.Conn
	Wait func() // returns when it has ended
}

// pause is between a helper that could not be started, or be told, and the next.
const pause = time.Second

// Serve starts a helper whenever a client comes and there is none. It returns when Close was called
// and the helper has carried what was still on its way to clients. pass gets what the helper tells,
// and failed is told why there is none.
func (ls *Listeners) Serve(start func() (*Helper, error), pass func(*network.Flow), failed func(error)) {
	for ls.await() {
		h, err := start()
		if err == nil {
			if err = ls.hand(h.Conn); err == nil {
				ls.hear(h.Conn, pass)
			}
			h.Wait()
			ls.mu.Lock()
			ls.conn = nil
			ls.mu.Unlock()
			h.Conn.Close()
		}
		if err != nil {
			failed(err)
			time.Sleep(pause)
		}
	}
}

// hear passes on what a helper tells until it has ended.
func (ls *Listeners) hear(conn *wire.Conn, pass func(*network.Flow)) {
	stopped := ls.stopped
	defer func() {
		if stopped != nil {
			close(stopped)
		}
	}()
	for {
		m := new(message)
		if conn.Receive(m) != nil {
			return
		}
		switch {
		case m.Op == opStop && stopped != nil:
			close(stopped)
			stopped = nil
		case m.Op == opFlow && m.Flow != nil:
			pass(m.Flow)
		}
	}
}

// Follow has the helper tell of flows, or not any more.
func (ls *Listeners) Follow(on bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.follow = on; ls.conn != nil {
		_ = ls.conn.Send(&message{Op: opFollow, Follow: on})
	}
}

// await waits for a client; false: for nobody any more.
func (ls *Listeners) await() bool {
	ls.mu.Lock()
	if ls.clients == nil && !ls.closed {
		ls.clients = watch(ls.all)
	}
	clients, closed := ls.clients, ls.closed
	ls.mu.Unlock()
	if closed || clients == nil {
		return false
	}
	raw, err := clients.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			var events [1]unix.EpollEvent
			n, err := unix.EpollWait(int(fd), events[:], 0)
			return err != nil && err != unix.EINTR || n > 0
		})
	}
	return err == nil
}

// watch makes one descriptor of all: an instance of epoll(7) can be waited for like a file.
func watch(all []listener) *os.File {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	for _, l := range all {
		if err == nil {
			n := int(l.file.Fd())
			err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, n, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(n)})
		}
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that Go's poller has it
	}
	if err != nil {
		unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), "clients")
}

// Operations of the connection to the helper.
const (
	opListen = "listen" // listening sockets come along, and more follow
	opServe  = "serve"  // those were all: Follow
	opFollow = "follow" // tell of flows, or not any more: Follow
	opFlow   = "flow"   // from the helper: Flow
	opStop   = "stop"   // let nobody in any more, and end when nothing is on its way; the answer is opStop
)

type message struct {
	Op       string         `json:"op"`
	NumFiles int            `json:"files,omitempty"`
	Ports    []network.Port `json:"ports,omitempty"` // of the files
	Follow   bool           `json:"follow,omitempty"`
	Flow     *network.Flow  `json:"flow,omitempty"`
	files    []*os.File
}

func (m *message) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.files }

// perMessage is how many descriptors go with one line: package wire takes 16 that are not used yet.
const perMessage = 8

// patience is how long a helper may take to listen to its supervisor.
const patience = 10 * time.Second

// hand gives a helper the sockets.
func (ls *Listeners) hand(conn *wire.Conn) (err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return conn.Close() // and so it ends
	}
	conn.SetWriteDeadline(time.Now().Add(patience))
	for some := range slices.Chunk(ls.all, perMessage) {
		m := &message{Op: opListen}
		for _, l := range some {
			m.Ports, m.files = append(m.Ports, l.Port), append(m.files, l.file)
		}
		if err == nil {
			err = conn.Send(m)
		}
	}
	if err == nil {
		err = conn.Send(&message{Op: opServe, Follow: ls.follow})
	}
	if err != nil {
		conn.Close()
		return err
	}
	conn.SetWriteDeadline(time.Time{})
	ls.conn, ls.stopped = conn, make(chan struct{})
	return nil
}

// Close lets nobody in any more; the ports are free when it returns. What was said before is still
// carried: Serve returns then.
func (ls *Listeners) Close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return
	}
	ls.closed = true
	for _, l := range ls.all {
		l.file.Close()
	}
	if ls.clients != nil {
		ls.clients.Close()
	}
	if ls.conn != nil { // it has copies
		ls.conn.SetWriteDeadline(time.Now().Add(patience))
		if ls.conn.Send(&message{Op: opStop}) == nil {
			select {
			case <-ls.stopped:
			case <-time.After(patience):
			}
		}
	}
}
