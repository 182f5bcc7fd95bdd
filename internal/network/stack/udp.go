// UDP: a flow is the packets between one port of a container and one of a server. Each has a socket
// of its own, connected to that server, so that the kernel tells what came back for it, errors too.

package stack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"tiffin/internal/network"
)

// A flow without packets is forgotten after a time, which is longer when there were answers: as the
// kernel's connection tracking has it, nf_conntrack_udp_timeout and its neighbour in
// Documentation/networking/nf_conntrack-sysctl.rst.
const (
	unanswered = 30 * time.Second
	answered   = 120 * time.Second
)

// maxFlows is how many flows there may be; each takes a descriptor. Beyond it the one that was
// silent longest is forgotten.
const maxFlows = 4096

type udpForwarder struct {
	network *Network

	mu    sync.Mutex
	flows map[flowKey]*flow
}

type flowKey struct{ src, dst netip.AddrPort }

// flow is one of the container's. mu of the forwarder guards last and limit.
type flow struct {
	flowKey
	conn  *net.UDPConn
	raw   syscall.RawConn
	last  time.Time
	limit time.Duration
	ask   []byte // the last packet's headers, for refuse

	began          time.Time
	sent, received int64 // bytes; mu of the forwarder guards them, too
}

func newUDP(n *Network) *udpForwarder {
	f := &udpForwarder{network: n, flows: map[flowKey]*flow{}}
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, f.handle)
	return f
}

// handle gets each packet of UDP.
func (f *udpForwarder) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.UDP(pkt.TransportHeader().Slice())
	length, _ := header.UDPValid(h, nil, uint16(pkt.Data().Size()), 0, id.RemoteAddress, id.LocalAddress, true)
	if !length {
		return true // nobody answers what cannot be read
	}
	pkt.Data().CapLength(int(h.Length()) - header.UDPMinimumSize)
	key := flowKey{netip.AddrPortFrom(address(id.RemoteAddress), id.RemotePort), netip.AddrPortFrom(address(id.LocalAddress), id.LocalPort)}
	body := pkt.Data().AsRange().ToSlice()
	if f.network.isResolver(key.dst) {
		go f.network.dns.serveUDP(body, key.src.Addr(), func(answer []byte) { f.send(key, answer) })
		return true
	}
	ask := append(append([]byte(nil), pkt.NetworkHeader().Slice()...), h...)
	fl, err := f.flow(key, ask)
	if err == nil {
		if err = fl.write(body); err != nil {
			// That may be the error of an earlier packet: udp(7), "Error handling".
			err = fl.write(body)
		}
	}
	if fl == nil {
		fl = &flow{flowKey: key, began: time.Now()}
	}
	if err == nil {
		f.mu.Lock()
		fl.sent += int64(len(body))
		f.mu.Unlock()
	} else if u, ok := why(err); ok {
		f.network.refuse(ask, u)
		f.tell(fl, result(err))
	}
	return true
}

// tell tells of a flow.
func (f *udpForwarder) tell(fl *flow, result string) {
	f.mu.Lock()
	e := network.Flow{Time: fl.began, Protocol: network.UDP, To: fl.dst, Sent: fl.sent, Received: fl.received, Result: result}
	f.mu.Unlock()
	f.network.tell(fl.src.Addr(), e)
}

