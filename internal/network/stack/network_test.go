package stack

import (
	"net/netip"
	"strings"
	"testing"

	"tiffin/internal/network"
)

// TestJoin: who gets which address, and who does not.
func TestJoin(t *testing.T) {
	var d network.Definition
	if err := d.Place([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/29")}, nil, nil); err != nil {
		t.Fatal(err)
	}
	n, err := New(network.Serve{Network: d.Addresses, Absent: []network.Member{{ID: "was here", IPv4: netip.MustParseAddr("192.0.2.3")}}})
	if err != nil {
		t.Fatal(err)
	}
	join := func(id, ip string, names ...string) string {
		who := network.Member{ID: id, Names: names}
		if ip != "" {
			who.IPv4 = netip.MustParseAddr(ip)
		}
		m, err := n.Join(who)
		if err != nil {
			return err.Error()
		}
		return m.IPv4.String()
	}
	for _, e := range []struct{ id, ip, want string }{
		{"a", "", "192.0.2.2"},
		{"b", "192.0.2.5", "192.0.2.5"},
		{"c", "192.0.2.5", "address 192.0.2.5 is that of container b"},
		{"c", "192.0.2.1", "is none of a container's"},
		{"c", "192.0.2.0", "is none of a container's"},
		{"c", "192.0.2.7", "is none of a container's"},
		{"c", "192.0.2.8", "is none of a container's"},
		{"b", "192.0.2.5", "192.0.2.5"}, // its next run, before the last one has hung up
		{"c", "", "192.0.2.4"},          // .3 is kept
		{"d", "192.0.2.3", "address 192.0.2.3 is that of container was here"},
		{"was here", "192.0.2.3", "192.0.2.3"},
		{"e", "", "192.0.2.6"},
		{"f", "", "all addresses of 192.0.2.0/29 are taken"},
	} {
		if got := join(e.id, e.ip, e.id, "All"); !strings.Contains(got, e.want) {
			t.Errorf("%s with %q: %s, want %s", e.id, e.ip, got, e.want)
		}
	}
	if all, _ := n.Lookup("all"); len(all) != 10 { // two of each of five
		t.Errorf("all are %v", all)
	}
	old := n.members[netip.MustParseAddr("192.0.2.5")]
	join("b", "192.0.2.5", "again")
	n.Leave(old) // late
	if found, _ := n.Lookup("again"); len(found) != 2 {
		t.Errorf("the next run of b has %v, after the end of the last one", found)
	}
	if _, known := n.Lookup("b"); known {
		t.Error("the last run of b is still known")
	}
}
