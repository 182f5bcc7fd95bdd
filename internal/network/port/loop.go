// The loop that each thread of the helper is in: wait until some descriptor is worth a try, try.

package port

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
)

// loop has some of the connections: all that it accepted. Only its own thread uses it.
type loop struct {
	*forwarder
	epoll     int
	byFD      []waiter // what waits for each descriptor
	buf       []byte   // for what is read and written at once
	pipes     []*pipe  // that nobody uses
	again     []*pair  // that had more to carry when it was others' turn
	listening []*door
	flows     flows
	shut      bool    // there were no descriptors left for clients: see rest
	waiting   []*pair // that need one for a server
	bell      int     // an eventfd(2): whoever writes to it ends listening
}

// forwarder is what the loops share.
type forwarder struct {
	sources sources
	open    atomic.Int64  // connections
	stopped chan struct{} // a loop has let go of the listening sockets

	follower follower
}

// waiter is told when its descriptor is ready for something: events of epoll_ctl(2). It may be told
// too often.
type waiter interface{ ready(events uint32) }

// Sizes in bytes.
const (
	small = 16 << 10  // up to this a copy costs less than two calls of splice(2)
	large = 256 << 10 // what a pipe holds, in pages
	most  = 64 << 10  // a datagram of UDP
)

// turn is how many pieces a connection may move before the others have a turn.
const turn = 16

// door is a listening socket.
type door struct {
	*loop
	fd   int
	port network.Port
}

// newLoop makes a loop with all listening sockets of TCP, which the loops share, and with those of
// UDP if it is the first one.
func newLoop(f *forwarder, files []*os.File, ports []network.Port, first bool) (*loop, error) {
	l := &loop{forwarder: f, buf: make([]byte, most)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	for i, file := range files {
		d := &door{l, -1, ports[i]}
		if ports[i].Protocol == network.UDP {
			if !first {
				continue
			}
			l.flows.doors = append(l.flows.doors, d)
		}
		// A number of its own in each loop: each closes what it has.
		if d.fd, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		l.listening = append(l.listening, d)
		if err := d.listen(); err != nil {
			return nil, err
		}
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return l, l.wait(l.bell, unix.EPOLLIN|unix.EPOLLET, rung{l})
}

// rung waits for the bell.
type rung struct{ *loop }

func (r rung) ready(uint32) { r.stopListening() }

// stop ends listening, from another thread.
func (l *loop) stop() { _, _ = unix.Write(l.bell, []byte{7: 1}) }

// listen waits for clients: level-triggered, so that what is left over is reported again.
// EPOLLEXCLUSIVE, epoll_ctl(2): not all loops wake up for one.
func (d *door) listen() error {
	if d.port.Protocol == network.UDP {
		return d.wait(d.fd, unix.EPOLLIN, &datagrams{d})
	}
	return d.wait(d.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, d)
}

// wait tells w when there are events on fd.
func (l *loop) wait(fd int, events uint32, w waiter) error {
	for len(l.byFD) <= fd {
		l.byFD = append(l.byFD, make([]waiter, max(64, len(l.byFD)))...)
	}
	l.byFD[fd] = w
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// close closes a descriptor that wait was called for.
func (l *loop) close(fd int) {
	l.byFD[fd] = nil
	unix.Close(fd) // epoll(7), question 6: this takes it out of the set
}

// Times after which a loop looks around, in milliseconds.
const (
	look  = 1000 // for flows that are silent
	retry = 50   // for clients that there were no descriptors for
)

// run is the main function of a thread. It ends with the process.
func (l *loop) run() {
	events := make([]unix.EpollEvent, 256)
	swept := time.Now()
	for {
		n, err := l.await(events)
		if err != nil && err != unix.EINTR {
			return // its epoll is gone: never
		}
		for _, e := range events[:max(n, 0)] {
			if w := l.byFD[e.Fd]; w != nil {
				w.ready(e.Events)
			}
		}
		again := l.again
		l.again = nil
		for _, p := range again {
			p.carry()
		}
		if n == 0 && l.shut {
			l.rest(false)
		}
		if len(l.flows.all) > 0 && time.Since(swept) > time.Second {
			swept = time.Now()
			l.flows.sweep(l, swept)
		}
	}
}

// await waits for events.
func (l *loop) await(events []unix.EpollEvent) (int, error) {
	timeout := -1
	switch {
	case len(l.again) > 0:
		timeout = 0
	case l.shut:
		timeout = retry
	case len(l.flows.all) > 0:
		timeout = look
	}
	// While there is something to do, no thread goes to sleep, for its scheduler either.
	if n, err := poll(l.epoll, events); n > 0 || err != nil || timeout == 0 {
		return n, err
	}
	return unix.EpollWait(l.epoll, events, timeout)
}

// stopListening lets nobody in any more. What UDP brings has no end, so this is it.
func (l *loop) stopListening() {
	for _, d := range l.listening {
		// It is still open elsewhere, so that closing alone would not take it out of the set.
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, d.fd, nil)
		l.close(d.fd)
	}
	l.listening = nil
	for _, f := range l.flows.all {
		l.flows.drop(l, f)
	}
	l.stopped <- struct{}{}
}

// scarce tells whether somebody must end before somebody else can begin.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// rest stops accepting for a while, when there are too many open files, or goes on with it.
func (l *loop) rest(shut bool) {
	if l.shut == shut {
		return
	}
	l.shut = shut
	for _, d := range l.listening {
		if d.port.Protocol != network.TCP {
			continue
		}
		if shut {
			_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, d.fd, nil)
		} else {
			_ = d.listen()
		}
	}
	if !shut {
		waiting := l.waiting
		l.waiting = nil
		for _, p := range waiting {
			p.connect()
		}
	}
}

// ready accepts clients.
func (d *door) ready(uint32) {
	for range 64 {
		fd, client, err := unix.Accept4(d.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case scarce(err):
			d.rest(true)
			return
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINVAL):
			return
		case err != nil:
			continue // of this one client; accept(2), "Error handling"
		}
		d.loop.accept(fd, addrPort(client), d.port.Container)
	}
}

// servers are where a server may listen, in the order in which they are tried: loopback of the
// client's version of IP first.
func servers(client netip.Addr, port uint16) []netip.AddrPort {
	both := []netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port),
		netip.AddrPortFrom(netip.IPv6Loopback(), port),
	}
	if client.Is6() {
		slices.Reverse(both)
	}
	return both
}
