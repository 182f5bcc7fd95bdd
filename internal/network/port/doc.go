// Package port carries bytes between the ports of the host that a container publishes and the
// servers inside. No packet is built or taken apart: both ends are sockets of the kernel's.
//
//	client ── host's network namespace ──┐
//	                                     helper: accept, connect, splice
//	server ── container's network ───────┘
//
// A socket belongs for its whole life to the network namespace in which it was made
// (network_namespaces(7)), and a process can hold sockets of several. So the supervisor, which is
// in the host's network, makes the listening sockets ([Listen]: a conflict is an error of the
// start). When the first client comes, it starts a helper in the container's user and network
// namespace and hands them over ([Listeners.Serve]). The helper ([Main]) accepts there, and makes
// its other sockets where it is. A container needs no network device for that: loopback is enough.
// Until somebody connects there is no helper, and one that was killed is started again.
//
// # What a client sees
//
// What the one side does, the other gets: the end of its bytes as a shutdown(2), a reset as a
// reset, a reader that is slow as a full buffer. One thing cannot be kept: the host's kernel has
// accepted a connection before the helper knows of it, so that a server which refuses shows as a
// reset right after the connection.
//
// # What a server sees
//
// A connection that comes from 127.0.0.1 is trusted by many a server, so the helper must not appear
// as that (podman's CVE-2021-20199). It gives its sockets the address of the client, which is
// foreign there, with IP_TRANSPARENT of ip(7); a routing rule brings the answers back (source.go).
// For a client that is on the host's loopback, one over the other version of IP, and all of UDP,
// where a server may answer to anybody from any socket, it uses network.Forwarder instead. A
// server that listens neither on loopback nor on all addresses sees its own.
//
// # How bytes are carried
//
// Each thread has a loop around epoll_wait(2), edge-triggered: an event says no more than that it
// is worth to try. What comes in small pieces is read and written; once a read fills the buffer,
// splice(2) moves pages from socket to socket through a pipe, without a copy. Pipes are lent to a
// connection while bytes are in them, so that an idle one costs two sockets.
package port
