// ICMP echo: the kernel lets ordinary users ask for it where an administrator allows (icmp(7),
// ping_group_range): one socket for each request, as the program ping has.

package stack

import (
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tiffin/internal/network"
)

// echoTime is how long an answer may take, and maxEchoes how many may be missing at a time.
const (
	echoTime  = 10 * time.Second
	maxEchoes = 256
)

// pinger asks for echoes.
type pinger struct {
	network *Network
	room    chan struct{}
}

func newPinger(n *Network) *pinger { return &pinger{network: n, room: make(chan struct{}, maxEchoes)} }

// handle gets each packet of ICMP of a container, of which only those that ask for an echo are of
// use: errors are about packets of ours, which nobody waits for.
func (p *pinger) handle(b []byte, src, dst netip.Addr) {
	part := icmp(b)
	if part == nil || part[0] != echoRequest[family(src)] {
		return
	}
	id, rest := [4]byte(part[4:8]), append([]byte(nil), part[8:]...)
	net := p.network.config.Network
	if dst == net.Gateway4 || dst == net.Gateway6 {
		p.network.sendICMP(dst, src, echoReply[family(src)], 0, id, rest)
		return
	}
	original := append([]byte(nil), b[:min(len(b), quoted)]...)
	select {
	case p.room <- struct{}{}:
	default:
		return // lost, as on a busy network
	}
	go func() {
		defer func() { <-p.room }()
		e := network.Flow{Time: time.Now(), Protocol: network.Echo, To: netip.AddrPortFrom(dst, 0)}
		err := p.ask(dst, id, rest, func() { p.network.sendICMP(dst, src, echoReply[family(src)], 0, id, rest) })
		e.Result = result(err)
		p.network.tell(src, e)
		if err != nil {
			if u, ok := why(err); ok {
				p.network.refuse(original, u)
			}
		}
	}()
}

// ask asks a host for one echo, and calls answered if that comes.
func (p *pinger) ask(dst netip.Addr, id [4]byte, rest []byte, answered func()) error {
	host, ok := p.network.host(dst)
	if !ok {
		return unix.ENETUNREACH
	}
	domain, proto := unix.AF_INET, unix.IPPROTO_ICMP
	var to unix.Sockaddr
	if host.Is4() {
		to = &unix.SockaddrInet4{Addr: host.As4()}
	} else {
		domain, proto, to = unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: host.As16()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return err // EACCES: this user may not
	}
	// Connected, so that errors come back, too. The kernel sets identifier and sum: icmp(7).
	f := os.NewFile(uintptr(fd), "ping")
	defer f.Close()
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	if _, err := f.Write(append([]byte{echoRequest[family(dst)], 0, 0, 0, 0, 0, id[2], id[3]}, rest...)); err != nil {
		return err
	}
	_ = f.SetReadDeadline(time.Now().Add(echoTime))
	b := make([]byte, maxPacket)
	n, err := f.Read(b)
	if err == nil && n >= header.ICMPv4MinimumSize && b[0] == echoReply[family(dst)] {
		answered()
	}
	return err
}
