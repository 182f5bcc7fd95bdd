// Datagrams: each client of a port has a flow, a socket that is connected to the server.

package port

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
)

const (
	// silence is how long a flow is kept that nothing comes through: a client that asks again later
	// is a new one to the server.
	silence = 90 * time.Second
	// maxFlows is how many there are at most: whoever can send datagrams can invent senders. Beyond
	// it the flow that was silent for longest goes.
	maxFlows = 4096
)

// datagrams waits for a door of UDP.
type datagrams struct{ *door }

// from is who has sent a datagram, to which door, and to which of the host's addresses.
type from struct {
	door   *door
	client netip.AddrPort
}

// flow is the way back to a client.
type flow struct {
	*loop
	from
	fd   int
	to   netip.AddrPort // the server
	own  []byte         // control message that makes answers come from the address that was asked
	last time.Time

	began          time.Time
	sent, received int64 // bytes, as the container sees them
}

// tell tells of a flow.
func (f *flow) tell(result string) {
	f.loop.tell(network.UDP, f.client, f.to, f.began, f.sent, f.received, result)
}

// flows are the flows of a loop.
type flows struct {
	doors []*door
	all   map[from]*flow
}

// ready takes what has come from clients to their flows.
func (d *datagrams) ready(uint32) {
	var oob [128]byte
	for range turn {
		n, oobn, _, sa, err := unix.Recvmsg(d.fd, d.buf, oob[:], 0)
		if err != nil {
			return // nothing more, or an error of ICMP that an answer has caused
		}
		f := d.flows.find(d.door, addrPort(sa), oob[:oobn])
		if f == nil {
			continue // no descriptors: a datagram may be lost
		}
		f.last, f.received = time.Now(), f.received+int64(n)
		if _, err := unix.Write(f.fd, d.buf[:n]); err == unix.ECONNREFUSED {
			f.tell(network.Refused)
			_, _ = unix.Write(f.fd, d.buf[:n]) // that was the answer to one before
		}
	}
}

// find is the flow of a client, a new one if there is none.
func (fs *flows) find(d *door, client netip.AddrPort, oob []byte) *flow {
	key := from{d, client}
	if f := fs.all[key]; f != nil {
		return f
	}
	if fs.all == nil {
		fs.all = map[from]*flow{}
	}
	if len(fs.all) >= maxFlows {
		fs.drop(d.loop, fs.oldest())
	}
	for _, to := range servers(client.Addr(), d.port.Container) {
		fd, err := d.sources.socket(unix.SOCK_DGRAM, to.Addr(), client.Addr())
		if err != nil {
			continue
		}
		f := &flow{loop: d.loop, from: key, fd: fd, to: to, own: append([]byte(nil), oob...), began: time.Now()}
		if unix.Connect(fd, sockaddr(to)) == nil && d.wait(fd, unix.EPOLLIN, f) == nil {
			fs.all[key] = f
			f.tell(network.Open)
			return f
		}
		unix.Close(fd)
	}
	return nil
}

// ready takes answers to the client.
func (f *flow) ready(uint32) {
	for range turn {
		n, err := unix.Read(f.fd, f.buf)
		if err != nil {
			return // nothing more; or nobody listens, which only ICMP could tell the client
		}
		f.last, f.sent = time.Now(), f.sent+int64(n)
		_ = unix.Sendmsg(f.door.fd, f.buf[:n], f.own, sockaddr(f.client), 0)
	}
}

func (fs *flows) oldest() (oldest *flow) {
	for _, f := range fs.all {
		if oldest == nil || f.last.Before(oldest.last) {
			oldest = f
		}
	}
	return oldest
}

// sweep ends the flows that have been silent for long.
func (fs *flows) sweep(l *loop, now time.Time) {
	for _, f := range fs.all {
		if now.Sub(f.last) > silence {
			fs.drop(l, f)
		}
	}
}

func (fs *flows) drop(l *loop, f *flow) {
	f.tell(network.Forgotten)
	l.close(f.fd)
	delete(fs.all, f.from)
}
