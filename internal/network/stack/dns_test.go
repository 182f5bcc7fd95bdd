package stack

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tiffin/internal/network"
)

// ask makes a question, and reads the answer.
func ask(t *testing.T, r *resolver, name string, kind dnsmessage.Type, transport string) (code dnsmessage.RCode, found []string) {
	t.Helper()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(r.answer(b, transport, network.Private.IPv4.Addr())); err != nil || m.ID != 77 || !m.Response {
		t.Fatalf("%s: %v, %v", name, m.Header, err)
	}
	for _, a := range m.Answers {
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			found = append(found, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			found = append(found, netip.AddrFrom16(body.AAAA).String())
		case *dnsmessage.PTRResource:
			found = append(found, body.PTR.String())
		}
	}
	return m.RCode, found
}

// nameServer answers each question on both transports with one address, or not at all.
func nameServer(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil { // somebody has that port: the next one is another
		l.Close()
		return nameServer(t, ip)
	}
	t.Cleanup(func() { u.Close(); l.Close() })
	answer := func(b []byte) []byte {
		var m dnsmessage.Message
		if ip == "" || m.Unpack(b) != nil {
			return nil
		}
		m.Response = true
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()}}}
		out, _ := m.Pack()
		return out
	}
	go func() {
		for b := make([]byte, 512); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			if out := answer(b[:n]); out != nil {
				u.WriteTo([]byte("old"), from) // not what was asked for
				u.WriteTo(out, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if b, err := readFramed(c); err == nil && ip != "" {
				writeFramed(c, answer(b))
			}
			c.Close()
		}
	}()
	return u.LocalAddr().String()
}

func TestNames(t *testing.T) {
	n := newNetwork(t)
	if _, err := n.Join(network.Member{ID: "a", Names: []string{"web", "web.example"}}); err != nil {
		t.Fatal(err)
	}
	defer func(d time.Duration) { dnsPatience = d }(dnsPatience)
	dnsPatience = 10 * time.Second // the good one may be a little slow
	good, silent := nameServer(t, "192.0.2.7"), nameServer(t, "")
	var servers []string
	n.dns.servers = func() []string { return servers }
	check := func(name string, kind dnsmessage.Type, transport string, code dnsmessage.RCode, want ...string) {
		t.Helper()
		if got, found := ask(t, n.dns, name, kind, transport); got != code || !slices.Equal(found, want) {
			t.Errorf("%s, %v by %s: %v %v, want %v %v", name, kind, transport, got, found, code, want)
		}
	}
	// Members, whatever the host knows, and however the name is written.
	check("WEB.", dnsmessage.TypeA, "udp", dnsmessage.RCodeSuccess, "10.0.2.100")
	check("web.example.", dnsmessage.TypeAAAA, "tcp", dnsmessage.RCodeSuccess, "fd74:6966:6669:6e00::100")
	check("web.", dnsmessage.TypeMX, "udp", dnsmessage.RCodeSuccess)
	// Others, with no server, one, and one behind one that does not answer.
	check("other.", dnsmessage.TypeA, "udp", dnsmessage.RCodeServerFailure)
	servers = []string{good}
	check("other.", dnsmessage.TypeA, "udp", dnsmessage.RCodeSuccess, "192.0.2.7")
	check("other.", dnsmessage.TypeA, "tcp", dnsmessage.RCodeSuccess, "192.0.2.7")
	servers = []string{silent, good}
	check("other.", dnsmessage.TypeA, "udp", dnsmessage.RCodeSuccess, "192.0.2.7")
	// Addresses: of members, of none, of others, and what only looks like one.
	const six = "0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.6.9.6.6.6.6.6.9.6.4.7.d.f.ip6.arpa."
	check("100.2.0.10.IN-ADDR.arpa.", dnsmessage.TypePTR, "udp", dnsmessage.RCodeSuccess, "web.")
	check(six, dnsmessage.TypePTR, "tcp", dnsmessage.RCodeSuccess, "web.")
	check(six, dnsmessage.TypeA, "udp", dnsmessage.RCodeSuccess)
	check("101.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, "udp", dnsmessage.RCodeNameError)
	for _, name := range []string{"7.2.0.192.in-addr.arpa.", "2.0.10.in-addr.arpa.", "a.2.0.10.in-addr.arpa.", six[4:], "x" + six[1:], "ip6.arpa.", "in-addr.arpa."} {
		check(name, dnsmessage.TypePTR, "udp", dnsmessage.RCodeSuccess, "192.0.2.7")
	}
	began := time.Now()
	check("other.", dnsmessage.TypeA, "udp", dnsmessage.RCodeSuccess, "192.0.2.7")
	if took := time.Since(began); took >= dnsPatience {
		t.Errorf("the silent server is asked first again: %v", took)
	}
	if n.dns.answer([]byte("no question"), "udp", netip.Addr{}) != nil {
		t.Error("a packet that asks nothing is answered")
	}
}

// TestNamesOfAnInternalNetwork: nobody outside is asked, and one in several networks asks the next.
func TestNamesOfAnInternalNetwork(t *testing.T) {
	for _, several := range []bool{false, true} {
		n, err := New(network.Serve{Network: network.Private, Internal: true})
		if err != nil {
			t.Fatal(err)
		}
		n.dns.servers = func() []string {
			t.Error("somebody outside is asked")
			return nil
		}
		if _, err := n.Join(network.Member{ID: "a", Names: []string{"web"}, Several: several}); err != nil {
			t.Fatal(err)
		}
		want := dnsmessage.RCodeNameError
		if several {
			want = dnsmessage.RCodeServerFailure
		}
		for name, want := range map[string]dnsmessage.RCode{"web.": dnsmessage.RCodeSuccess, "other.example.": want, "other.": want, "7.2.0.192.in-addr.arpa.": want} {
			if got, _ := ask(t, n.dns, name, dnsmessage.TypeA, "udp"); got != want {
				t.Errorf("%s, several %v: %v, want %v", name, several, got, want)
			}
		}
		for _, a := range []string{"192.0.2.1", "10.0.2.2", "2001:db8::1"} {
			if _, ok := n.host(netip.MustParseAddr(a)); ok {
				t.Errorf("%s can be reached", a)
			}
		}
	}
}

func TestHostServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string][]string{
		"":                                {"127.0.0.1:53"},
		"search x\nnameserver\t9.9.9.9\n": {"9.9.9.9:53"},
		"nameserver ::1\nnameserver fe80::1%lo\nnameserver bad\nnameserver 1.1.1.1\nnameserver 8.8.8.8": {"[::1]:53", "[fe80::1%lo]:53", "1.1.1.1:53"},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hostServers(file); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := hostServers(filepath.Join(t.TempDir(), "none")); !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("without a file: %v", got)
	}
}
