// The network stack, gVisor's, with one interface on which it takes every address for its own: it
// is whatever a container connects to. What it has to send goes to the member who has the
// address.

package stack

import (
	"encoding/binary"
	"fmt"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const nic tcpip.NICID = 1

// newStack makes the stack for a network.
func newStack(n *Network, mtu int) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	failed := func(what string, err tcpip.Error) error {
		s.Close()
		return fmt.Errorf("make the network stack: %s: %s", what, err)
	}
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	// No packet of an old connection wanders about on a cable of this length.
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Second)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &wait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return nil, failed("set an option of TCP", err)
		}
	}
	if err := s.CreateNIC(nic, &link{network: n, mtu: uint32(mtu)}); err != nil {
		return nil, failed("make an interface", err)
	}
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return nil, failed("take packets for all addresses", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return nil, failed("answer from all addresses", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return s, nil
}

// link is the stack's interface: stack.LinkEndpoint.
type link struct {
	network    *Network
	mtu        uint32
	dispatcher stack.NetworkDispatcher
}

func (l *link) MTU() uint32                             { return l.mtu }
func (l *link) SetMTU(uint32)                           {}
func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) IsAttached() bool                        { return l.dispatcher != nil }
func (l *link) Wait()                                   {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) Close()                                  {}
func (l *link) SetOnCloseAction(func())                 {}

// Capabilities: sums in packets of the container's kernel are not checked. It leaves them out
// (openTap), and a container that makes wrong ones by hand deceives only itself.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// GSOMaxSize and SupportedGSO say that the stack may leave the sums of TCP segments to the
// container's kernel, and cut larger ones than the other side wants.
func (l *link) GSOMaxSize() uint32               { return maxPacket - 1 }
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

func (l *link) Attach(d stack.NetworkDispatcher) {
	l.dispatcher = d
	l.network.link = l
}

// deliver hands the stack an IP packet, which it owns then.
func (l *link) deliver(p *packet) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(p.view)})
	l.dispatcher.DeliverNetworkPacket(tcpip.NetworkProtocolNumber(p.proto), pkt)
	pkt.DecRef()
}

// WritePackets sends what the stack says to members.
//
// The stack holds the lock of the new connection while it accepts that (SYN and ACK). The container
// answers before such a write has returned, and the goroutine of the stack that is to take the
// answer would try that lock again and again, on the very processor that the write waits for. So
// it is written by another goroutine, which runs when this one, its lock given back, waits for the
// answer.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range list.AsSlice() {
		if accepts(pkt) {
			pkt.IncRef()
			go func() {
				l.write(pkt)
				pkt.DecRef()
			}()
			continue
		}
		l.write(pkt)
	}
	return list.Len(), nil
}

// accepts tells whether a packet accepts a connection.
func accepts(pkt *stack.PacketBuffer) bool {
	if pkt.TransportProtocolNumber != tcp.ProtocolNumber {
		return false
	}
	h := header.TCP(pkt.TransportHeader().Slice())
	return len(h) >= header.TCPMinimumSize && h.Flags().Contains(header.TCPFlagSyn|header.TCPFlagAck)
}

func (l *link) write(pkt *stack.PacketBuffer) {
	if m := l.network.member(address(pkt.Network().DestinationAddress())); m != nil {
		m.tap.write(virtio(pkt), uint16(pkt.NetworkProtocolNumber), m.mac, pkt.AsSlices()...)
	}
}

// virtio says what the stack has left to do in a packet.
func virtio(pkt *stack.PacketBuffer) (h [virtioSize]byte) {
	gso := &pkt.GSOOptions
	if gso.Type == stack.GSONone {
		return h
	}
	le := binary.LittleEndian
	le.PutUint16(h[2:], ethernetSize+uint16(pkt.HeaderSize()))
	if gso.NeedsCsum {
		h[0] = needsChecksum
		le.PutUint16(h[6:], ethernetSize+gso.L3HdrLen)
		le.PutUint16(h[8:], gso.CsumOffset)
	}
	if pkt.Data().Size() > int(gso.MSS) {
		h[1] = segmentTCPv4
		if gso.Type == stack.GSOTCPv6 {
			h[1] = segmentTCPv6
		}
		le.PutUint16(h[4:], gso.MSS)
	}
	return h
}
