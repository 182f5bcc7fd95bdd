// TCP: a connection of a container ends here, and another begins here that goes to where the
// container wanted to. What happens to the one happens to the other, in its order: accepted,
// refused, no answer, end of one direction, reset.

package stack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"tiffin/internal/network"
)

// maxConnecting is how many connections may be without an answer at a time. The container repeats
// what is beyond that, as for a server whose queue is full: listen(2).
const maxConnecting = 4096

type tcpForwarder struct {
	network *Network
	forward *tcp.Forwarder

	mu   sync.Mutex
	asks map[stack.TransportEndpointID][]byte // the packet that began it, for refuse
	open int                                  // connections
	size int                                  // of a new connection's buffers, as set
}

func newTCP(n *Network) *tcpForwarder {
	f := &tcpForwarder{network: n, asks: map[stack.TransportEndpointID][]byte{}}
	f.forward = tcp.NewForwarder(n.stack, 0, maxConnecting, f.connect)
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, f.handle)
	f.count(0)
	return f
}

// How much may wait in memory for readers, each way, in bytes: of all connections together, as far
// as bufferMin lets that be, and of one.
const (
	bufferAll = 16 << 20
	bufferMin = 32 << 10
	bufferMax = 4 << 20
)

// count knows of a connection more or less, and divides bufferAll by their number. What a
// connection has is not taken away, it only grows no further.
func (f *tcpForwarder) count(change int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open += change
	size := bufferMax
	for size > bufferMin && size*f.open > bufferAll {
		size /= 2
	}
	if size == f.size {
		return
	}
	f.size = size
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: min(size, 1<<20), Max: size}
	receive := tcpip.TCPReceiveBufferSizeRangeOption(send)
	for _, option := range []tcpip.SettableTransportProtocolOption{&send, &receive} {
		_ = f.network.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option) // fails for sizes that contradict each other
	}
}

// handle gets each packet that is of no connection yet.
func (f *tcpForwarder) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	ask := append(append([]byte(nil), pkt.NetworkHeader().Slice()...), pkt.TransportHeader().Slice()...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asks) < maxConnecting {
		if _, again := f.asks[id]; !again {
			f.asks[id] = ask
		}
	}
	if f.forward.HandlePacket(id, pkt) {
		return true
	}
	delete(f.asks, id)
	return false
}

// connect does outside what the container asks for, and then answers.
func (f *tcpForwarder) connect(r *tcp.ForwarderRequest) {
	id := r.ID()
	f.mu.Lock()
	ask := f.asks[id]
	f.mu.Unlock()
	dst := netip.AddrPortFrom(address(id.LocalAddress), id.LocalPort)
	if f.network.isResolver(dst) {
		if ep, wq := f.accept(r); ep != nil {
			f.network.dns.serveTCP(gonet.NewTCPConn(wq, ep), address(id.RemoteAddress))
		}
		return
	}
	member := address(id.RemoteAddress)
	e := network.Flow{Time: time.Now(), Protocol: network.TCP, To: dst}
	out, err := f.network.dialTCP(dst)
	if err != nil {
		e.Result = result(err)
		f.network.tell(member, e)
		u, ok := why(err)
		f.complete(r, ok && u == portUnreachable)
		if ok && u != portUnreachable {
			f.network.refuse(ask, u)
		}
		return
	}
	f.count(+1)
	defer f.count(-1)
	ep, wq := f.accept(r)
	if ep == nil { // the container does not want it any more
		reset(out)
		e.Result = network.Reset
		f.network.tell(member, e)
		return
	}
	e.Result = network.Open
	f.network.tell(member, e)
	c := &connection{inside: newStream(ep, wq), outside: out}
	c.run()
	e.Sent, e.Received, e.Result = c.sent, c.received, network.Closed
	if c.aborted.Load() {
		e.Result = network.Reset
	}
	f.network.tell(member, e)
}

// complete ends what a packet began, with a reset if the other side has refused.
func (f *tcpForwarder) complete(r *tcp.ForwarderRequest, refused bool) {
	f.mu.Lock()
	delete(f.asks, r.ID())
	f.mu.Unlock()
	r.Complete(refused)
}

// accept makes the connection with the container.
func (f *tcpForwarder) accept(r *tcp.ForwarderRequest) (tcpip.Endpoint, *waiter.Queue) {
	wq := new(waiter.Queue)
	ep, err := r.CreateEndpoint(wq)
	f.complete(r, false)
	if err != nil {
		return nil, nil
	}
	return ep, wq
}

