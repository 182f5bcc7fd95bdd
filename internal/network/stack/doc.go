// Package stack is what the network program does: it holds the other ends of the cables that the
// network interfaces of containers hang on, and is all the world to them.
//
//	container                    network program                          host
//	 eth0 ═══ tap device ═══ tap ── Network ─┬─ member ═══ tap device ═══ another container
//	                                         ├─ netstack ── TCP ── socket ─┐
//	                                         │           └─ UDP ── socket ─┼─ whoever is meant
//	                                         ├─ pinger ─────────── socket ─┘
//	                                         └─ resolver ── the host's servers for names
//
// An ordinary user can send no packets, but can make sockets. So a packet of the container's goes
// no further than this program: a connection of TCP ends in the stack (gVisor's, which is a TCP/IP
// in Go), and another one begins, made by the host's kernel; what happens to the one is done to the
// other. That is all there is between inside and outside, and neither sees a difference: what is
// refused outside is refused inside, and what does not answer does not answer.
//
//	network.go   which way a packet goes; who is in the network
//	tap.go       packets from and to a cable
//	netstack.go  gVisor's stack, as the one who has all addresses
//	tcp.go udp.go icmp.go  the three protocols
//	dns.go       names
//	ip.go        headers, and errors for containers
//	trace.go     what a trace is told
//	between.go   what it is told of packets between members
//	serve.go     the life of the program
//	memory.go    memory
//
// # Which stack
//
// gVisor's packages below pkg/tcpip, at the version that gvisor-tap-vsock uses, but not
// gvisor-tap-vsock itself. Its forwarder accepts a connection before it knows whether the other
// side does, and closes both sides when one direction ends: half a connection, a refusal and a
// reset are lost. It also answers each ping in the name of hosts that are not there.
//
// # What is believed
//
// Packets are a stranger's, who is root inside. A packet whose source is not the member's own
// address is dropped. Lengths are checked here before anything is read, and by the stack. The
// container's kernel may leave sums out, so none are checked. Connections without an answer,
// flows, questions for names and pings are counted, and there are limits. This machine's own
// services are out of reach: 127.0.0.0/8 and ::1 in all their spellings are no destinations, nor
// are link-local addresses, which RFC 3927 section 7 keeps from being passed on; the gateway's
// addresses lead to loopback only if the user asks.
package stack
