// What ip changes: one request of rtnetlink(7) each, which the kernel answers with an error number
// or 0.

package box

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// change asks for one change: netlink(7), NLM_F_ACK.
func change(request uint16, flags uint16, body ...[]byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	e := binary.NativeEndian
	req := make([]byte, unix.NLMSG_HDRLEN)
	e.PutUint16(req[4:], request)
	e.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	req = slices.Concat(append([][]byte{req}, body...)...)
	e.PutUint32(req, uint32(len(req)))
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 {
		return errors.New("netlink: an answer cut short")
	}
	if errno := -int32(e.Uint32(buf[unix.NLMSG_HDRLEN:])); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// attr is an attribute, with others or a value in it: rtnetlink(7), struct rtattr.
func attr(kind uint16, value ...[]byte) []byte {
	v := slices.Concat(value...)
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(v)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), v...)
	return append(b, make([]byte, -len(b)&3)...)
}

func text(s string) []byte   { return append([]byte(s), 0) }
func number32(n int) []byte  { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
func raw[T any](m *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(m)), unsafe.Sizeof(*m)) }
func family(a netip.Addr) byte {
	return map[bool]byte{true: unix.AF_INET, false: unix.AF_INET6}[a.Is4()]
}

// words takes the values of keywords out of arguments: "dev x via y" has dev and via. The rest
// comes back in order.
func words(args []string, keys ...string) (values map[string]string, rest []string) {
	values = map[string]string{}
	for i := 0; i < len(args); i++ {
		if slices.Contains(keys, args[i]) && i+1 < len(args) {
			values[args[i]] = args[i+1]
			i++
		} else {
			rest = append(rest, args[i])
		}
	}
	return values, rest
}

// index is the number of an interface.
func (c *Call) index(name string) int {
	i, err := net.InterfaceByName(name)
	if err != nil {
		c.die(1, "%s: no such device", name)
	}
	return i.Index
}

// linkAdd is "ip link add NAME type veth peer [name] NAME".
func (c *Call) linkAdd(args []string) {
	v, rest := words(args, "name", "type", "peer")
	if v["peer"] == "name" && len(rest) > 0 { // the words "peer name NAME"
		v["peer"], rest = rest[len(rest)-1], rest[:len(rest)-1]
	}
	if len(rest) == 1 && v["name"] == "" {
		v["name"], rest = rest[0], nil
	}
	if v["type"] != "veth" || v["name"] == "" || v["peer"] == "" || len(rest) > 0 {
		c.usage()
	}
	none := raw(&unix.IfInfomsg{})
	peer := attr(vethInfoPeer, none, attr(unix.IFLA_IFNAME, text(v["peer"])))
	info := attr(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, text("veth")), attr(unix.IFLA_INFO_DATA, peer))
	c.done(v["name"], change(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, none, attr(unix.IFLA_IFNAME, text(v["name"])), info))
}

// linkNetns is "ip link set NAME netns PID": into the network namespace of a process.
func (c *Call) linkNetns(name, pid string) {
	n, err := strconv.Atoi(pid)
	if err != nil {
		c.usage()
	}
	c.done(name, change(unix.RTM_NEWLINK, 0, raw(&unix.IfInfomsg{Index: int32(c.index(name))}), attr(unix.IFLA_NET_NS_PID, number32(n))))
}

// linkDel is "ip link del NAME".
func (c *Call) linkDel(name string) {
	c.done(name, change(unix.RTM_DELLINK, 0, raw(&unix.IfInfomsg{Index: int32(c.index(name))})))
}

// addrChange is "ip addr add|del ADDRESS/BITS dev NAME".
func (c *Call) addrChange(verb string, args []string) {
	v, rest := words(args, "dev")
	if len(rest) != 1 || v["dev"] == "" {
		c.usage()
	}
	p := c.network(rest[0])
	m := unix.IfAddrmsg{Family: family(p.Addr()), Prefixlen: uint8(p.Bits()), Index: uint32(c.index(v["dev"]))}
	c.done(rest[0], change(map[string]uint16{"add": unix.RTM_NEWADDR, "del": unix.RTM_DELADDR}[verb], created(verb), raw(&m),
		attr(unix.IFA_LOCAL, p.Addr().AsSlice()), attr(unix.IFA_ADDRESS, p.Addr().AsSlice())))
}

