// One connection: a client's socket and one to the server, and the bytes between.

package port

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
)

// pair is a connection from a client to a server.
type pair struct {
	*loop
	client  netip.AddrPort
	began   time.Time
	port    uint16
	server  netip.AddrPort   // that is being tried, or has accepted
	servers []netip.AddrPort // still to be tried
	further bool             // they are those of elsewhere
	ends    [2]end           // the client, the server
	flows   [2]stream        // flows[i] goes from ends[i] to the other
	joined  bool             // the server has accepted
	broken  bool             // one end was reset, and so the other shall be
	queued  bool             // it is in loop.again
	over    bool
}

// end is a socket. The flags say what is worth a try: edge-triggered, epoll(7), they are set by
// events and cleared by EAGAIN.
type end struct {
	*pair
	fd                 int
	readable, writable bool
	hup                bool // there is an end of file, or an error, to be read
}

// stream is one direction. At most one of rest and pipe has anything.
type stream struct {
	rest  []byte // was read and could not be written
	pipe  *pipe  // nil if there is nothing in it
	held  int    // bytes in the pipe
	moved int64  // bytes that the destination has
	bulk  bool   // pieces are large: splice
	eof   bool   // the source has said its last
	ended bool   // and the destination knows it, or does not care
}

// pipe is the kernel's buffer between two calls of splice(2).
type pipe struct{ r, w int }

// accept makes a pair of a client that has come.
func (l *loop) accept(fd int, client netip.AddrPort, port uint16) {
	p := &pair{loop: l, client: client, began: time.Now(), port: port, servers: servers(client.Addr(), port)}
	p.ends[0] = end{pair: p, fd: fd, readable: true, writable: true}
	p.ends[1] = end{pair: p, fd: -1}
	l.open.Add(1)
	if p.watch(&p.ends[0]) != nil {
		p.broken = true
		p.finish()
		return
	}
	p.connect()
}

func (p *pair) watch(e *end) error {
	return p.wait(e.fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, e)
}

// connect tries the next server, until one can be waited for; the client is reset if there is none.
func (p *pair) connect() {
	for {
		if len(p.servers) == 0 && !p.further {
			p.further = true
			p.servers = elsewhere(p.port)
		}
		if len(p.servers) == 0 {
			p.broken = true
			p.finish()
			return
		}
		to := p.servers[0]
		p.server, p.servers = to, p.servers[1:]
		fd, err := p.sources.dial(to, p.client.Addr())
		if scarce(err) { // the client waits
			p.servers = append([]netip.AddrPort{to}, p.servers...)
			p.waiting = append(p.waiting, p)
			p.rest(true)
			return
		}
		if err != nil {
			continue
		}
		p.ends[1].fd = fd
		if p.watch(&p.ends[1]) == nil {
			return
		}
		p.loop.close(fd)
		p.ends[1].fd = -1
	}
}

// elsewhere are the address of the container's own name, and those that are not loopback, for
// servers that listen on nothing else.
func elsewhere(port uint16) []netip.AddrPort {
	all := []netip.AddrPort{netip.AddrPortFrom(network.OwnName, port)}
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLoopback() && !prefix.Addr().IsLinkLocalUnicast() {
			all = append(all, netip.AddrPortFrom(prefix.Addr().Unmap(), port))
		}
	}
	return all
}

// ready takes note of events, and carries what it can.
func (e *end) ready(events uint32) {
	p := e.pair
	if p.over {
		return
	}
	const failed = unix.EPOLLHUP | unix.EPOLLERR
	e.hup = e.hup || events&(failed|unix.EPOLLRDHUP) != 0
	e.readable = e.readable || e.hup || events&unix.EPOLLIN != 0
	e.writable = e.writable || events&(failed|unix.EPOLLOUT) != 0
	if e == &p.ends[1] && !p.joined {
		if events&(failed|unix.EPOLLOUT) == 0 {
			return
		}
		// connect(2), EINPROGRESS: writable is decided, and SO_ERROR says how.
		if errno, err := unix.GetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			p.loop.close(e.fd)
			*e = end{pair: p, fd: -1}
			p.connect()
			return
		}
		p.joined = true
		p.tell(network.Open)
	}
	p.carry()
}

// carry moves what can be moved, both ways.
func (p *pair) carry() {
	p.queued = false
	for i := range p.flows {
		if p.over || !p.joined {
			return
		}
		p.move(&p.flows[i], &p.ends[i], &p.ends[1-i])
	}
	if !p.over && p.flows[0].ended && p.flows[1].ended {
		p.finish()
	}
}

