// Programs of others that give a container a way out, if its user would rather have one of them.

package network

import "net/netip"

// Foreign is such a program. It makes eth0 in the network of a process, writes to its standard
// output when that is done, and carries packets until it is killed. This machine's loopback stays
// out of reach.
type Foreign struct {
	Name    string // of the command, and what --network says
	Package string // which has it, in Debian
	// Addresses are what it is told to give, and what it gives by itself. IPv6 may be missing.
	Addresses
	Resolver netip.Addr // is answered by the name servers of this machine

	args []string
}

// foreign are the programs: passt(1) and slirp4netns(1). They run as root of the supervisor's user
// namespace, which is its user; pasta would give that up where all ids are mapped.
var foreign = []Foreign{{
	Name: Pasta, Package: "passt", Addresses: Private, Resolver: netip.MustParseAddr("10.0.2.3"),
	args: []string{"--foreground", "--quiet", "--runas", "0:0", "--pid", "/dev/stdout", "--config-net", "--ns-ifname", "eth0", "--ns-mac-addr", MAC(Private.IPv4.Addr()).String(),
		"--address", Private.IPv4.Addr().String(), "--netmask", "24", "--gateway", Private.Gateway4.String(),
		"--address", Private.IPv6.Addr().String(), "--gateway", Private.Gateway6.String(), "--dns-forward", "10.0.2.3",
		"--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"},
}, {
	Name: Slirp, Package: "slirp4netns", Addresses: Addresses{IPv4: Private.IPv4, Gateway4: Private.Gateway4, MTU: Private.MTU}, Resolver: netip.MustParseAddr("10.0.2.3"),
	args: []string{"--configure", "--mtu", "65520", "--ready-fd", "1", "--macaddress", MAC(Private.IPv4.Addr()).String(),
		"--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"},
}}

// Foreign finds the program that was chosen, nil if that is tiffin's own, or none.
func (c Choice) Foreign() *Foreign {
	for i := range foreign {
		if foreign[i].Name == c.Kind {
			return &foreign[i]
		}
	}
	return nil
}

// Args are its arguments, from its name on, for the network of a process: a number, or what a
// shell takes for one.
func (f *Foreign) Args(pid string) []string {
	args := append(append([]string{f.Name}, f.args...), pid)
	if f.Name == Slirp {
		args = append(args, "eth0")
	}
	return args
}