// routeChange is "ip route add|del default|NET [via ADDRESS] [dev NAME]".
func (c *Call) routeChange(verb string, args []string) {
	v, rest := words(args, "via", "dev")
	if len(rest) != 1 || v["via"] == "" && v["dev"] == "" {
		c.usage()
	}
	m := unix.RtMsg{Family: unix.AF_INET, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BOOT, Scope: unix.RT_SCOPE_UNIVERSE, Type: unix.RTN_UNICAST}
	var attrs []byte
	if rest[0] != "default" {
		p := c.network(rest[0])
		m.Family, m.Dst_len = family(p.Addr()), uint8(p.Bits())
		attrs = attr(unix.RTA_DST, p.Addr().AsSlice())
	}
	if v["via"] == "" {
		m.Scope = unix.RT_SCOPE_LINK
	} else if via, err := netip.ParseAddr(v["via"]); err != nil {
		c.die(1, "%s: not an address", v["via"])
	} else {
		m.Family = family(via)
		attrs = append(attrs, attr(unix.RTA_GATEWAY, via.AsSlice())...)
	}
	if v["dev"] != "" {
		attrs = append(attrs, attr(unix.RTA_OIF, number32(c.index(v["dev"])))...)
	}
	c.done(rest[0], change(map[string]uint16{"add": unix.RTM_NEWROUTE, "del": unix.RTM_DELROUTE}[verb], created(verb), raw(&m), attrs))
}

// created are the flags of a request for something new.
func created(verb string) uint16 {
	if verb == "add" {
		return unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	return 0
}

// network reads ADDRESS/BITS; without bits it is the one address.
func (c *Call) network(s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if a, e := netip.ParseAddr(s); e == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		c.die(1, "%s: not an address", s)
	}
	return p
}

// done tells of a change that the kernel refused.
func (c *Call) done(what string, err error) {
	if err != nil {
		c.die(2, "%s: %s", what, reason(err))
	}
}

// showNeighbours prints which hardware addresses are known: rtnetlink(7), RTM_GETNEIGH.
func (c *Call) showNeighbours() {
	msgs, err := dump(unix.RTM_GETNEIGH, unix.AF_UNSPEC, unix.SizeofNdMsg)
	if err != nil {
		c.die(1, "netlink: %s", reason(err))
	}
	list, err := net.Interfaces()
	if err != nil {
		c.die(1, "netlink: %s", reason(err))
	}
	states := map[uint16]string{unix.NUD_INCOMPLETE: "INCOMPLETE", unix.NUD_REACHABLE: "REACHABLE", unix.NUD_STALE: "STALE",
		unix.NUD_DELAY: "DELAY", unix.NUD_PROBE: "PROBE", unix.NUD_FAILED: "FAILED", unix.NUD_PERMANENT: "PERMANENT"}
	for _, m := range msgs {
		nd := (*unix.NdMsg)(unsafe.Pointer(&m.fixed[0]))
		to, ok := m.addr(unix.NDA_DST)
		i := slices.IndexFunc(list, func(n net.Interface) bool { return n.Index == int(nd.Ifindex) })
		if !ok || i < 0 || nd.State == unix.NUD_NOARP || len(c.args) > 0 && c.args[0] != list[i].Name {
			continue
		}
		c.out.WriteString(to.String() + " dev " + list[i].Name)
		if hw := m.attrs[unix.NDA_LLADDR]; len(hw) > 0 {
			c.out.WriteString(" lladdr " + colons(hw))
		}
		c.out.WriteString(" " + states[nd.State] + "\n")
	}
}
