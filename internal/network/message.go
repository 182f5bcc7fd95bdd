// What is said on a connection to the network program, in lines of package wire.
//
// Whoever starts the program configures it (OpServe), on the connection that it inherits. If it is
// for one container, that is the container's connection as well; if for a network with a name, it
// comes along a socket on which the members' connections arrive, and the program ends when the last
// of them has. A member's connection says who it is (OpJoin), is told its addresses (AnsJoined),
// and hands over its interface (OpTap). When the connection ends, the member has left.

package network

import (
	"net/netip"
	"os"

	"tiffin/internal/wire"
)

// ProgramCommand is the first argument of the network program.
const ProgramCommand = "__network"

// Operations and answers.
const (
	OpServe    = "serve"   // Serve; 1 file if there are members' connections to accept
	OpJoin     = "join"    // Member
	AnsServing = "serving" // members can come
	AnsJoined  = "joined"  // Member, with its addresses
	OpTap      = "tap"     // 1 file: an open tap device
	OpChange   = "change"  // Member: it is in several networks now, or not any more
	OpLeave    = "leave"   // the answer is the end of the connection: the tap device is closed here
	OpFollow   = "follow"  // be told of the member's flows from now on
	OpIgnore   = "ignore"  // no more
	AnsFlow    = "flow"    // Flow; more follow
	AnsError   = "error"   // nothing follows
)

// Message is one line.
type Message struct {
	Op       string      `json:"op"`
	NumFiles int         `json:"files,omitempty"`
	Serve    *Serve      `json:"serve,omitempty"`
	Member   *Member     `json:"member,omitempty"`
	Flow     *Flow       `json:"flow,omitempty"`
	Error    *wire.Error `json:"error,omitempty"`
	Files    []*os.File  `json:"-"`
}

// Attached implements wire.Message.
func (m *Message) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.Files }

// Close closes the files that came with the message.
func (m *Message) Close() {
	for _, f := range m.Files {
		f.Close()
	}
}

// Serve says what the program is to do.
type Serve struct {
	Network Addresses `json:"network"` // prefixes, gateways and MTU
	// Internal leaves the world outside of the network out of reach.
	Internal bool `json:"internal,omitempty"`
	// HostLoopback makes the gateway's addresses those of the host's loopback.
	HostLoopback bool `json:"hostLoopback,omitempty"`
	// Resolvers is the path of the host's resolv.conf(5), "" = /etc/resolv.conf. It is read for
	// each question.
	Resolvers string `json:"resolvers,omitempty"`
	// Absent are containers that were in the network before this program, and will join again: for
	// a while nobody else gets their addresses.
	Absent []Member `json:"absent,omitempty"`
}

// Member is a container in a network.
type Member struct {
	ID    string     `json:"id"`
	Names []string   `json:"names,omitempty"` // by which other members find it
	IPv4  netip.Addr `json:"ipv4,omitzero"`   // zero: any that is free
	IPv6  netip.Addr `json:"ipv6,omitzero"`
	// Servers are asked for names that no member has, instead of the host's.
	Servers []netip.Addr `json:"servers,omitempty"`
	// Several says that it is in further networks, where other names are known.
	Several bool `json:"several,omitempty"`
}
