// What members have to do with one another passes through here as packets. For who follows one of
// them, their headers are read as they pass: who asked whom, and what became of it. Nobody
// following costs nothing.

package stack

import (
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tiffin/internal/network"
)

// dialogues are the connections, flows and echoes between members that are being followed.
type dialogues struct {
	network *Network

	mu  sync.Mutex
	all map[dialogueKey]*dialogue
}

// dialogueKey is who began it and whom it went to. The ports of an echo are its identifier and 0.
type dialogueKey struct {
	protocol string // of a network.Flow
	flowKey
}

func (k dialogueKey) reversed() dialogueKey {
	return dialogueKey{k.protocol, flowKey{k.dst, k.src}}
}

// dialogue is one of them. dialogues.mu guards it.
type dialogue struct {
	dialogueKey
	began          time.Time
	open           bool    // it has been told
	sent, received int64   // bytes, as who began it sees them
	ended          [2]bool // directions of TCP: from the side that began it, and to it
	silence        *time.Timer
}

// see reads a packet that passes from one member to another; to is nil if nobody has its address.
func (x *dialogues) see(from, to *member, b []byte) {
	if from.follower.Load() == nil && (to == nil || to.follower.Load() == nil) {
		return
	}
	s := headersOf(b)
	if s.protocol == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if to == nil {
		if s.begins || s.protocol != network.TCP {
			x.end(&dialogue{dialogueKey: s.dialogueKey, began: time.Now()}, network.Unreachable)
		}
		return
	}
	e, back := x.find(s)
	if e == nil {
		return
	}
	if back {
		e.received += int64(s.size)
	} else {
		e.sent += int64(s.size)
	}
	x.advance(e, s, back)
}

// find finds what a packet belongs to, and in which direction it goes, or makes it; nil if there is
// too much already.
func (x *dialogues) find(s headers) (e *dialogue, back bool) {
	if e = x.all[s.dialogueKey]; e != nil && !(s.begins && e.open) {
		return e, false
	} else if e != nil { // its ports are used again
		x.end(e, network.Forgotten)
	}
	if e = x.all[s.reversed()]; e != nil {
		return e, true
	}
	late := s.protocol == network.TCP && !s.begins
	if s.answers || s.reset || late && s.size == 0 || len(x.all) >= maxFlows {
		return nil, false
	}
	if late && s.src.Port() < s.dst.Port() {
		// It began before anybody followed. Who serves has the smaller port, most of the time.
		s.dialogueKey, back = s.reversed(), true
	}
	e = &dialogue{dialogueKey: s.dialogueKey, began: time.Now()}
	if x.all == nil {
		x.all = map[dialogueKey]*dialogue{}
	}
	x.all[s.dialogueKey] = e
	return e, back
}

// advance takes note of what a packet does to an dialogue.
func (x *dialogues) advance(e *dialogue, s headers, back bool) {
	switch {
	case s.reset && (!e.open || s.protocol == network.UDP):
		x.end(e, network.Refused)
	case s.reset:
		x.end(e, network.Reset)
	case s.protocol == network.Echo:
		if back {
			x.end(e, network.Answered)
		} else {
			x.wait(e, echoTime, network.TimedOut)
		}
	case s.protocol == network.UDP:
		x.opened(e)
		if e.received > 0 {
			x.wait(e, answered, network.Forgotten)
		} else {
			x.wait(e, unanswered, network.Forgotten)
		}
	case s.begins:
	default:
		x.opened(e)
		if s.finishes {
			e.ended[index(back)] = true
		}
		if e.ended[0] && e.ended[1] {
			x.end(e, network.Closed)
		}
	}
}

func index(back bool) int {
	if back {
		return 1
	}
	return 0
}

// wait ends an dialogue after a time without packets.
func (x *dialogues) wait(e *dialogue, d time.Duration, result string) {
	if e.silence != nil {
		e.silence.Stop()
	}
	e.silence = time.AfterFunc(d, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.all[e.dialogueKey] == e {
			x.end(e, result)
		}
	})
}

func (x *dialogues) opened(e *dialogue) {
	if !e.open {
		e.open = true
		x.tell(e, network.Open)
	}
}

func (x *dialogues) end(e *dialogue, result string) {
	if e.silence != nil {
		e.silence.Stop()
	}
	if x.all[e.dialogueKey] == e {
		delete(x.all, e.dialogueKey)
	}
	x.tell(e, result)
}

