// What this program reads in packets itself, and the packets it makes: errors of ICMP, by which a
// container learns what the host was told.

package stack

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// minHeader is the size of the smallest header of IP, in bytes.
const minHeader = header.IPv4MinimumSize

// addresses reads who sent a packet to whom; ok is false if that is not to be seen.
func addresses(p *packet) (src, dst netip.Addr, ok bool) {
	b := p.view.AsSlice()
	switch {
	case p.proto == etherIPv4 && len(b) >= header.IPv4MinimumSize && b[0]>>4 == 4:
		h := header.IPv4(b)
		return address(h.SourceAddress()), address(h.DestinationAddress()), true
	case p.proto == etherIPv6 && len(b) >= header.IPv6MinimumSize && b[0]>>4 == 6:
		h := header.IPv6(b)
		return address(h.SourceAddress()), address(h.DestinationAddress()), true
	}
	return src, dst, false
}

// icmp is what a packet of ICMP has behind its header of IP, nil for others and fragments.
func icmp(b []byte) []byte {
	if len(b) > 0 && b[0]>>4 == 6 {
		h := header.IPv6(b)
		if len(b) < header.IPv6MinimumSize+header.ICMPv6MinimumSize || h.TransportProtocol() != header.ICMPv6ProtocolNumber {
			return nil
		}
		return b[header.IPv6MinimumSize:]
	}
	h := header.IPv4(b)
	if !h.IsValid(len(b)) || h.TransportProtocol() != header.ICMPv4ProtocolNumber || h.More() || h.FragmentOffset() > 0 {
		return nil
	}
	part := b[h.HeaderLength():min(len(b), int(h.TotalLength()))]
	if len(part) < header.ICMPv4MinimumSize {
		return nil
	}
	return part
}

// Types of messages, RFC 792 and RFC 4443, by IPv4 and IPv6.
var (
	echoRequest = [2]byte{byte(header.ICMPv4Echo), byte(header.ICMPv6EchoRequest)}
	echoReply   = [2]byte{byte(header.ICMPv4EchoReply), byte(header.ICMPv6EchoReply)}
	noWay       = [2]byte{byte(header.ICMPv4DstUnreachable), byte(header.ICMPv6DstUnreachable)}
)

// family is the index of an address in these.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// unreachable is why a packet came back.
type unreachable int

const (
	netUnreachable unreachable = iota
	hostUnreachable
	portUnreachable
	prohibited
)

// codes of "destination unreachable", RFC 792 and RFC 4443 section 3.1.
var codes = map[unreachable][2]byte{
	netUnreachable:  {byte(header.ICMPv4NetUnreachable), byte(header.ICMPv6NetworkUnreachable)},
	hostUnreachable: {byte(header.ICMPv4HostUnreachable), byte(header.ICMPv6AddressUnreachable)},
	portUnreachable: {byte(header.ICMPv4PortUnreachable), byte(header.ICMPv6PortUnreachable)},
	prohibited:      {byte(header.ICMPv4AdminProhibited), byte(header.ICMPv6Prohibited)},
}

// why turns what the host's kernel says into what the network would have said; ok is false if that
// is nothing.
func why(err error) (u unreachable, ok bool) {
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
		return netUnreachable, true
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EHOSTDOWN):
		return hostUnreachable, true
	case errors.Is(err, unix.ECONNREFUSED):
		return portUnreachable, true
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return prohibited, true
	}
	return 0, false
}

// quoted is how much of a packet comes back with an error, in bytes: RFC 1812 section 4.3.2.3, and
// RFC 4443 section 2.4 (c) has more room. Ports and sequence numbers are in it.
const quoted = 128

// refuse sends a packet back to whom it came from, in the name of whom it was for.
func (n *Network) refuse(original []byte, u unreachable) {
	p := &packet{proto: etherIPv4, view: buffer.NewViewWithData(original[:min(len(original), quoted)])}
	defer p.view.Release()
	if len(original) > 0 && original[0]>>4 == 6 {
		p.proto = etherIPv6
	}
	src, dst, ok := addresses(p)
	if part := icmp(original); !ok || part != nil && part[0] != echoRequest[family(src)] {
		return // never an error about an error: RFC 1122 section 3.2.2
	}
	n.sendICMP(dst, src, noWay[family(src)], codes[u][family(src)], [4]byte{}, p.view.AsSlice())
}

// sendICMP sends a message of ICMP to a member.
func (n *Network) sendICMP(from, to netip.Addr, kind, code byte, rest [4]byte, body []byte) {
	b := append([]byte{kind, code, 0, 0, rest[0], rest[1], rest[2], rest[3]}, body...)
	if from.Is4() {
		header.ICMPv4(b).SetChecksum(header.ICMPv4Checksum(b, 0))
		n.send(from, to, header.ICMPv4ProtocolNumber, b)
		return
	}
	header.ICMPv6(b).SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: b, Src: tcpipAddress(from), Dst: tcpipAddress(to)}))
	n.send(from, to, header.ICMPv6ProtocolNumber, b)
}

// send sends a member what belongs behind a header of IP, in several packets if it is too long.
func (n *Network) send(from, to netip.Addr, proto tcpip.TransportProtocolNumber, body []byte) {
	ip := [2]tcpip.NetworkProtocolNumber{header.IPv4ProtocolNumber, header.IPv6ProtocolNumber}[family(to)]
	r, err := n.stack.FindRoute(nic, tcpipAddress(from), tcpipAddress(to), ip, false)
	if err != nil {
		return
	}
	defer r.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(r.MaxHeaderLength()), Payload: buffer.MakeWithData(body)})
	defer pkt.DecRef()
	_ = r.WritePacket(stack.NetworkHeaderParams{Protocol: proto, TTL: 64}, pkt)
}

// tcpipAddress is the opposite of address.
func tcpipAddress(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }
