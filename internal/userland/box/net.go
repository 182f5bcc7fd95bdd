// The kernel's tables of interfaces, addresses and routes come over netlink
// (rtnetlink(7)): a dump request is answered by messages, each a fixed header
// and attributes.

package box

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A nlMessage is one answer: the fixed part's bytes and the attributes by type.
type nlMessage struct {
	kind  uint16
	fixed []byte
	attrs map[uint16][]byte
}

// dump asks for all objects of one kind. fixed is the size of the header that
// the answers have after nlmsghdr.
func dump(request uint16, family byte, fixed int) ([]nlMessage, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	req := make([]byte, unix.NLMSG_HDRLEN+16)
	e := binary.NativeEndian
	e.PutUint32(req[0:], uint32(len(req)))
	e.PutUint16(req[4:], request)
	e.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	e.PutUint32(req[8:], 1)
	req[unix.NLMSG_HDRLEN] = family
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var list []nlMessage
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, err
		}
		for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			size, kind := int(e.Uint32(b)), e.Uint16(b[4:])
			if size < unix.NLMSG_HDRLEN || size > len(b) {
				return nil, fmt.Errorf("netlink: message of %d bytes cut short", size)
			}
			switch kind {
			case unix.NLMSG_DONE:
				return list, nil
			case unix.NLMSG_ERROR:
				return nil, unix.Errno(-int32(e.Uint32(b[unix.NLMSG_HDRLEN:])))
			}
			body := slices.Clone(b[unix.NLMSG_HDRLEN:size])
			if len(body) >= fixed {
				list = append(list, nlMessage{kind, body[:fixed], attributes(body[fixed:])})
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}

func attributes(b []byte) map[uint16][]byte {
	attrs := map[uint16][]byte{}
	for len(b) >= 4 {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			break
		}
		attrs[kind&^unix.NLA_F_NESTED] = b[4:size]
		b = b[min(len(b), (size+3)&^3):]
	}
	return attrs
}

