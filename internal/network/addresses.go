// Who has which address in a private network.

package network

import "net/netip"

// Addresses are what one container has in a private network.
type Addresses struct {
	IPv4, IPv6         netip.Prefix // its own, with the length of the network's prefix
	Gateway4, Gateway6 netip.Addr   // the way out; also the server for names
	MTU                int          // bytes of the largest packet, its IP header included
}

// Private are the addresses of a container that is alone in its network. IPv4 is as slirp4netns(1)
// has it, which many a rule in containers relies on; IPv6 is of RFC 4193, never routed outside,
// and spells tiffin, so that it is not a network that the host is in.
// The MTU is the largest that slirp4netns(1) offers: nothing leaves the machine in
// such packets, and fewer of them cost less.
var Private = Addresses{
	IPv4: netip.MustParsePrefix("10.0.2.100/24"), Gateway4: netip.MustParseAddr("10.0.2.2"),
	IPv6: netip.MustParsePrefix("fd74:6966:6669:6e00::100/64"), Gateway6: netip.MustParseAddr("fd74:6966:6669:6e00::2"),
	MTU: 65520,
}

// OwnName is what a container's own name stands for in its /etc/hosts, unless it is in a network
// with a name. It is what Debian gives a machine whose address may change.
var OwnName = netip.MustParseAddr("127.0.1.1")

// Forwarder4 and Forwarder6 are whom a server sees that is reached through a published port, where
// it cannot see the client: package port. Nobody has these addresses.
var (
	Forwarder4 = netip.MustParseAddr("10.0.2.1")
	Forwarder6 = netip.MustParseAddr("fd74:6966:6669:6e00::1")
)
