// Who is in the network, and which way a packet goes: to another member, to the stack, or nowhere.

package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// Network joins its members with one another, and with what this process can reach.
type Network struct {
	config network.Serve
	stack  *stack.Stack
	link   *link
	tcp    *tcpForwarder
	udp    *udpForwarder
	icmp   *pinger
	dns    *resolver
	passed *dialogues

	packets atomic.Uint64 // that have come from members

	mu      sync.RWMutex
	members map[netip.Addr]*member // by either address
	absent  map[netip.Addr]string  // whom an address is kept for, by its ID; nil after a while
}

// member is a container with its end of a cable.
type member struct {
	network.Member
	mac      network.HardwareAddress
	tap      *tap // nil until it has come
	follower atomic.Pointer[follower]
	left     chan struct{} // closed: it has

	unplugged chan struct{} // closed: nobody reads from tap any more
}

// absence is how long those who were in the network before may take to come back.
const absence = 10 * time.Second

// New makes a network without members.
func New(config network.Serve) (*Network, error) {
	n := &Network{config: config, members: map[netip.Addr]*member{}, absent: map[netip.Addr]string{}}
	for _, m := range config.Absent {
		n.absent[m.IPv4], n.absent[m.IPv6] = m.ID, m.ID
	}
	time.AfterFunc(absence, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.absent = nil
	})
	var err error
	if n.stack, err = newStack(n, config.Network.MTU); err != nil {
		return nil, err
	}
	n.dns = &resolver{network: n, servers: func() []string { return hostServers(config.Resolvers) }}
	n.passed = &dialogues{network: n}
	n.tcp = newTCP(n)
	n.udp = newUDP(n)
	n.icmp = newPinger(n)
	return n, nil
}

// Join takes a member in, and gives it the addresses that it has not asked for.
func (n *Network) Join(who network.Member) (*member, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.members {
		if m.ID == who.ID { // its last run is just ending, and this is the next
			n.leave(m)
		}
	}
	a := n.config.Network
	var err error
	if who.IPv4, err = n.free(who.ID, who.IPv4, a.IPv4, a.Gateway4); err != nil {
		return nil, err
	}
	if who.IPv6, err = n.free(who.ID, who.IPv6, a.IPv6, a.Gateway6); err != nil {
		return nil, err
	}
	m := &member{Member: who, mac: network.MAC(who.IPv4), left: make(chan struct{})}
	n.members[m.IPv4], n.members[m.IPv6] = m, m
	return m, nil
}

// free finds an address for a member: the one it wants, or the first from the network's own on.
func (n *Network) free(id string, want netip.Addr, prefix netip.Prefix, gateway netip.Addr) (netip.Addr, error) {
	owner := func(a netip.Addr) string {
		if m := n.members[a]; m != nil {
			return m.ID
		} else if other := n.absent[a]; other != id {
			return other
		}
		return ""
	}
	if want.IsValid() {
		switch other := owner(want); {
		case !prefix.Contains(want) || want == gateway || want == prefix.Masked().Addr() || want == broadcast(prefix):
			return want, fmt.Errorf("address %s is none of a container's in %s", want, prefix.Masked())
		case other != "":
			return want, fmt.Errorf("address %s is that of container %.12s", want, other)
		}
		return want, nil
	}
	for a := prefix.Addr(); prefix.Contains(a) && a != broadcast(prefix); a = a.Next() {
		if a != gateway && a != prefix.Masked().Addr() && owner(a) == "" {
			return a, nil
		}
	}
	return want, errs.Hint(fmt.Errorf("all addresses of %s are taken", prefix.Masked()), "make a network with a larger prefix")
}

// broadcast is the last address of a prefix of IPv4, RFC 919; the zero one of IPv6 has none.
func broadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() {
		return netip.Addr{}
	}
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// Leave lets a member go.
func (n *Network) Leave(m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leave(m)
}

