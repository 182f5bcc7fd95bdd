// The hardware address of an interface.

package network

import (
	"fmt"
	"net/netip"
)

// MAC is the hardware address of the container that has an IPv4 address: locally administered (the
// second bit of the first byte, RFC 9542 section 2.1), then the address. So nobody asks.
func MAC(ip netip.Addr) HardwareAddress {
	a := ip.As4()
	return HardwareAddress{0x02, 0x42, a[0], a[1], a[2], a[3]}
}

// HardwareAddress is what Ethernet calls a MAC address.
type HardwareAddress [6]byte

func (a HardwareAddress) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}
