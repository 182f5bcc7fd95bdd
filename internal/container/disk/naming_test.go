// What is in /etc/hosts and /etc/resolv.conf of a container.

package disk

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"tiffin/ns"
)

// contents are the files of a container.
func contents(c *Config) map[string]string {
	all := map[string]string{}
	for _, f := range c.Plan(ns.IDMap{}).Files {
		all[f.Target] = f.Content
	}
	return all
}

func TestNamesOfAContainer(t *testing.T) {
	own := contents(&Config{Hostname: "box", Network: "none"})
	if own["/etc/hostname"] != "box\n" || !strings.Contains(own["/etc/hosts"], "127.0.1.1\tbox\n") || strings.Contains(own["/etc/resolv.conf"], "nameserver") {
		t.Errorf("%q", own)
	}
	ip, ip6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	own = contents(&Config{Hostname: "box", Network: "none", Naming: Naming{
		Domainname: "example.org", Hosts: []Host{{"a_b", ip}, {"c", ip6}}, DNS: []netip.Addr{ip, ip6}, DNSSearch: []string{"x.org", "y.org"}, DNSOptions: []string{"ndots:2", "edns0"},
	}})
	if h := own["/etc/hosts"]; !strings.HasPrefix(h, "192.0.2.1\ta_b\n2001:db8::1\tc\n127.0.0.1\t") || !strings.HasSuffix(h, "\n127.0.1.1\tbox.example.org box\n") {
		t.Errorf("%q", h)
	}
	if want := "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch x.org y.org\noptions ndots:2 edns0\n"; own["/etc/resolv.conf"] != want {
		t.Errorf("%q, want %q", own["/etc/resolv.conf"], want)
	}
	if own["/etc/hostname"] != "box\n" {
		t.Errorf("%q", own)
	}
}

func TestNamesAreTheHostsWhereTheNetworkIs(t *testing.T) {
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Skip(err)
	}
	me, _ := os.Hostname()
	c := &Config{Hostname: me, Network: "host"}
	if got := contents(c)["/etc/hosts"]; got != string(hosts) {
		t.Errorf("%q, want %q", got, hosts)
	}
	c.Hostname, c.Hosts = "other.name", []Host{{"first", netip.MustParseAddr("192.0.2.1")}}
	want := "192.0.2.1\tfirst\n" + strings.TrimRight(string(hosts), "\n") + "\n127.0.1.1\tother.name other\n"
	if got := contents(c)["/etc/hosts"]; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	c.DNS, c.DNSSearch, c.DNSOptions = []netip.Addr{netip.MustParseAddr("192.0.2.53")}, []string{"."}, []string{"timeout:1"}
	got := contents(c)["/etc/resolv.conf"]
	if strings.Count(got, "nameserver") != 1 || !strings.HasSuffix(got, "nameserver 192.0.2.53\noptions timeout:1\n") {
		t.Errorf("%q", got)
	}
}

func TestWhatAUserSaysOverridesLinesOfTheHost(t *testing.T) {
	text := []string{"# comment", "nameserver 1.1.1.1", "nameserver\t9.9.9.9", "domain d", "search a b", "options ndots:1", "sortlist 1.1.1.1", ""}
	for _, e := range []struct {
		say  Naming
		left []int
	}{
		{Naming{}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{Naming{DNS: []netip.Addr{{}}}, []int{0, 3, 4, 5, 6, 7}},
		{Naming{DNSSearch: []string{"."}}, []int{0, 1, 2, 5, 6, 7}},
		{Naming{DNSOptions: []string{"edns0"}}, []int{0, 1, 2, 3, 4, 6, 7}},
	} {
		var left []int
		for i, line := range text {
			if !e.say.overridden(line) {
				left = append(left, i)
			}
		}
		if !slices.Equal(left, e.left) {
			t.Errorf("%+v leaves %v, want %v", e.say, left, e.left)
		}
	}
}

func TestNamesAreChecked(t *testing.T) {
	for s, want := range map[string]string{"a:192.0.2.1": "a:192.0.2.1", "a=::1": "a:::1", "a:[::1]": "a:::1", "my_db.x:::2": "my_db.x:::2"} {
		if h, err := ParseHost(s); err != nil || h.String() != want {
			t.Errorf("%q: %v, %v", s, h, err)
		}
	}
	for _, s := range []string{"", "a", "a:", ":1.2.3.4", "a:1.2.3", "a:b", "a b:1.2.3.4", "a\nb:1.2.3.4", "a:fe80::1%eth0", "a:1.2.3.4\n5.6.7.8 b"} {
		if h, err := ParseHost(s); err == nil {
			t.Errorf("%q is taken for %v", s, h)
		}
	}
	for _, n := range []Naming{
		{Domainname: "a b"}, {DNS: make([]netip.Addr, 4)}, {DNSSearch: []string{"a\nnameserver 6.6.6.6"}}, {DNSOptions: []string{"a b"}}, {DNSOptions: []string{"a\nb"}}, {DNSOptions: []string{""}},
	} {
		if n.Check() == nil {
			t.Errorf("%+v is taken", n)
		}
	}
	if err := (&Naming{Domainname: "a.b", DNSSearch: []string{".", "_tcp.x"}, DNSOptions: []string{"ndots:2"}}).Check(); err != nil {
		t.Error(err)
	}
}
