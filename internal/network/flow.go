// What a trace of a network shows.

package network

import (
	"net/netip"
	"time"
)

// Protocols of a flow, besides those of ports.
const (
	DNS  = "dns"
	Echo = "icmp"
)

// Flow is something that a container has to do with the world outside, or with another container:
// a question for a name, a connection, the packets between two ports, an echo. Connections and
// packets have two events, at their beginning (Open) and end.
type Flow struct {
	Time     time.Time      `json:"time"`               // of its beginning
	Duration time.Duration  `json:"ns,omitempty"`       // until this event
	Protocol string         `json:"protocol"`           // DNS, TCP, UDP or Echo
	To       netip.AddrPort `json:"to,omitzero"`        // whom the container asked for, or its own side
	From     netip.AddrPort `json:"from,omitzero"`      // who has asked for the container; zero: it asked
	Question string         `json:"question,omitempty"` // name and type, as the container wrote them
	Answers  []string       `json:"answers,omitempty"`  // to the question, as the server wrote them
	Sent     int64          `json:"sent,omitempty"`     // bytes from the container
	Received int64          `json:"received,omitempty"`
	Result   string         `json:"result"` // Open, Closed …, or the name of an error of DNS, RFC 6895 section 2.3
	// Dropped is how many events are missing before this one: the reader was too slow.
	Dropped uint64 `json:"dropped,omitempty"`
}

// Results.
const (
	Open        = "open"
	Closed      = "closed"  // by both sides
	Reset       = "reset"   // by one side
	Forgotten   = "silent"  // packets of UDP that had no successors
	Refused     = "refused" // nobody serves there
	Prohibited  = "not allowed"
	Failed      = "failed"
	TimedOut    = "timed out" // no answer
	Unreachable = "unreachable"
	Answered    = "answered"
)
