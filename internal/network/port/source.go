// Whom a server sees: the client's address, as far as that can be.

package port

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
)

// The routing table that brings answers back, and where its rules stand: behind those for the
// container's own addresses (0), before those for all others (32766). ip-rule(8).
const (
	table    = 7747
	priority = 100
)

// sources says, for IPv4 and IPv6, whether foreign addresses can be used.
type sources struct{ v4, v6 bool }

// openSources adds the rules to the network of this process. A packet from a server on loopback to
// a client's address would leave by the default route; these keep it:
//
//	ip rule add from 127.0.0.0/8 lookup 7747 pref 100
//	ip rule add to FORWARDER lookup 7747 pref 100
//	ip route add local default dev lo src 127.0.0.1 table 7747
//
// Nothing else has such a sender: packets from loopback to another machine are not sent,
// RFC 1122, section 3.2.1.3 (g). The source of the route is for servers that answer from an
// unbound socket, over UDP.
func openSources() (s sources, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return s, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	var e4, e6 error
	for _, m := range rules(netip.MustParsePrefix("127.0.0.0/8"), netip.AddrFrom4([4]byte{127, 0, 0, 1}), network.Forwarder4) {
		e4 = errors.Join(e4, m.ask(fd))
	}
	for _, m := range rules(netip.MustParsePrefix("::1/128"), netip.IPv6Loopback(), network.Forwarder6) {
		e6 = errors.Join(e6, m.ask(fd))
	}
	return sources{e4 == nil, e6 == nil}, errors.Join(e4, e6)
}

// rules are the three lines above.
func rules(loopback netip.Prefix, server, forwarder netip.Addr) []*rtMessage {
	from := newRTMessage(unix.RTM_NEWRULE, server, 0, loopback.Bits(), unix.FR_ACT_TO_TBL)
	from.attribute(unix.FRA_SRC, loopback.Addr().AsSlice())
	to := newRTMessage(unix.RTM_NEWRULE, server, server.BitLen(), 0, unix.FR_ACT_TO_TBL)
	to.attribute(unix.FRA_DST, forwarder.AsSlice())
	for _, m := range []*rtMessage{from, to} {
		m.attribute(unix.FRA_TABLE, binary.NativeEndian.AppendUint32(nil, table))
		m.attribute(unix.FRA_PRIORITY, binary.NativeEndian.AppendUint32(nil, priority))
	}
	route := newRTMessage(unix.RTM_NEWROUTE, server, 0, 0, unix.RTN_LOCAL)
	route.attribute(unix.RTA_TABLE, binary.NativeEndian.AppendUint32(nil, table))
	route.attribute(unix.RTA_PREFSRC, server.AsSlice())
	route.attribute(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, loopbackIndex))
	return []*rtMessage{from, to, route}
}

// loopbackIndex is the number of lo, the first interface of every network namespace.
const loopbackIndex = 1

// rtMessage is a request of rtnetlink(7).
type rtMessage struct{ b []byte }

// newRTMessage begins a request with struct nlmsghdr, netlink(7), and struct rtmsg, rtnetlink(7):
// struct fib_rule_hdr has the same fields, with the action for the type.
func newRTMessage(kind uint16, family netip.Addr, dstLen, srcLen int, typ byte) *rtMessage {
	m := &rtMessage{}
	af := byte(unix.AF_INET)
	if family.Is6() {
		af = unix.AF_INET6
	}
	m.b = binary.NativeEndian.AppendUint32(m.b, 0) // length: ask
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
	m.b = binary.NativeEndian.AppendUint16(m.b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	m.b = append(m.b, make([]byte, 8)...) // sequence number, port
	m.b = append(m.b, af, byte(dstLen), byte(srcLen), 0, unix.RT_TABLE_UNSPEC)
	if kind == unix.RTM_NEWROUTE {
		m.b = append(m.b, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, typ)
	} else {
		m.b = append(m.b, 0, 0, typ)
	}
	m.b = append(m.b, 0, 0, 0, 0) // flags
	return m
}

// attribute adds a struct rtattr with its value; lengths are multiples of 4 bytes.
func (m *rtMessage) attribute(kind uint16, value []byte) {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(unix.SizeofRtAttr+len(value)))
	m.b = append(binary.NativeEndian.AppendUint16(m.b, kind), value...)
}

// ask sends the request, and reads the answer. What is there already, from a helper before this
// one, is as good.
func (m *rtMessage) ask(fd int) error {
	binary.NativeEndian.PutUint32(m.b, uint32(len(m.b)))
	err := unix.Sendto(fd, m.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	answer := make([]byte, 1024)
	n := 0
	if err == nil {
		n, _, err = unix.Recvfrom(fd, answer, 0)
	}
	if err == nil && n >= unix.SizeofNlMsghdr+4 {
		// struct nlmsgerr: a negative errno, 0 for none.
		if e := -int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); e != 0 && unix.Errno(e) != unix.EEXIST {
			err = unix.Errno(e)
		}
	}
	if err != nil {
		return fmt.Errorf("add a rule to the container's routes: %w", err)
	}
	return nil
}

// dial begins a connection to a server, for a client of that address. It does not wait.
func (s sources) dial(to netip.AddrPort, client netip.Addr) (fd int, err error) {
	fd, err = s.socket(unix.SOCK_STREAM, to.Addr(), client)
	if err != nil {
		return -1, err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), resetUnlessFinished(fd, true))
	if err == nil {
		err = unix.Connect(fd, sockaddr(to))
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// socket makes a socket that will reach a server, for a client: as that, or as the forwarder. To an
// address that is not loopback no rule would bring answers back: it has that address itself.
func (s sources) socket(kind int, server, client netip.Addr) (fd int, err error) {
	family, level, transparent, able, as := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TRANSPARENT, s.v4, network.Forwarder4
	if server.Is6() {
		family, level, transparent, able, as = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, s.v6, network.Forwarder6
	}
	if kind == unix.SOCK_STREAM && client.Is4() == server.Is4() && !client.IsLoopback() && !client.IsLinkLocalUnicast() {
		as = client
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil || !able || !server.IsLoopback() {
		return fd, err
	}
	// IP_BIND_ADDRESS_NO_PORT, ip(7): the port is chosen by connect(2), which knows the other side.
	err = setOptions(fd, []option{{level, transparent, 1}, {unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1}})
	if err == nil {
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(as, 0)))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
