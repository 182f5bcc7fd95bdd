package network

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(s string) (all []netip.Prefix) {
	for f := range strings.FieldsSeq(s) {
		all = append(all, netip.MustParsePrefix(f))
	}
	return all
}

// TestPlace: what is asked for, what is found, and what cannot be.
func TestPlace(t *testing.T) {
	for _, e := range []struct{ want, gateway, used, got string }{
		{"", "", "", "10.89.0.2/24 10.89.0.1"},
		{"", "", "10.89.0.0/24 10.89.1.0/24 192.168.0.0/16", "10.89.2.2/24 10.89.2.1"},
		{"", "", "10.89.0.0/17", "10.89.128.2/24 10.89.128.1"},
		{"", "", "10.0.0.0/8", "no subnet is free"},
		{"192.0.2.0/24", "", "", "192.0.2.2/24 192.0.2.1"},
		{"192.0.2.0/24", "192.0.2.254", "", "192.0.2.1/24 192.0.2.254"},
		{"192.0.2.0/30", "192.0.2.2", "", "192.0.2.1/30 192.0.2.2"},
		{"192.0.2.0/24", "192.0.2.255", "", "no address for a machine"},
		{"192.0.2.0/24", "192.0.2.0", "", "no address for a machine"},
		{"192.0.2.0/24", "192.0.3.1", "", "no address for a machine"},
		{"192.0.2.1/24", "", "", "192.0.2.1/24 is no subnet"},
		{"192.0.2.0/31", "", "", "is no subnet"},
		{"0.0.0.0/0", "", "", "is no subnet"},
		{"::ffff:192.0.2.0/120", "", "", "is no subnet"},
		{"127.0.0.0/8", "", "", "machines cannot have"},
		{"127.0.0.8/29", "", "", "machines cannot have"},
		{"0.0.0.0/8", "", "", "machines cannot have"},
		{"169.254.1.0/24", "", "", "machines cannot have"},
		{"224.0.0.0/8", "", "", "machines cannot have"},
		{"255.255.255.0/24", "", "", "machines cannot have"},
		{"::/8", "", "", "machines cannot have"},
		{"fe80::/64", "", "", "machines cannot have"},
		{"ff02::/64", "", "", "machines cannot have"},
		{"192.0.2.0/24 198.51.100.0/24", "", "", "there is 192.0.2.0/24 already"},
		{"192.0.2.0/24", "", "192.0.0.0/16", "its addresses are used by 192.0.0.0/16"},
	} {
		var d Definition
		var gateways []netip.Addr
		if e.gateway != "" {
			gateways = append(gateways, netip.MustParseAddr(e.gateway))
		}
		got := ""
		if err := d.Place(prefixes(e.want), gateways, prefixes(e.used)); err != nil {
			got = err.Error()
		} else if got = d.IPv4.String() + " " + d.Gateway4.String(); d.IPv6.Bits() != 64 || d.IPv6.Addr().As16()[0] != 0xfd || d.Gateway6 != d.IPv6.Masked().Addr().Next() || d.IPv6.Addr() != d.Gateway6.Next() {
			t.Errorf("%+v has %s, %s", e, d.IPv6, d.Gateway6)
		}
		if !strings.Contains(got, e.got) {
			t.Errorf("%+v is placed at %q", e, got)
		}
	}
	var a, b Definition
	if a.Place(prefixes("2001:db8::/64"), nil, nil) != nil || a.IPv6.String() != "2001:db8::2/64" || !a.IPv4.IsValid() {
		t.Errorf("%+v", a)
	}
	a, b = Definition{}, Definition{}
	if a.Place(nil, nil, nil) != nil || b.Place(nil, nil, nil) != nil || a.IPv6 == b.IPv6 {
		t.Errorf("two networks have %s and %s", a.IPv6, b.IPv6)
	}
}