// move moves what can be moved one way, for a turn.
func (p *pair) move(f *stream, from, to *end) {
	for range turn {
		switch {
		case f.ended:
			return
		case f.rest != nil || f.pipe != nil:
			if !to.writable {
				return
			}
			f.write(to)
		case f.eof:
			// shutdown(2): the other direction goes on.
			_ = unix.Shutdown(to.fd, unix.SHUT_WR)
			f.ended = true
			return
		case !from.readable:
			return
		default:
			f.read(from, to)
			if p.over {
				return
			}
		}
	}
	if !p.queued {
		p.queued = true
		p.again = append(p.again, p)
	}
}

// read takes a piece from the source. A small one goes to the destination at once, if that takes
// it.
func (f *stream) read(from, to *end) {
	p := from.pair
	if f.bulk {
		f.pipe = p.lend() // nil: there are no descriptors left, and a copy needs none
	}
	var n int
	var err error
	if f.pipe != nil {
		n, err = splice(from.fd, f.pipe.w, large)
		f.held = max(n, 0)
	} else {
		n, err = read(from.fd, p.buf[:small])
	}
	f.bulk = n >= small
	// epoll(7), question 9: less than was asked for means that there is no more, unless it has
	// ended.
	from.readable = err == unix.EINTR || err == nil && (f.pipe != nil || n == small || from.hup)
	switch {
	case n > 0 && f.pipe == nil:
		f.rest = p.buf[:n]
		if to.writable {
			f.write(to)
		}
		f.rest = append([]byte(nil), f.rest...) // the buffer is for all; nil stays nil
		return
	case n == 0:
		f.eof = true
	case err != nil && err != unix.EAGAIN && err != unix.EINTR:
		p.broken = true // and has nothing more to read: what it was sent is lost, too
		p.finish()
	}
	if f.held == 0 {
		f.giveBack(p)
	}
}

// write hands the destination what was read before.
func (f *stream) write(to *end) {
	p := to.pair
	var n int
	var err error
	if f.pipe != nil {
		if n, err = splice(f.pipe.r, to.fd, f.held); n > 0 {
			f.held -= n
		}
	} else if n, err = write(to.fd, f.rest); n > 0 {
		f.rest = f.rest[n:]
	}
	f.moved += int64(max(n, 0))
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		// It was reset. What it said before can still be read, and ends in an error: finish.
		p.broken, f.ended = true, true
		f.held, f.rest = 0, nil
	}
	to.writable = err != unix.EAGAIN
	if f.held == 0 {
		f.giveBack(p)
	}
	if len(f.rest) == 0 {
		f.rest = nil
	}
}

// splice moves bytes between a socket and a pipe: splice(2).
func splice(from, to, most int) (int, error) {
	n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	return int(n), err
}

// lend takes a pipe that is empty; nil if there is none to be had.
func (l *loop) lend() *pipe {
	if n := len(l.pipes); n > 0 {
		p := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		return p
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	// If this user has too many large ones, it stays small: pipe(7), pipe-user-pages-soft.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, large)
	return &pipe{fds[0], fds[1]}
}

// spare is how many empty pipes a loop keeps.
const spare = 16

// giveBack is for a pipe that is not needed any more. One that has something in it is closed.
func (f *stream) giveBack(p *pair) {
	if f.pipe == nil {
		return
	}
	if f.held == 0 && !p.broken && len(p.pipes) < spare {
		p.pipes = append(p.pipes, f.pipe)
	} else {
		unix.Close(f.pipe.r)
		unix.Close(f.pipe.w)
	}
	f.pipe, f.held = nil, 0
}

// resetUnlessFinished makes the end of a socket a reset, however it comes about, or not any more:
// socket(7), SO_LINGER of 0 seconds. A helper that is killed must not look like the end of a file.
func resetUnlessFinished(fd int, reset bool) error {
	linger := unix.Linger{}
	if reset {
		linger.Onoff = 1
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
}

// tell tells of this connection, as the container sees it.
func (p *pair) tell(result string) {
	p.loop.tell(network.TCP, p.client, p.server, p.began, p.flows[1].moved, p.flows[0].moved, result)
}

// finish closes both ends, as a reset if one of them was.
func (p *pair) finish() {
	p.over = true
	for i := range p.ends {
		p.flows[i].giveBack(p)
		e := &p.ends[i]
		if e.fd < 0 {
			continue
		}
		if !p.broken {
			_ = resetUnlessFinished(e.fd, false)
		}
		p.loop.close(e.fd)
	}
	switch {
	case !p.broken:
		p.tell(network.Closed)
	case p.joined:
		p.tell(network.Reset)
	default:
		p.server = servers(p.client.Addr(), p.port)[0]
		p.tell(network.Refused)
	}
	p.open.Add(-1)
	if p.shut {
		p.rest(false)
	}
}