// tell tells those who follow one of the two, each as that one sees it.
func (x *dialogues) tell(e *dialogue, result string) {
	f := network.Flow{Time: e.began, Protocol: e.protocol, To: e.dst, Sent: e.sent, Received: e.received, Result: result}
	if e.protocol == network.Echo {
		f.To = netip.AddrPortFrom(e.dst.Addr(), 0)
	}
	x.network.tell(e.src.Addr(), f)
	f.From, f.Sent, f.Received = e.src, f.Received, f.Sent
	if e.protocol == network.Echo {
		f.From = netip.AddrPortFrom(e.src.Addr(), 0)
	}
	x.network.tell(e.dst.Addr(), f)
}

// forget lets go of what a member has had to do with others: it has left, or nobody follows it any
// more, nor them.
func (x *dialogues) forget(m *member, left bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.all {
		other := e.dst.Addr()
		if other == m.IPv4 || other == m.IPv6 {
			other = e.src.Addr()
		} else if a := e.src.Addr(); a != m.IPv4 && a != m.IPv6 {
			continue
		}
		if left || !x.network.isFollowed(other) {
			x.end(e, network.Forgotten)
		}
	}
}

// headers are what there is to see in a packet.
type headers struct {
	dialogueKey
	size                             int  // bytes of its content
	begins, answers, finishes, reset bool // it cannot begin anything if it answers
}

// headersOf reads a packet; protocol is "" if there is nothing to see: a further fragment, or
// something that cannot be read.
func headersOf(b []byte) (s headers) {
	ip, body := content(b)
	if part := icmp(b); part != nil {
		return echoOf(part, ip)
	}
	switch {
	case ip.protocol == uint8(header.TCPProtocolNumber) && len(body) >= header.TCPMinimumSize:
		h := header.TCP(body)
		f := h.Flags()
		s.dialogueKey = dialogueKey{network.TCP, flowKey{netip.AddrPortFrom(ip.src, h.SourcePort()), netip.AddrPortFrom(ip.dst, h.DestinationPort())}}
		s.size = max(len(body)-int(h.DataOffset()), 0)
		s.begins = f.Contains(header.TCPFlagSyn) && !f.Contains(header.TCPFlagAck)
		s.answers = f.Contains(header.TCPFlagSyn | header.TCPFlagAck)
		s.finishes, s.reset = f.Contains(header.TCPFlagFin), f.Contains(header.TCPFlagRst)
	case ip.protocol == uint8(header.UDPProtocolNumber) && len(body) >= header.UDPMinimumSize:
		h := header.UDP(body)
		s.dialogueKey = dialogueKey{network.UDP, flowKey{netip.AddrPortFrom(ip.src, h.SourcePort()), netip.AddrPortFrom(ip.dst, h.DestinationPort())}}
		s.size = max(int(h.Length())-header.UDPMinimumSize, 0)
	}
	return s
}

// echoOf reads a message of ICMP: an echo, or that nobody serves where a packet of UDP went.
func echoOf(part []byte, ip ipHeader) (s headers) {
	f := family(ip.src)
	id := uint16(part[4])<<8 | uint16(part[5])
	s.dialogueKey = dialogueKey{network.Echo, flowKey{netip.AddrPortFrom(ip.src, id), netip.AddrPortFrom(ip.dst, 0)}}
	switch {
	case part[0] == echoRequest[f]:
		return s
	case part[0] == echoReply[f]:
		s.src, s.dst, s.answers = netip.AddrPortFrom(ip.src, 0), netip.AddrPortFrom(ip.dst, id), true
		return s
	case part[0] == noWay[f] && part[1] == codes[portUnreachable][f] && len(part) > 8:
		if about := headersOf(part[8:]); about.protocol == network.UDP {
			about.reset, about.size = true, 0
			return about
		}
	}
	return headers{}
}

// ipHeader is what matters in a header of IP.
type ipHeader struct {
	src, dst netip.Addr
	protocol uint8
}

// content takes a packet apart. What is behind the header is nil in further fragments; in a packet
// that is quoted it may be cut off.
func content(b []byte) (ip ipHeader, body []byte) {
	switch {
	case len(b) >= header.IPv4MinimumSize && b[0]>>4 == 4:
		h := header.IPv4(b)
		ip = ipHeader{address(h.SourceAddress()), address(h.DestinationAddress()), h.Protocol()}
		if n := int(h.HeaderLength()); n >= header.IPv4MinimumSize && n <= len(b) && h.FragmentOffset() == 0 {
			body = b[n:min(len(b), max(n, int(h.TotalLength())))]
		}
	case len(b) >= header.IPv6MinimumSize && b[0]>>4 == 6:
		h := header.IPv6(b)
		ip = ipHeader{address(h.SourceAddress()), address(h.DestinationAddress()), h.NextHeader()}
		body = b[header.IPv6MinimumSize:min(len(b), header.IPv6MinimumSize+int(h.PayloadLength()))]
	}
	return ip, body
}
