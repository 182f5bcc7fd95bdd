// Networks that containers join by name.

package network

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tiffin/internal/errs"
)

// Definition is a network with a name.
type Definition struct {
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Internal says that containers in it reach one another and nothing else.
	Internal bool `json:"internal,omitempty"`
	// Addresses are those of the network: IPv4 and IPv6 are the first that a container gets.
	Addresses
}

// reserved are arguments of --network that mean something else, here or elsewhere.
var reserved = []string{"none", "host", "user", "private", "bridge", "default", "container", "ns", "pod", "pasta", "slirp4netns"}

// Reserved tells whether a network cannot have that name.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// subnets is where networks get their addresses if their user does not care: 256 networks of 254
// addresses, those that podman-network-create(1) uses.
var subnets = netip.MustParsePrefix("10.89.0.0/16")

// special are addresses that mean something else to each kernel, and so belong to no network of
// machines: RFC 6890 section 2.2 and RFC 5771.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/64"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// Place gives the network addresses: of the subnets and gateways in want, one of each family at
// most, and what they leave open as it is free of the addresses in use.
func (d *Definition) Place(want []netip.Prefix, gateways []netip.Addr, used []netip.Prefix) error {
	var v4, v6 netip.Prefix
	for _, p := range want {
		to, longest := &v4, 30 // the gateway and one container, besides the first and last address
		if p.Addr().Is6() {
			to, longest = &v6, 126
		}
		switch i := slices.IndexFunc(used, p.Overlaps); {
		case to.IsValid():
			return fmt.Errorf("subnet %s: there is %s already", p, *to)
		case p != p.Masked() || p.Addr().Is4In6() || p.Bits() < 8 || p.Bits() > longest:
			return errs.Hint(fmt.Errorf("%s is no subnet", p), fmt.Sprintf("write %s, with a length from 8 to %d", p.Masked(), longest))
		case slices.ContainsFunc(special, p.Overlaps):
			return errs.Hint(fmt.Errorf("subnet %s: machines cannot have all of its addresses", p), "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and fd00::/8 have room for subnets")
		case i >= 0:
			return errs.Hint(fmt.Errorf("subnet %s: its addresses are used by %s", p, used[i]), "choose another, or none: then one is found that is free")
		}
		*to = p
	}
	if !v4.IsValid() {
		if v4 = freeSubnet(used); !v4.IsValid() {
			return errs.Hint(errors.New("no subnet is free"), "`tiffin network prune` removes networks without containers, --subnet takes other addresses")
		}
	}
	if !v6.IsValid() {
		v6 = localSubnet()
	}
	d.Gateway4, d.Gateway6 = v4.Addr().Next(), v6.Addr().Next()
	for _, g := range gateways {
		to, p := &d.Gateway4, v4
		if g.Is6() {
			to, p = &d.Gateway6, v6
		}
		if !p.Contains(g) || g == p.Addr() || p.Addr().Is4() && !p.Contains(g.Next()) {
			return fmt.Errorf("gateway %s is no address for a machine in %s", g, p)
		}
		*to = g
	}
	d.IPv4, d.IPv6, d.MTU = firstHost(v4, d.Gateway4), firstHost(v6, d.Gateway6), Private.MTU
	return nil
}

// firstHost is the first address of a subnet that is not the gateway's, with the subnet's length.
func firstHost(p netip.Prefix, gateway netip.Addr) netip.Prefix {
	a := p.Addr().Next()
	if a == gateway {
		a = a.Next()
	}
	return netip.PrefixFrom(a, p.Bits())
}

// freeSubnet finds one in which no address is used; the zero one if there is none.
func freeSubnet(used []netip.Prefix) netip.Prefix {
	a := subnets.Addr().As4()
	for n := range 256 {
		a[2] = byte(n)
		if p := netip.PrefixFrom(netip.AddrFrom4(a), 24); !slices.ContainsFunc(used, p.Overlaps) {
			return p
		}
	}
	return netip.Prefix{}
}

// localSubnet makes a subnet of IPv6 that nobody else has: RFC 4193 section 3.2, with 40 bits of
// chance.
func localSubnet() netip.Prefix {
	a := [16]byte{0: 0xfd}
	rand.Read(a[1:6]) // never fails, crypto/rand
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}