func (n *Network) leave(m *member) {
	for _, a := range []netip.Addr{m.IPv4, m.IPv6} {
		if n.members[a] == m {
			delete(n.members, a)
		}
	}
	if m.tap != nil {
		m.tap.file.Close()
	}
	select {
	case <-m.left:
	default:
		close(m.left)
	}
}

// member finds who has an address and a cable; nil if nobody does.
func (n *Network) member(a netip.Addr) *member {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if m := n.members[a]; m != nil && m.tap != nil {
		return m
	}
	return nil
}

// Lookup returns the addresses of the members that have a name.
func (n *Network) Lookup(name string) (found []netip.Addr, known bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for a, m := range n.members {
		if slices.ContainsFunc(m.Names, func(s string) bool { return strings.EqualFold(s, name) }) {
			found = append(found, a)
		}
	}
	return found, found != nil
}

// Plug passes on what comes from a member's cable until it is pulled.
func (n *Network) Plug(m *member) error {
	return m.tap.each(func(p *packet) { n.forward(m, p) })
}

// forward decides where a packet of a member goes.
func (n *Network) forward(from *member, p *packet) {
	n.packets.Add(1)
	src, dst, ok := addresses(p)
	if !ok || src != from.IPv4 && src != from.IPv6 {
		// Nobody speaks in the name of another: answers would go there, and replies to what it
		// never asked.
		p.view.Release()
		return
	}
	switch {
	case dst.IsMulticast(), dst == broadcast(n.config.Network.IPv4), dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		n.flood(from, p)
	case n.inside(dst):
		to := n.member(dst)
		n.passed.see(from, to, p.view.AsSlice())
		if to != nil {
			to.tap.write(p.virtio, p.proto, to.mac, p.view.AsSlice())
		} else {
			n.refuse(p.view.AsSlice(), hostUnreachable) // what a failed ARP would come to
		}
	case p.proto == etherIPv4 && header.IPv4(p.view.AsSlice()).Protocol() == uint8(header.ICMPv4ProtocolNumber),
		p.proto == etherIPv6 && header.IPv6(p.view.AsSlice()).NextHeader() == uint8(header.ICMPv6ProtocolNumber):
		// The stack would answer in the name of hosts that are not there.
		n.icmp.handle(p.view.AsSlice(), src, dst)
	default:
		n.link.deliver(p)
		return // the stack owns it
	}
	p.view.Release()
}

// inside tells whether an address belongs to members alone.
func (n *Network) inside(a netip.Addr) bool {
	net := n.config.Network
	return a != net.Gateway4 && a != net.Gateway6 && (net.IPv4.Masked().Contains(a) || net.IPv6.Masked().Contains(a))
}

// flood gives a packet to all other members.
func (n *Network) flood(from *member, p *packet) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for a, m := range n.members {
		if m != from && m.tap != nil && a == m.IPv4 {
			m.tap.write(p.virtio, p.proto, [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, p.view.AsSlice())
		}
	}
}

// host is where a container gets to when it connects to an address: the address itself, unless it
// is the gateway's or one that means this machine.
func (n *Network) host(a netip.Addr) (netip.Addr, bool) {
	switch net := n.config.Network; {
	case a == net.Gateway4:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.config.HostLoopback
	case a == net.Gateway6:
		return netip.IPv6Loopback(), n.config.HostLoopback
	}
	// Connecting to the unspecified address is connecting to loopback, ip(7) "INADDR_ANY"; and an
	// IPv4 address in the clothes of IPv6, RFC 4291 section 2.5.5, would be connected to as IPv4.
	all := a.As16()
	ok := !a.IsLoopback() && !a.IsUnspecified() && !a.Is4In6() && !a.IsLinkLocalUnicast() && !a.IsMulticast() &&
		(!a.Is4() || a.As4()[0] != 0) && (a.Is4() || [12]byte(all[:12]) != [12]byte{})
	return a, ok && !n.config.Internal
}

// address is that of the stack in Go's type.
func address(a tcpip.Address) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return ip
}
