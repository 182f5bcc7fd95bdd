// Traces: whoever follows a member's connection may ask to be told what the member does.

package stack

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// flowQueue is how many events may wait for their reader.
const flowQueue = 1024

// maxAnswers is how many records of an answer are told.
const maxAnswers = 8

// follower is told of a member's flows. What comes too fast is counted and left out: no packet
// waits for a reader.
type follower struct {
	queue   chan network.Flow
	dropped atomic.Uint64
	enough  chan struct{} // closed: nobody listens any more
}

// follow begins to tell conn what a member does, until leaving is closed.
func follow(conn *wire.Conn, leaving <-chan struct{}) *follower {
	f := &follower{queue: make(chan network.Flow, flowQueue), enough: make(chan struct{})}
	go func() {
		for {
			select {
			case e := <-f.queue:
				e.Dropped = f.dropped.Swap(0)
				if conn.Send(&network.Message{Op: network.AnsFlow, Flow: &e}) != nil {
					return
				}
			case <-f.enough:
				return
			case <-leaving:
				return
			}
		}
	}()
	return f
}

// tell tells who follows the member with an address of a flow that began at a moment, if anyone
// does.
func (n *Network) tell(member netip.Addr, e network.Flow) {
	m := n.member(member)
	if m == nil {
		return
	}
	f := m.follower.Load()
	if f == nil {
		return
	}
	e.Duration = time.Since(e.Time)
	select {
	case f.queue <- e:
	default:
		f.dropped.Add(1)
	}
}

// result puts why there is no connection into the words of a trace.
func result(err error) string {
	switch u, ok := why(err); {
	case err == nil:
		return network.Answered
	case ok && u == portUnreachable:
		return network.Refused
	case ok && u == prohibited:
		return network.Prohibited
	case ok:
		return network.Unreachable
	case isTimeout(err), errors.Is(err, unix.ETIMEDOUT):
		return network.TimedOut
	}
	return network.Failed
}

// isFollowed tells whether it is worth reading a question and its answer.
func (n *Network) isFollowed(member netip.Addr) bool {
	m := n.member(member)
	return m != nil && m.follower.Load() != nil
}

// errorNames are the mnemonics of RFC 6895 section 2.3.
var errorNames = map[dnsmessage.RCode]string{dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL",
	dnsmessage.RCodeNameError: "NXDOMAIN", dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED"}

// tellNames tells of a question for a name, and its answer, which is nil if there is none.
func (n *Network) tellNames(member netip.Addr, began time.Time, question, answer []byte) {
	if !n.isFollowed(member) {
		return
	}
	e := network.Flow{Time: began, Protocol: network.DNS, Result: network.TimedOut}
	var p dnsmessage.Parser
	if _, err := p.Start(question); err == nil {
		if q, err := p.Question(); err == nil {
			e.Question = q.Name.String() + " " + strings.TrimPrefix(q.Type.String(), "Type")
		}
	}
	if h, err := p.Start(answer); err == nil {
		e.Result = network.Answered
		if h.RCode != dnsmessage.RCodeSuccess {
			if e.Result = errorNames[h.RCode]; e.Result == "" {
				e.Result = network.Failed
			}
		} else if p.SkipAllQuestions() == nil {
			e.Answers = records(&p)
		}
	}
	n.tell(member, e)
}

// records are those of an answer, as far as they can be read.
func records(p *dnsmessage.Parser) (all []string) {
	for len(all) < maxAnswers {
		r, err := p.Answer()
		if err != nil {
			break
		}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(body.AAAA).String())
		case *dnsmessage.CNAMEResource:
			all = append(all, body.CNAME.String())
		case *dnsmessage.PTRResource:
			all = append(all, body.PTR.String())
		case *dnsmessage.MXResource:
			all = append(all, body.MX.String())
		default:
			all = append(all, strings.TrimPrefix(r.Header.Type.String(), "Type"))
		}
	}
	return all
}