// dialTCP connects to where a container wants to.
func (n *Network) dialTCP(to netip.AddrPort) (*net.TCPConn, error) {
	host, ok := n.host(to.Addr())
	if !ok {
		if to.Addr() == n.config.Network.Gateway4 || to.Addr() == n.config.Network.Gateway6 {
			return nil, unix.ECONNREFUSED // it is there, and serves nothing
		}
		return nil, unix.ENETUNREACH
	}
	// The kernel knows best how long to try: tcp(7), tcp_syn_retries.
	conn, err := (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}).
		DialContext(context.Background(), "tcp", netip.AddrPortFrom(host, to.Port()).String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// reset closes a connection as after an error: socket(7), SO_LINGER.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

// stream is the container's side of a connection.
type stream struct {
	ep       tcpip.Endpoint
	queue    *waiter.Queue
	in, out  waiter.Entry
	readable chan struct{}
	writable chan struct{}
}

func newStream(ep tcpip.Endpoint, queue *waiter.Queue) *stream {
	s := &stream{ep: ep, queue: queue}
	s.in, s.readable = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	s.out, s.writable = waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&s.in)
	queue.EventRegister(&s.out)
	return s
}

func (s *stream) close() {
	s.queue.EventUnregister(&s.in)
	s.queue.EventUnregister(&s.out)
	s.ep.Close()
}

// connection is both sides.
type connection struct {
	inside  *stream
	outside *net.TCPConn

	sent, received int64 // bytes from and to the container
	aborted        atomic.Bool
}

// run passes everything on until both directions have ended.
func (c *connection) run() {
	raw, err := c.outside.SyscallConn()
	if err != nil {
		c.abort()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.outward(raw); err != nil {
			c.abort()
		} else {
			_ = c.outside.CloseWrite()
		}
	}()
	if err := c.inward(raw); err != nil {
		c.abort()
	} else {
		c.inside.ep.Shutdown(tcpip.ShutdownWrite)
	}
	<-done
	c.outside.Close()
	c.inside.close()
}

// abort resets both sides: one of them was.
func (c *connection) abort() {
	c.aborted.Store(true)
	reset(c.outside)
	c.inside.ep.Abort()
}

var errReset = errors.New("the container has reset the connection")

// outward passes on what the container sends, nil when it has sent all.
//
// The stack writes to the socket while it holds the lock of its side, so that write must not wait:
// the container's packets would, too.
func (c *connection) outward(raw syscall.RawConn) error {
	w := new(sender)
	for {
		var ended tcpip.Error
		err := raw.Write(func(fd uintptr) bool {
			w.fd, w.err = int(fd), nil
			var r tcpip.ReadResult
			r, ended = c.inside.ep.Read(w, tcpip.ReadOptions{})
			c.sent += int64(r.Count)
			return w.err != unix.EAGAIN
		})
		switch {
		case err != nil:
			return err
		case w.err != nil:
			return w.err
		}
		switch ended.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-c.inside.readable
		case *tcpip.ErrClosedForReceive:
			return nil
		default:
			return errReset
		}
	}
}

// sender writes to a socket without waiting.
type sender struct {
	fd  int
	err error
}

func (w *sender) Write(b []byte) (n int, err error) {
	for n < len(b) && w.err == nil {
		var m int
		// MSG_NOSIGNAL: send(2).
		m, w.err = unix.SendmsgN(w.fd, b[n:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if w.err == unix.EINTR {
			w.err = nil
		}
		n += max(m, 0)
	}
	return n, w.err
}

// inward passes on what comes from outside, nil when that is all.
func (c *connection) inward(raw syscall.RawConn) error {
	r := new(receiver)
	for {
		var full tcpip.Error
		err := raw.Read(func(fd uintptr) bool {
			if r.err = r.look(int(fd)); r.err != nil || r.size == 0 {
				return r.err != unix.EAGAIN
			}
			var n int64
			n, full = c.inside.ep.Write(r, tcpip.WriteOptions{})
			c.received += n
			return true
		})
		switch {
		case err != nil:
			return err
		case r.err != nil:
			return r.err
		case r.size == 0:
			return nil
		}
		switch full.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-c.inside.writable
		default:
			return errReset
		}
	}
}

// receiver is what waits in a socket: tcpip.Payloader.
type receiver struct {
	fd   int
	size int // bytes, 0 = there will be no more
	err  error
}

// look asks how much that is: tcp(7), SIOCINQ. 0 may be the end, an error, or nothing yet.
func (r *receiver) look(fd int) (err error) {
	r.fd = fd
	if r.size, err = unix.IoctlGetInt(fd, unix.SIOCINQ); err != nil || r.size > 0 {
		return err
	}
	var one [1]byte
	r.size, _, err = unix.Recvfrom(fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil {
		r.size = 0
	}
	return err
}

func (r *receiver) Len() int { return r.size }

// Read reads what is there: not less than it was asked for, which is at most size.
func (r *receiver) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	for n == 0 {
		n, err = unix.Read(r.fd, b)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		r.err = err
	}
	return max(n, 0), err
}
