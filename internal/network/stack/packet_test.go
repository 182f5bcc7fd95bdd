package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tiffin/internal/network"
)

// patience is how long is waited for what comes within milliseconds, unless others need the
// processors.
const patience = 2 * time.Minute

// guest is a container's end of a cable: packets as its root could make them.
type guest struct {
	t    *testing.T
	fd   int
	addr netip.Addr
}

// plugIn joins a network with a cable that is a pair of sockets instead of a tap device.
func plugIn(t *testing.T, n *Network, id string) *guest {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	m, err := n.Join(network.Member{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "cable")
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	m.tap = &tap{f, raw}
	n.mu.Unlock()
	go n.Plug(m)
	t.Cleanup(func() { n.Leave(m) })
	return &guest{t, fds[0], m.IPv4}
}

func newNetwork(t *testing.T) *Network {
	t.Helper()
	n, err := New(network.Serve{Network: network.Private})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// send sends a frame with these bytes behind the two headers.
func (g *guest) send(proto uint16, packet []byte) {
	frame := make([]byte, frontSize, frontSize+len(packet))
	binary.BigEndian.PutUint16(frame[frontSize-2:], proto)
	for {
		err := unix.Send(g.fd, append(frame, packet...), 0)
		if err != unix.EAGAIN {
			return // EMSGSIZE and the like: it was malformed enough
		}
		time.Sleep(time.Millisecond)
	}
}

// hear returns the next IP packet that comes, nil if there is none for a while.
func (g *guest) hear(wait time.Duration) []byte {
	b := make([]byte, 1<<17)
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, err := unix.Read(g.fd, b); err == nil && n > frontSize {
			return b[frontSize:n]
		}
	}
	return nil
}

// ping is a packet that asks dst for an echo.
func ping(src, dst netip.Addr) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize)
	part := header.ICMPv4(b[header.IPv4MinimumSize:])
	part.SetType(header.ICMPv4Echo)
	part.SetChecksum(^checksum.Checksum(part, 0))
	h := header.IPv4(b)
	h.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: tcpipAddress(src), DstAddr: tcpipAddress(dst)})
	h.SetChecksum(^h.CalculateChecksum())
	return b
}

// ping6 is the same by IPv6.
func ping6(src, dst netip.Addr) []byte {
	b := make([]byte, header.IPv6MinimumSize+header.ICMPv6MinimumSize)
	part := header.ICMPv6(b[header.IPv6MinimumSize:])
	part.SetType(header.ICMPv6EchoRequest)
	part.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: part, Src: tcpipAddress(src), Dst: tcpipAddress(dst)}))
	header.IPv6(b).Encode(&header.IPv6Fields{PayloadLength: uint16(len(part)), HopLimit: 64, TransportProtocol: header.ICMPv6ProtocolNumber, SrcAddr: tcpipAddress(src), DstAddr: tcpipAddress(dst)})
	return b
}

// datagram is a packet of UDP.
func datagram(src, dst netip.AddrPort, body []byte) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize, 100)
	b = append(b, body...)
	header.UDP(b[header.IPv4MinimumSize:]).Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(b) - header.IPv4MinimumSize)})
	h := header.IPv4(b)
	h.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: tcpipAddress(src.Addr()), DstAddr: tcpipAddress(dst.Addr())})
	h.SetChecksum(^h.CalculateChecksum())
	return b
}

// alive tells whether the network still answers: a ping to the gateway.
func (g *guest) alive() bool {
	for g.hear(10*time.Millisecond) != nil {
	}
	g.send(etherIPv4, ping(g.addr, network.Private.Gateway4))
	for {
		b := g.hear(patience)
		if b == nil || header.IPv4(b).SourceAddress() == tcpipAddress(network.Private.Gateway4) {
			return b != nil
		}
	}
}

// TestNobodySpeaksForAnother: a packet with the source address of another member, of the gateway or
// of a host outside goes nowhere, and neither does its answer.
func TestNobodySpeaksForAnother(t *testing.T) {
	n := newNetwork(t)
	a, b := plugIn(t, n, "a"), plugIn(t, n, "b")
	a.send(etherIPv4, ping(a.addr, b.addr))
	if got := b.hear(patience); got == nil || !bytes.Equal(got, ping(a.addr, b.addr)) {
		t.Fatalf("members do not reach each other: %x", got)
	}
	for _, src := range []netip.Addr{b.addr, network.Private.Gateway4, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1"), netip.IPv4Unspecified()} {
		for _, dst := range []netip.Addr{b.addr, network.Private.Gateway4} {
			a.send(etherIPv4, ping(src, dst))
			if got := b.hear(50 * time.Millisecond); got != nil {
				t.Errorf("b hears of a packet from %s to %s: %x", src, dst, got)
			}
			if got := a.hear(50 * time.Millisecond); got != nil {
				t.Errorf("a hears of a packet from %s to %s: %x", src, dst, got)
			}
		}
	}
	if !a.alive() || !b.alive() {
		t.Error("the network is dead")
	}
}

