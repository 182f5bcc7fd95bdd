// What inspect shows of a container's networks, in docker's words.

package client

import (
	"net/netip"

	"tiffin/internal/container/disk"
	"tiffin/internal/network"
)

// InspectNetwork is how the container can be reached. Addresses are those in its first network.
type InspectNetwork struct {
	Ports InspectPorts // where the host listens; null: nowhere
	InspectAddresses
	Networks map[string]InspectEndpoint
}

// InspectAddresses are those of a container that runs; text is "" and numbers are 0 if it does not.
type InspectAddresses struct {
	IPAddress, Gateway, GlobalIPv6Address, IPv6Gateway, MacAddress string
	IPPrefixLen, GlobalIPv6PrefixLen                               int
}

// InspectEndpoint is a container in a network.
type InspectEndpoint struct {
	InspectAddresses
	Aliases  []string // asked for
	DNSNames []string // by which others find it
}

func addressesOf(a network.Addresses) InspectAddresses {
	text := func(ip netip.Addr) string {
		if !ip.IsValid() {
			return ""
		}
		return ip.String()
	}
	return InspectAddresses{
		IPAddress: text(a.IPv4.Addr()), IPPrefixLen: a.IPv4.Bits(), Gateway: text(a.Gateway4), GlobalIPv6Address: text(a.IPv6.Addr()),
		GlobalIPv6PrefixLen: max(0, a.IPv6.Bits()), IPv6Gateway: text(a.Gateway6), MacAddress: network.MAC(a.IPv4.Addr()).String(),
	}
}

func (x *InspectNetwork) add(c *disk.Container, s *disk.State) {
	x.Networks = map[string]InspectEndpoint{}
	for _, m := range c.Networks {
		x.Networks[m.Name] = InspectEndpoint{Aliases: m.Aliases, DNSNames: c.Names(m)}
	}
	if s.Status != disk.Running {
		return
	}
	attached := s.Networks
	if s.Private {
		own := disk.Attachment{Name: network.User, Addresses: network.Private}
		if choice, _ := network.ParseChoice(c.Network); choice.Foreign() != nil {
			own = disk.Attachment{Name: choice.Kind, Addresses: choice.Foreign().Addresses}
		}
		attached = append([]disk.Attachment{own}, attached...)
	}
	for i, a := range attached {
		e := x.Networks[a.Name]
		e.InspectAddresses = addressesOf(a.Addresses)
		if a.Internal { // it is whom to ask for names, and no way out
			e.Gateway, e.IPv6Gateway = "", ""
		}
		x.Networks[a.Name] = e
		if i == 0 {
			x.InspectAddresses = e.InspectAddresses
		}
	}
}
