package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// with adds a body to a segment of TCP.
func with(b []byte, size int) []byte {
	b = append(b, make([]byte, size)...)
	header.IPv4(b).SetTotalLength(uint16(len(b)))
	return b
}

// TestWhatMembersHaveToDoWithOneAnother: what a trace of each of two is told of packets between
// them, and that nothing is kept when nobody follows any more.
func TestWhatMembersHaveToDoWithOneAnother(t *testing.T) {
	n := newNetwork(t)
	a, b := plugIn(t, n, "a"), plugIn(t, n, "b")
	members := map[netip.Addr]*member{a.addr: n.member(a.addr), b.addr: n.member(b.addr)}
	listen := func(m *member) *follower {
		f := &follower{queue: make(chan network.Flow, 100), enough: make(chan struct{})}
		m.follower.Store(f)
		return f
	}
	at, to := netip.AddrPortFrom(a.addr, 40000), netip.AddrPortFrom(b.addr, 80)
	const (
		syn, ack, fin, rst = header.TCPFlagSyn, header.TCPFlagAck, header.TCPFlagFin, header.TCPFlagRst
	)
	out := func(flags header.TCPFlags, size int) []byte { return with(segment(at, to, 1, 1, flags), size) }
	in := func(flags header.TCPFlags, size int) []byte { return with(segment(to, at, 1, 1, flags), size) }
	unserved := func() []byte { // by b
		sent := datagram(at, to, nil)
		m := header.ICMPv4(make([]byte, header.ICMPv4MinimumSize))
		m.SetType(header.ICMPv4DstUnreachable)
		m.SetCode(header.ICMPv4PortUnreachable)
		p := ping(b.addr, a.addr)
		p = with(append(p[:header.IPv4MinimumSize], append(m, sent...)...), 0)
		header.IPv4(p).SetChecksum(0)
		header.IPv4(p).SetChecksum(^header.IPv4(p).CalculateChecksum())
		return p
	}
	pong := ping(b.addr, a.addr)
	pong[header.IPv4MinimumSize] = byte(header.ICMPv4EchoReply)
	for _, e := range []struct {
		name         string
		packets      [][]byte
		begins, ends []string // as the first one sees it, and the other
	}{
		{"connection", [][]byte{out(syn, 0), out(syn, 0), in(syn|ack, 0), out(ack, 0), out(ack, 5), in(ack, 7), out(fin|ack, 0), in(fin|ack, 1), out(ack, 0)},
			[]string{"tcp open 0 0", "tcp closed 5 8"}, []string{"tcp open 0 0 from", "tcp closed 8 5 from"}},
		{"refusal", [][]byte{out(syn, 0), in(rst|ack, 0)}, []string{"tcp refused 0 0"}, []string{"tcp refused 0 0 from"}},
		{"reset", [][]byte{out(syn, 0), in(syn|ack, 0), out(ack, 3), out(rst, 0)}, []string{"tcp open 0 0", "tcp reset 3 0"}, []string{"tcp open 0 0 from", "tcp reset 0 3 from"}},
		{"one from before", [][]byte{in(ack, 0), in(ack, 9), in(rst, 0)}, []string{"tcp open 0 9", "tcp reset 0 9"}, []string{"tcp open 9 0 from", "tcp reset 9 0 from"}},
		{"nobody on the port", [][]byte{datagram(at, to, []byte("hello")), unserved()}, []string{"udp open 5 0", "udp refused 5 0"}, []string{"udp open 0 5 from", "udp refused 0 5 from"}},
		{"echo", [][]byte{ping(a.addr, b.addr), pong}, []string{"icmp answered 0 0"}, []string{"icmp answered 0 0 from"}},
		{"rubbish", [][]byte{out(ack, 0), in(rst, 0), in(syn|ack, 0), pong, unserved(), out(syn, 0)[:30], {0x45}, nil}, nil, nil},
	} {
		f, g := listen(members[a.addr]), listen(members[b.addr])
		for _, p := range e.packets {
			from, to := members[a.addr], members[b.addr]
			if h := header.IPv4(p); len(p) >= header.IPv4MinimumSize && address(h.SourceAddress()) == b.addr {
				from, to = to, from
			}
			n.passed.see(from, to, p)
		}
		for _, side := range []struct {
			f    *follower
			want []string
		}{{f, e.begins}, {g, e.ends}} {
			var got []string
			for len(side.f.queue) > 0 {
				s := <-side.f.queue
				line := fmt.Sprint(s.Protocol, " ", s.Result, " ", s.Sent, " ", s.Received)
				if s.From.IsValid() {
					line += " from"
				}
				if s.To.Addr() != b.addr || s.From.IsValid() && s.From.Addr() != a.addr {
					line += fmt.Sprint(" ", s.To, " ", s.From)
				}
				got = append(got, line)
			}
			if !slices.Equal(got, side.want) {
				t.Errorf("%s: %q, want %q", e.name, got, side.want)
			}
		}
		if len(n.passed.all) > 0 {
			t.Errorf("%s: %d are kept", e.name, len(n.passed.all))
		}
	}
	// Somebody who is not there; and what is left when a member leaves.
	f := listen(members[a.addr])
	n.passed.see(members[a.addr], nil, segment(at, netip.MustParseAddrPort("10.0.2.9:1"), 1, 0, syn))
	if e := <-f.queue; e.Result != network.Unreachable || e.To.Port() != 1 {
		t.Errorf("nobody there: %+v", e)
	}
	members[b.addr].follower.Store(nil)
	for _, p := range [][]byte{out(syn, 0), in(syn|ack, 0)} {
		n.passed.see(members[a.addr], members[b.addr], p)
	}
	n.passed.forget(members[b.addr], false) // the other one is followed
	if len(n.passed.all) != 1 {
		t.Errorf("%d are kept", len(n.passed.all))
	}
	n.passed.forget(members[b.addr], true)
	members[a.addr].follower.Store(nil)
	n.passed.see(members[a.addr], members[b.addr], out(syn, 0))
	if len(n.passed.all) > 0 {
		t.Errorf("%d are kept", len(n.passed.all))
	}
}

// TestFollowingEnds: a member is told no more, and can be followed again.
func TestFollowingEnds(t *testing.T) {
	n := newNetwork(t)
	m := n.member(plugIn(t, n, "a").addr)
	conn, file, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	theirs, err := wire.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	told := make(chan string)
	go func() {
		for {
			m := new(network.Message)
			if theirs.Receive(m) != nil {
				return
			}
			told <- m.Flow.Result
		}
	}()
	do := func(op string) {
		if _, err := n.do(conn, m, &network.Message{Op: op}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		do(network.OpFollow)
		n.tell(m.IPv4, network.Flow{Result: "heard"})
		if got := <-told; got != "heard" {
			t.Error(got)
		}
		do(network.OpIgnore)
		n.tell(m.IPv4, network.Flow{Result: "not heard"})
		select {
		case got := <-told:
			t.Error(got)
		case <-time.After(50 * time.Millisecond):
		}
	}
	do(network.OpIgnore) // nobody does
}