// TestHostsLoopbackIsNoDestination in any of its spellings, nor is what lies near this machine
// only.
func TestHostsLoopbackIsNoDestination(t *testing.T) {
	n := newNetwork(t)
	for _, a := range []string{"127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "::ffff:192.0.2.1",
		"169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "10.0.2.2", "fd74:6966:6669:6e00::2"} {
		if to, ok := n.host(netip.MustParseAddr(a)); ok {
			t.Errorf("%s leads to %s", a, to)
		}
	}
	for _, a := range []string{"192.0.2.1", "10.0.3.1", "2001:db8::1", "fd00::1"} {
		if to, ok := n.host(netip.MustParseAddr(a)); !ok || to.String() != a {
			t.Errorf("%s leads to %s, %v", a, to, ok)
		}
	}
	n.config.HostLoopback = true
	for a, want := range map[string]string{"10.0.2.2": "127.0.0.1", "fd74:6966:6669:6e00::2": "::1"} {
		if to, ok := n.host(netip.MustParseAddr(a)); !ok || to.String() != want {
			t.Errorf("asked for, %s leads to %s, %v", a, to, ok)
		}
	}
}

// TestUnknownMembersAreUnreachable: an address of the network that nobody has is answered for, as
// after a failed ARP, and an error is never answered by another.
func TestUnknownMembersAreUnreachable(t *testing.T) {
	n := newNetwork(t)
	a := plugIn(t, n, "a")
	nobody := netip.MustParseAddr("10.0.2.77")
	a.send(etherIPv4, datagram(netip.AddrPortFrom(a.addr, 5), netip.AddrPortFrom(nobody, 6), []byte("x")))
	got := header.IPv4(a.hear(patience))
	if got == nil || header.ICMPv4(got.Payload()).Type() != header.ICMPv4DstUnreachable || header.ICMPv4(got.Payload()).Code() != header.ICMPv4HostUnreachable {
		t.Fatalf("%x", got)
	}
	errorAbout := ping(a.addr, nobody)
	header.ICMPv4(errorAbout[header.IPv4MinimumSize:]).SetType(header.ICMPv4DstUnreachable)
	a.send(etherIPv4, errorAbout)
	if got := a.hear(50 * time.Millisecond); got != nil {
		t.Errorf("an error is answered: %x", got)
	}
}

// TestNetworkSurvivesItsMembers: packets of any length and with any field wrong, more datagrams
// than there may be flows, more questions than may be asked.
func TestNetworkSurvivesItsMembers(t *testing.T) {
	n := newNetwork(t)
	n.dns.servers = func() []string { return nil }
	a := plugIn(t, n, "a")
	six := netip.MustParseAddr("fd74:6966:6669:6e00::100")
	good := [][]byte{ping6(six, network.Private.Gateway6), ping(a.addr, network.Private.Gateway4), datagram(netip.AddrPortFrom(a.addr, 5), netip.AddrPortFrom(network.Private.Gateway4, 53), []byte("question"))}
	for _, packet := range good {
		for cut := range packet {
			a.send(etherIPv4, packet[:cut])
			a.send(etherIPv6, packet[:cut])
		}
		a.send(etherIPv6, packet)
		for at := range packet {
			for _, v := range []byte{0, 1, 0x7f, 0xff} {
				bad := bytes.Clone(packet)
				bad[at] = v
				a.send(etherIPv4, bad)
				a.send(etherIPv6, bad)
			}
		}
		a.send(0x0806, packet) // ARP
		for n.packets.Load(); a.hear(time.Millisecond) != nil; {
		}
	}
	if !a.alive() {
		t.Fatal("the network is dead after malformed packets")
	}
	for port := range uint16(3 * maxFlows) {
		a.send(etherIPv4, datagram(netip.AddrPortFrom(a.addr, 1000+port), netip.MustParseAddrPort("10.0.2.2:9"), []byte("flood")))
		a.send(etherIPv4, good[2])
	}
	n.udp.mu.Lock()
	flows := len(n.udp.flows)
	n.udp.mu.Unlock()
	if flows > maxFlows {
		t.Errorf("there are %d flows", flows)
	}
	if !a.alive() {
		t.Fatal("the network is dead after a flood")
	}
}

// TestFlowsAreForgotten: the one that was silent longest makes room.
func TestFlowsAreForgotten(t *testing.T) {
	n := newNetwork(t)
	n.config.HostLoopback = true
	to := netip.MustParseAddrPort("10.0.2.2:9")
	for port := range uint16(maxFlows + 10) {
		if _, err := n.udp.flow(flowKey{netip.AddrPortFrom(netip.MustParseAddr("10.0.2.100"), 1+port), to}, nil); err != nil {
			t.Skipf("flow %d: %v", port, err) // too few descriptors
		}
	}
	n.udp.mu.Lock()
	defer n.udp.mu.Unlock()
	if len(n.udp.flows) > maxFlows {
		t.Errorf("there are %d flows", len(n.udp.flows))
	}
	for key, fl := range n.udp.flows {
		fl.conn.Close()
		delete(n.udp.flows, key)
	}
}