func (m nlMessage) u32(kind uint16) uint32 {
	if b := m.attrs[kind]; len(b) >= 4 {
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

func (m nlMessage) text(kind uint16) string { return unix.ByteSliceToString(m.attrs[kind]) }

func (m nlMessage) addr(kind uint16) (netip.Addr, bool) { return netip.AddrFromSlice(m.attrs[kind]) }

// A link is a network interface with its addresses.
type link struct {
	index        int
	name, hw     string
	kind         uint16 // ARPHRD_…
	flags, mtu   uint32
	state, qdisc string
	master, peer uint32
	addrs        []nlMessage
}

// colons is a hardware address as it is written.
func colons(b []byte) string {
	return strings.TrimSuffix(fmt.Sprintf(strings.Repeat("%02x:", len(b)), anys(b)...), ":")
}

func anys(b []byte) (list []any) {
	for _, x := range b {
		list = append(list, x)
	}
	return list
}

// netmask is the old spelling of a prefix length.
func netmask(prefix int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^uint32(0)<<(32-prefix))
	return netip.AddrFrom4(b)
}

func links() ([]link, error) {
	msgs, err := dump(unix.RTM_GETLINK, unix.AF_UNSPEC, unix.SizeofIfInfomsg)
	if err != nil {
		return nil, err
	}
	addrs, err := dump(unix.RTM_GETADDR, unix.AF_UNSPEC, unix.SizeofIfAddrmsg)
	if err != nil {
		return nil, err
	}
	states := []string{"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"}
	var list []link
	for _, m := range msgs {
		info := (*unix.IfInfomsg)(unsafe.Pointer(&m.fixed[0]))
		l := link{index: int(info.Index), name: m.text(unix.IFLA_IFNAME), hw: colons(m.attrs[unix.IFLA_ADDRESS]),
			kind: info.Type, flags: info.Flags, mtu: m.u32(unix.IFLA_MTU), qdisc: m.text(unix.IFLA_QDISC),
			master: m.u32(unix.IFLA_MASTER), peer: m.u32(unix.IFLA_LINK), state: "UNKNOWN"}
		if s := m.attrs[unix.IFLA_OPERSTATE]; len(s) > 0 && int(s[0]) < len(states) {
			l.state = states[s[0]]
		}
		for _, a := range addrs {
			if int((*unix.IfAddrmsg)(unsafe.Pointer(&a.fixed[0])).Index) == l.index {
				l.addrs = append(l.addrs, a)
			}
		}
		list = append(list, l)
	}
	return list, nil
}

// linkFlags spells the flags out in the order ip does: netdevice(7).
func linkFlags(f uint32) string {
	var names []string
	for _, x := range []struct {
		bit  uint32
		name string
	}{{unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_POINTOPOINT, "POINTOPOINT"},
		{unix.IFF_MULTICAST, "MULTICAST"}, {unix.IFF_NOARP, "NOARP"}, {unix.IFF_PROMISC, "PROMISC"},
		{unix.IFF_UP, "UP"}, {unix.IFF_LOWER_UP, "LOWER_UP"}} {
		if f&x.bit != 0 {
			names = append(names, x.name)
		}
	}
	if f&unix.IFF_UP != 0 && f&unix.IFF_RUNNING == 0 {
		names = append([]string{"NO-CARRIER"}, names...)
	}
	return strings.Join(names, ",")
}

// kindLabel is the type of an interface as ip prints it (linux/if_arp.h).
func kindLabel(kind uint16) string {
	switch kind {
	case unix.ARPHRD_LOOPBACK:
		return "loopback"
	case unix.ARPHRD_ETHER:
		return "ether"
	case unix.ARPHRD_NONE:
		return "none"
	}
	return fmt.Sprintf("[%d]", kind)
}

// ip: show interfaces, addresses and routes, in the format of iproute2; or change
// them.
func ip(c *Call) {
	family := byte(unix.AF_UNSPEC)
	for len(c.args) > 0 && strings.HasPrefix(c.args[0], "-") {
		switch c.args[0] {
		case "-4":
			family = unix.AF_INET
		case "-6":
			family = unix.AF_INET6
		case "-o", "-br", "-brief", "-c", "-d":
		case "--help":
			fmt.Fprintf(c.out, "usage: ip %s\n%s\n", c.Usage, c.Help)
			c.quit(0)
		default:
			c.warn("unknown option %s", c.args[0])
			c.usage()
		}
		c.args = c.args[1:]
	}
	object := ""
	if len(c.args) > 0 {
		object, c.args = c.args[0], c.args[1:]
	}
	is := func(full string) bool { return object != "" && strings.HasPrefix(full, object) }
	if len(c.args) > 0 && slices.Contains([]string{"show", "list", "s", "ls", "sh"}, c.args[0]) {
		c.args = c.args[1:]
	}
	if len(c.args) > 0 && c.args[0] == "dev" {
		c.args = c.args[1:]
	}
	verb := ""
	if len(c.args) > 0 {
		verb = c.args[0]
	}
	if verb == "delete" {
		verb = "del"
	}
	switch {
	case is("link") && verb == "set":
		c.linkSet(c.args[1:])
	case is("link") && verb == "add":
		c.linkAdd(c.args[1:])
	case is("link") && verb == "del" && len(c.args) == 2:
		c.linkDel(c.args[1])
	case (is("address") || object == "addr") && (verb == "add" || verb == "del"):
		c.addrChange(verb, c.args[1:])
	case is("route") && (verb == "add" || verb == "del"):
		c.routeChange(verb, c.args[1:])
	case is("neighbour") || is("neighbor"):
		c.showNeighbours()
	case is("address") || object == "addr", is("link"):
		c.showLinks(is("address"), family)
	case is("route"):
		c.showRoutes(family)
	default:
		c.usage()
	}
}

// linkSet is "ip link set NAME up|down", or "ip link set NAME netns PID".
func (c *Call) linkSet(args []string) {
	if len(args) > 0 && args[0] == "dev" {
		args = args[1:]
	}
	if len(args) == 3 && args[1] == "netns" {
		c.linkNetns(args[0], args[2])
		return
	}
	if len(args) != 2 || args[1] != "up" && args[1] != "down" {
		c.usage()
	}
	err := setFlags(args[0], func(f uint16) uint16 {
		if args[1] == "up" {
			return f | unix.IFF_UP
		}
		return f &^ unix.IFF_UP
	})
	if err != nil {
		c.die(2, "%s: %s", args[0], reason(err))
	}
}

// setFlags changes an interface's flags: netdevice(7), SIOCSIFFLAGS.
func setFlags(name string, change func(uint16) uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(change(ifr.Uint16()))
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

func (c *Call) showLinks(withAddrs bool, family byte) {
	list, err := links()
	if err != nil {
		c.die(1, "netlink: %s", reason(err))
	}
	found := false
	names := map[uint32]string{}
	for _, l := range list {
		names[uint32(l.index)] = l.name
	}
	for _, l := range list {
		if len(c.args) > 0 && c.args[0] != l.name {
			continue
		}
		found = true
		name := l.name
		if l.peer != 0 && l.peer != uint32(l.index) {
			peer := names[l.peer]
			if peer == "" {
				peer = fmt.Sprintf("if%d", l.peer)
			}
			name += "@" + peer
		}
		master := ""
		if l.master != 0 {
			master = "master " + names[l.master] + " "
		}
		fmt.Fprintf(c.out, "%d: %s: <%s> mtu %d qdisc %s %sstate %s\n", l.index, name, linkFlags(l.flags), l.mtu, l.qdisc, master, l.state)
		if l.hw != "" {
			fmt.Fprintf(c.out, "    link/%s %s\n", kindLabel(l.kind), l.hw)
		} else {
			fmt.Fprintf(c.out, "    link/%s\n", kindLabel(l.kind))
		}
		if withAddrs {
			c.showAddrs(l, family)
		}
	}
	if !found && len(c.args) > 0 {
		c.die(1, "%s: no such device", c.args[0])
	}
}

func (c *Call) showAddrs(l link, family byte) {
	scopes := map[uint8]string{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host"}
	for _, a := range l.addrs {
		info := (*unix.IfAddrmsg)(unsafe.Pointer(&a.fixed[0]))
		if family != unix.AF_UNSPEC && info.Family != family {
			continue
		}
		addr, ok := a.addr(unix.IFA_LOCAL)
		if !ok {
			addr, _ = a.addr(unix.IFA_ADDRESS)
		}
		word, brd := "inet", ""
		if info.Family == unix.AF_INET6 {
			word = "inet6"
		}
		if b, ok := a.addr(unix.IFA_BROADCAST); ok {
			brd = " brd " + b.String()
		}
		fmt.Fprintf(c.out, "    %s %s/%d%s scope %s", word, addr, info.Prefixlen, brd, scopes[info.Scope])
		if label := a.text(unix.IFA_LABEL); label != "" {
			fmt.Fprintf(c.out, " %s", label)
		}
		fmt.Fprintln(c.out)
	}
}

// showRoutes prints the main routing table.
func (c *Call) showRoutes(family byte) {
	if family == unix.AF_UNSPEC {
		family = unix.AF_INET
	}
	msgs, err := dump(unix.RTM_GETROUTE, family, unix.SizeofRtMsg)
	if err != nil {
		c.die(1, "netlink: %s", reason(err))
	}
	list, err := links()
	if err != nil {
		c.die(1, "netlink: %s", reason(err))
	}
	names := map[uint32]string{}
	for _, l := range list {
		names[uint32(l.index)] = l.name
	}
	protocols := map[uint8]string{unix.RTPROT_KERNEL: "kernel", unix.RTPROT_BOOT: "boot", unix.RTPROT_STATIC: "static", 9: "ra", 16: "dhcp"}
	for _, m := range msgs {
		rt := (*unix.RtMsg)(unsafe.Pointer(&m.fixed[0]))
		if rt.Table != unix.RT_TABLE_MAIN || rt.Type != unix.RTN_UNICAST && rt.Type != unix.RTN_UNREACHABLE {
			continue
		}
		to := "default"
		if a, ok := m.addr(unix.RTA_DST); ok {
			to = fmt.Sprintf("%s/%d", a, rt.Dst_len)
		}
		if gw, ok := m.addr(unix.RTA_GATEWAY); ok {
			to += " via " + gw.String()
		}
		if oif := m.u32(unix.RTA_OIF); oif != 0 {
			to += " dev " + names[oif]
		}
		if p := protocols[rt.Protocol]; p != "" && rt.Protocol != unix.RTPROT_BOOT {
			to += " proto " + p
		}
		if rt.Scope == unix.RT_SCOPE_LINK {
			to += " scope link"
		}
		if src, ok := m.addr(unix.RTA_PREFSRC); ok {
			to += " src " + src.String()
		}
		if metric := m.u32(unix.RTA_PRIORITY); metric != 0 {
			to += fmt.Sprintf(" metric %d", metric)
		}
		fmt.Fprintln(c.out, to)
	}
}

// ifconfig: show interfaces in the old form; or set one up or down.
func ifconfig(c *Call) {
	c.opts("a")
	if len(c.args) == 2 {
		c.linkSet(c.args)
		return
	}
	list, err := links()
	if err != nil {
		c.die(1, "netlink: %s", reason(err))
	}
	for _, l := range list {
		if len(c.args) > 0 && c.args[0] != l.name || len(c.args) == 0 && !c.has('a') && l.flags&unix.IFF_UP == 0 {
			continue
		}
		fmt.Fprintf(c.out, "%s: flags=%d<%s>  mtu %d\n", l.name, l.flags&0xffff, linkFlags(l.flags), l.mtu)
		for _, a := range l.addrs {
			info := (*unix.IfAddrmsg)(unsafe.Pointer(&a.fixed[0]))
			addr, ok := a.addr(unix.IFA_LOCAL)
			if !ok {
				addr, _ = a.addr(unix.IFA_ADDRESS)
			}
			if info.Family == unix.AF_INET6 {
				fmt.Fprintf(c.out, "        inet6 %s  prefixlen %d\n", addr, info.Prefixlen)
			} else {
				fmt.Fprintf(c.out, "        inet %s  netmask %s\n", addr, netmask(int(info.Prefixlen)))
			}
		}
		if l.kind == unix.ARPHRD_ETHER {
			fmt.Fprintf(c.out, "        ether %s\n", l.hw)
		}
		fmt.Fprintln(c.out)
	}
}

// lsns: the namespaces of the processes one can see: namespaces(7).
func lsns(c *Call) {
	c.opts("t:p:n", "type=t", "task=p", "noheadings=n")
	type space struct {
		id, kind string
		count    int
		first    process
	}
	var order []string
	all := map[string]*space{}
	for _, p := range processes() {
		if c.has('p') && c.val('p') != fmt.Sprint(p.pid) {
			continue
		}
		for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
			if c.has('t') && c.val('t') != kind {
				continue
			}
			target, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.pid, kind))
			if err != nil {
				continue
			}
			if all[target] == nil {
				all[target] = &space{strings.Trim(target[strings.IndexByte(target, '[')+1:], "]"), kind, 0, p}
				order = append(order, target)
			}
			all[target].count++
		}
	}
	rows := [][]string{{"NS", "TYPE", "NPROCS", "PID", "USER", "COMMAND"}}
	if c.has('n') {
		rows = nil
	}
	slices.SortFunc(order, func(a, b string) int { return strings.Compare(all[a].id, all[b].id) })
	for _, o := range order {
		s := all[o]
		rows = append(rows, []string{s.id, s.kind, fmt.Sprint(s.count), fmt.Sprint(s.first.pid), nameOr(users(), s.first.uid), s.first.command()})
	}
	c.table(rows, func(i int) bool { return i == 0 || i == 2 || i == 3 }, func(int) bool { return true })
}