// write sends a packet outside. If the kernel has no room for it, it is lost.
func (fl *flow) write(body []byte) (err error) {
	e := fl.raw.Control(func(fd uintptr) {
		_, err = unix.SendmsgN(int(fd), body, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	return errors.Join(e, err)
}

// flow finds the flow of a packet, or makes it.
func (f *udpForwarder) flow(key flowKey, ask []byte) (*flow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flows[key]; fl != nil {
		fl.last, fl.ask = time.Now(), ask
		return fl, nil
	}
	host, ok := f.network.host(key.dst.Addr())
	if !ok {
		if net := f.network.config.Network; key.dst.Addr() == net.Gateway4 || key.dst.Addr() == net.Gateway6 {
			return nil, unix.ECONNREFUSED
		}
		return nil, unix.ENETUNREACH
	}
	f.makeRoom()
	d := net.Dialer{Control: fragmenting}
	conn, err := d.DialContext(context.Background(), "udp", netip.AddrPortFrom(host, key.dst.Port()).String())
	if err != nil {
		return nil, err
	}
	fl := &flow{flowKey: key, conn: conn.(*net.UDPConn), began: time.Now(), last: time.Now(), limit: unanswered, ask: ask}
	if fl.raw, err = fl.conn.SyscallConn(); err != nil {
		conn.Close()
		return nil, err
	}
	f.flows[key] = fl
	f.network.tell(key.src.Addr(), network.Flow{Time: fl.began, Protocol: network.UDP, To: key.dst, Result: network.Open})
	go f.answers(fl)
	return fl, nil
}

// fragmenting lets packets be cut that are too long for the way outside: the container may not know
// how long that is. ip(7), IP_MTU_DISCOVER; the option of IPv6 has the same name and values.
func fragmenting(network, _ string, c syscall.RawConn) (err error) {
	e := c.Control(func(fd uintptr) {
		if network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		}
	})
	if e != nil {
		err = e
	}
	return err
}

// makeRoom forgets the flow that was silent longest, if there are too many. f.mu is held.
func (f *udpForwarder) makeRoom() {
	if len(f.flows) < maxFlows {
		return
	}
	var oldest *flow
	for _, fl := range f.flows {
		if oldest == nil || fl.last.Before(oldest.last) {
			oldest = fl
		}
	}
	delete(f.flows, oldest.flowKey)
	oldest.conn.Close()
}

// datagrams are buffers for one packet each.
var datagrams = sync.Pool{New: func() any { return new([header.UDPMinimumSize + maxPacket]byte) }}

// answers passes on what comes back, until the flow is silent for too long.
func (f *udpForwarder) answers(fl *flow) {
	defer func() {
		f.tell(fl, network.Forgotten)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.flows[fl.flowKey] == fl {
			delete(f.flows, fl.flowKey)
		}
		fl.conn.Close()
	}()
	var n int
	for {
		f.mu.Lock()
		until := fl.last.Add(fl.limit)
		f.mu.Unlock()
		_ = fl.conn.SetReadDeadline(until)
		var errno error
		err := fl.raw.Read(func(fd uintptr) bool {
			b := datagrams.Get().(*[header.UDPMinimumSize + maxPacket]byte)
			defer datagrams.Put(b)
			if n, errno = unix.Read(int(fd), b[header.UDPMinimumSize:]); errno == nil {
				f.sendIn(fl.flowKey, b[:header.UDPMinimumSize+n])
			}
			return errno != unix.EAGAIN
		})
		f.mu.Lock()
		silent := time.Since(fl.last) >= fl.limit
		if err == nil && errno == nil {
			fl.last, fl.limit = time.Now(), answered
			fl.received += int64(n)
		}
		ask := fl.ask
		f.mu.Unlock()
		if err != nil && (silent || !isTimeout(err)) {
			return
		}
		if u, ok := why(errno); errno != nil && ok {
			f.network.refuse(ask, u)
			f.tell(fl, result(errno))
		} else if errno != nil && errno != unix.EINTR {
			return
		}
	}
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// send sends a container what came back for a flow.
func (f *udpForwarder) send(key flowKey, body []byte) {
	f.sendIn(key, append(make([]byte, header.UDPMinimumSize), body...))
}

// sendIn is send with room for the header before the body.
func (f *udpForwarder) sendIn(key flowKey, b []byte) {
	h := header.UDP(b)
	h.Encode(&header.UDPFields{SrcPort: key.dst.Port(), DstPort: key.src.Port(), Length: uint16(len(b))})
	sum := header.PseudoHeaderChecksum(udp.ProtocolNumber, tcpipAddress(key.dst.Addr()), tcpipAddress(key.src.Addr()), uint16(len(b)))
	if sum = ^checksum.Checksum(b, sum); sum == 0 {
		sum = 0xffff // RFC 768: zero means that there is none
	}
	h.SetChecksum(sum)
	f.network.send(key.dst.Addr(), key.src.Addr(), udp.ProtocolNumber, b)
}
