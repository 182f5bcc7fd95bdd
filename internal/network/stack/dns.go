// The gateway is also the server for names: those of members it knows, and for all others it asks
// the servers that the host would, and passes on what they say.

package stack

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsPort      = 53
	dnsIdle      = 10 * time.Second // RFC 7766 section 6.2.3: a connection without questions
	maxQuestions = 256              // at a time; further ones are lost, and asked again
	maxServers   = 3                // resolver(3), MAXNS
	nameTTL      = 5                // seconds that members' names may be kept: they come and go
)

// dnsPatience is for one of the host's servers, before the next is asked.
var dnsPatience = 2 * time.Second

// resolver answers questions.
type resolver struct {
	network *Network
	servers func() []string // those of the host, as "ADDRESS:PORT"
	first   atomic.Int32    // the server that has answered last
	asking  atomic.Int32
}

// isResolver tells whether packets to an address are for the server.
func (n *Network) isResolver(to netip.AddrPort) bool {
	return to.Port() == dnsPort && (to.Addr() == n.config.Network.Gateway4 || to.Addr() == n.config.Network.Gateway6)
}

// serveUDP answers a question that came in a packet.
func (r *resolver) serveUDP(question []byte, from netip.Addr, send func([]byte)) {
	began := time.Now()
	answer := r.answer(question, "udp", from)
	r.network.tellNames(from, began, question, answer)
	if answer != nil {
		send(answer)
	}
}

// serveTCP answers the questions of a connection: each has its length before it, RFC 1035 section
// 4.2.2.
func (r *resolver) serveTCP(c net.Conn, from netip.Addr) {
	defer c.Close()
	for {
		_ = c.SetDeadline(time.Now().Add(dnsIdle))
		question, err := readFramed(c)
		if err != nil {
			return
		}
		began := time.Now()
		answer := r.answer(question, "tcp", from)
		r.network.tellNames(from, began, question, answer)
		if answer == nil || writeFramed(c, answer) != nil {
			return
		}
	}
}

func readFramed(c io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func writeFramed(c io.Writer, b []byte) error {
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// answer returns the answer to a question of a member, nil if it is none.
func (r *resolver) answer(question []byte, transport string, from netip.Addr) []byte {
	defer r.asking.Add(-1)
	if r.asking.Add(1) > maxQuestions {
		return nil
	}
	var p dnsmessage.Parser
	h, err := p.Start(question)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return reply(h, nil, dnsmessage.RCodeFormatError, nil, "")
	}
	name := strings.TrimSuffix(q.Name.String(), ".")
	if found, ok := r.network.Lookup(name); ok {
		return reply(h, &q, dnsmessage.RCodeSuccess, found, "")
	}
	if a, ok := reverse(name); ok && r.network.inside(a) {
		if called := r.network.nameOf(a); called != "" {
			return reply(h, &q, dnsmessage.RCodeSuccess, nil, called)
		}
		return reply(h, &q, dnsmessage.RCodeNameError, nil, "") // whom nobody outside knows either
	}
	several, servers := r.network.manners(from)
	switch {
	case several && (r.network.config.Internal || !strings.Contains(name, ".")):
		// Another of its networks may have the name: with this answer, the C library, and others,
		// ask the next server.
		return reply(h, &q, dnsmessage.RCodeServerFailure, nil, "")
	case r.network.config.Internal:
		return reply(h, &q, dnsmessage.RCodeNameError, nil, "")
	}
	answer, err := r.ask(question, transport, servers)
	if err != nil {
		return reply(h, &q, dnsmessage.RCodeServerFailure, nil, "")
	}
	return answer
}

// manners tell how a member's questions for names that nobody here has are answered: whether it is
// in further networks, where they may be known, and which servers are asked instead of the host's.
func (n *Network) manners(from netip.Addr) (several bool, servers []string) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	m := n.members[from]
	if m == nil {
		return false, nil
	}
	for _, a := range m.Servers {
		servers = append(servers, netip.AddrPortFrom(a, dnsPort).String())
	}
	return m.Several, servers
}

// nameOf is the name of the member with an address, "" if there is none.
func (n *Network) nameOf(a netip.Addr) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if m := n.members[a]; m != nil && len(m.Names) > 0 {
		return m.Names[0]
	}
	return ""
}

// reverse reads the name by which an address is asked for: RFC 1035 section 3.5, RFC 3596 section
// 2.5.
func reverse(name string) (a netip.Addr, ok bool) {
	name = strings.ToLower(name)
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(digits, ".")
		slices.Reverse(parts)
		a, err := netip.ParseAddr(strings.Join(parts, "."))
		return a, err == nil && a.Is4()
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa")
	parts := strings.Split(digits, ".")
	slices.Reverse(parts)
	b, err := hex.DecodeString(strings.Join(parts, ""))
	if !ok || err != nil || len(b) != 16 || len(parts) != 32 {
		return a, false
	}
	return netip.AddrFrom16([16]byte(b)), true
}

// reply makes an answer of what this server knows itself: the addresses of a name, or the name of
// an address.
func reply(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode, found []netip.Addr, called string) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code})
	b.EnableCompression()
	if q != nil {
		_ = b.StartQuestions()
		_ = b.Question(*q)
		_ = b.StartAnswers()
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: nameTTL}
		if name, err := dnsmessage.NewName(called + "."); err == nil && called != "" && q.Type == dnsmessage.TypePTR {
			_ = b.PTRResource(rh, dnsmessage.PTRResource{PTR: name})
		}
		for _, a := range found {
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				_ = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				_ = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
			}
		}
	}
	answer, err := b.Finish()
	if err != nil {
		return nil
	}
	return answer
}

// ask asks these servers, or the host's if there are none, beginning with the one that has answered
// last.
func (r *resolver) ask(question []byte, transport string, servers []string) (answer []byte, err error) {
	if servers == nil {
		servers = r.servers()
	}
	first := int(r.first.Load())
	err = errors.New("no server for names")
	for i := range servers {
		n := (first + i) % len(servers)
		if answer, err = exchange(servers[n], question, transport); err == nil {
			r.first.Store(int32(n))
			return answer, nil
		}
	}
	return nil, err
}

// exchange asks one server.
func exchange(server string, question []byte, transport string) ([]byte, error) {
	c, err := net.DialTimeout(transport, server, dnsPatience)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dnsPatience))
	if transport == "tcp" {
		if err := writeFramed(c, question); err != nil {
			return nil, err
		}
		return readFramed(c)
	}
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	for answer := make([]byte, maxPacket); ; {
		n, err := c.Read(answer)
		if err != nil {
			return nil, err
		}
		if n >= 2 && [2]byte(answer) == [2]byte(question) { // the identifier: not an old answer
			return answer[:n], nil
		}
	}
}

// hostServers reads resolv.conf(5).
func hostServers(path string) (servers []string) {
	if path == "" {
		path = "/etc/resolv.conf"
	}
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" || len(servers) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(a, dnsPort).String())
		}
	}
	if servers == nil {
		servers = []string{"127.0.0.1:53"} // resolv.conf(5), "nameserver"
	}
	return servers
}
