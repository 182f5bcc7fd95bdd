// The step that lays a cable: a tap device, whose packets go to a file descriptor, and what the
// kernel has to know to send any: rtnetlink(7).
//
// Nothing may be sent before the command does, because the first packet starts the program at the
// other end. A new interface of Ethernet is full of questions: is my address taken (RFC 4862), who
// routes here (RFC 4861), who is 10.0.2.2 (ARP), I listen to these groups (RFC 3810). IFF_NOARP
// answers them all with "nobody knows", and without a link-local address nobody looks for routers.

package ns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
)

// interfaceName is that of an interface, as in other containers.
func interfaceName(n int) string { return "eth" + strconv.Itoa(n) }

func skipInterface(b *builder) string {
	switch {
	case b.spec.hostNetwork():
		return "the network is the host's"
	case b.spec.sharedNetwork():
		return "the network is another container's"
	case len(b.spec.Interfaces) == 0 && b.spec.Foreign == nil:
		return "the network is none"
	}
	return ""
}

// runInterface makes the interfaces and hands the supervisor their other ends. A device belongs to
// the network namespace of whoever opens it: the kernel's Documentation/networking/tuntap.rst. If
// this machine has none to open, there is a note, and no interface.
func runInterface(b *builder) error {
	if f := b.spec.Foreign; f != nil {
		return b.call(nil, "execve(%q, %s) = 0 /* by the supervisor, before the first step */", f.Name, argv(f.Args("PID")))
	}
	for n := range b.spec.Interfaces {
		tap, name, err := b.openTap(interfaceName(n))
		if err != nil {
			b.note("network", "there is nothing but loopback: "+err.Error(), tapFix(err))
			return nil
		}
		if err = b.configureInterface(name, &b.spec.Interfaces[n], hasIPv6()); err == nil {
			err = b.send(&message{Op: opTap}, tap)
		}
		unix.Close(tap)
		if err != nil {
			return err
		}
	}
	return nil
}

// TryTap says whether this machine has a device to make an interface of, and what an administrator
// types if not. What a security module forbids shows only later.
func TryTap() (fix string, err error) {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		if _, e := unix.IoctlGetInt(int(f.Fd()), unix.TUNGETFEATURES); e != nil {
			err = &os.PathError{Op: "use", Path: f.Name(), Err: e}
		}
	}
	return tapFix(err), err
}

// ProbeTap makes such an interface in the network namespace of this thread, and lets it go again.
func ProbeTap() (fix string, err error) {
	fd, _, err := (&builder{spec: &Spec{}}).openTap(interfaceName(0))
	if err != nil {
		return tapFix(err), err
	}
	return "", unix.Close(fd)
}

// tapFix is what an administrator types.
func tapFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return "modprobe tun"
	case errors.Is(err, unix.EACCES):
		return "chmod 666 /dev/net/tun"
	}
	return ""
}

// openTap makes the device; in name, %d stands for a number that is free. Each packet has a header
// that says what is left to be summed up: IFF_VNET_HDR.
func (b *builder) openTap(name string) (tap int, made string, err error) {
	tap, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err = b.returned(tap, err, `open("/dev/net/tun", O_RDWR|O_CLOEXEC|O_NONBLOCK)`); err != nil {
		return -1, "", err
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = b.call(unix.IoctlIfreq(tap, unix.TUNSETIFF, ifr), `ioctl(%d, TUNSETIFF, {ifr_name=%q, ifr_flags=IFF_TAP|IFF_NO_PI|IFF_VNET_HDR})`, tap, name)
	}
	if err != nil {
		unix.Close(tap)
		return -1, "", err
	}
	return tap, ifr.Name(), nil
}

// hasIPv6 tells whether the kernel has IPv6: not with ipv6.disable=1.
func hasIPv6() bool { return dirExists("/proc/sys/net/ipv6") }

// asker asks the kernel for changes of the network: rtnetlink(7). After an error it asks for no
// more.
type asker struct {
	*builder
	socket int
	err    error
}

func (b *builder) asker() (*asker, error) {
	nl, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err = b.returned(nl, err, "socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)"); err != nil {
		return nil, err
	}
	return &asker{b, nl, nil}, nil
}

func (a *asker) ask(kind uint16, header []byte, attributes []byte, format string, args ...any) {
	if a.err == nil {
		a.err = a.call(rtnetlink(a.socket, kind, append(header, attributes...)), "sendto(%d, {"+format+"})", append([]any{a.socket}, args...)...)
	}
}

// configureInterface gives it addresses, switches it on, and sends by it what is for elsewhere.
func (b *builder) configureInterface(name string, a *network.Addresses, six bool) error {
	nl, err := b.asker()
	if err != nil {
		return err
	}
	defer unix.Close(nl.socket)
	index, err := interfaceIndex(name)
	if err != nil {
		return err
	}
	mac := network.MAC(a.IPv4.Addr())
	attributes := append(attribute(unix.IFLA_ADDRESS, mac[:]), attribute(unix.IFLA_MTU, number(uint32(a.MTU)))...)
	if six {
		mode := attribute(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenModeNone})
		attributes = append(attributes, attribute(unix.IFLA_AF_SPEC, attribute(unix.AF_INET6, mode))...)
	}
	nl.ask(unix.RTM_NEWLINK, link(index, unix.IFF_NOARP), attributes,
		"RTM_NEWLINK, %s, IFF_NOARP, IFLA_ADDRESS=%s, IFLA_MTU=%d, IFLA_INET6_ADDR_GEN_MODE=NONE", name, mac, a.MTU)
	for _, own := range []netip.Prefix{a.IPv4, a.IPv6} {
		if own.IsValid() && (own.Addr().Is4() || six) {
			nl.ask(unix.RTM_NEWADDR, addressOf(index, own), append(attribute(unix.IFA_LOCAL, own.Addr().AsSlice()), attribute(unix.IFA_ADDRESS, own.Addr().AsSlice())...),
				"RTM_NEWADDR, %s, %s", name, own)
		}
	}
	nl.ask(unix.RTM_NEWLINK, link(index, unix.IFF_UP), nil, "RTM_NEWLINK, %s, IFF_UP", name)
	nl.route(a, six)
	return nl.err
}

// route makes gateways the way out of a container that has none.
func (b *builder) route(a *network.Addresses, six bool) error {
	nl, err := b.asker()
	if err != nil {
		return err
	}
	defer unix.Close(nl.socket)
	nl.route(a, six)
	return nl.err
}

// route adds default routes. The kernel finds the interface: it has the subnet that the gateway is
// in.
func (a *asker) route(to *network.Addresses, six bool) {
	for _, gateway := range []netip.Addr{to.Gateway4, to.Gateway6} {
		if gateway.IsValid() && (gateway.Is4() || six) {
			a.ask(unix.RTM_NEWROUTE, defaultRoute(gateway), attribute(unix.RTA_GATEWAY, gateway.AsSlice()), "RTM_NEWROUTE, default via %s", gateway)
		}
	}
}

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE in linux/if_link.h: no link-local address.
const addrGenModeNone = 1

// interfaceIndex is the number of the interface: netdevice(7), SIOCGIFINDEX.
func interfaceIndex(name string) (uint32, error) {
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		err = askDevice(unix.SIOCGIFINDEX, ifr)
	}
	if err != nil {
		return 0, fmt.Errorf("find the interface %s: %w", name, err)
	}
	return ifr.Uint32(), nil
}

// askDevice asks for a property of an interface: netdevice(7).
func askDevice(request uint, ifr *unix.Ifreq) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	return unix.IoctlIfreq(s, request, ifr)
}

func dirExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// link is a struct ifinfomsg that sets flags of an interface: rtnetlink(7).
func link(index, flags uint32) []byte {
	m := unix.IfInfomsg{Index: int32(index), Flags: flags, Change: flags}
	return (*[unix.SizeofIfInfomsg]byte)(unsafe.Pointer(&m))[:]
}

// addressOf is a struct ifaddrmsg. IFA_F_NODAD: nobody else can have the address.
func addressOf(index uint32, own netip.Prefix) []byte {
	m := unix.IfAddrmsg{Family: familyOf(own.Addr()), Prefixlen: uint8(own.Bits()), Flags: unix.IFA_F_NODAD | unix.IFA_F_PERMANENT, Index: index}
	return (*[unix.SizeofIfAddrmsg]byte)(unsafe.Pointer(&m))[:]
}

// defaultRoute is a struct rtmsg for what has no better route.
func defaultRoute(gateway netip.Addr) []byte {
	m := unix.RtMsg{Family: familyOf(gateway), Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BOOT, Scope: unix.RT_SCOPE_UNIVERSE, Type: unix.RTN_UNICAST}
	return (*[unix.SizeofRtMsg]byte)(unsafe.Pointer(&m))[:]
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// attribute is a struct rtattr with its value, padded to 4 bytes: rtnetlink(3).
func attribute(kind uint16, value []byte) []byte {
	const header = unix.SizeofRtAttr
	b := binary.NativeEndian.AppendUint16(nil, uint16(header+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(value)&3)...)
}

// rtnetlink asks for one thing, and reads the answer: netlink(7), struct nlmsghdr and nlmsgerr.
func rtnetlink(socket int, kind uint16, body []byte) error {
	const header = unix.SizeofNlMsghdr
	b := binary.NativeEndian.AppendUint32(nil, uint32(header+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	b = append(append(b, make([]byte, 8)...), body...) // no sequence number, and from the kernel's peer
	if err := unix.Sendto(socket, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(socket, answer, 0)
	switch {
	case err != nil:
		return err
	case n < header+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR:
		return fmt.Errorf("netlink: an answer of %d bytes that is none", n)
	}
	if errno := int32(binary.NativeEndian.Uint32(answer[header:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}

// interfaceState observes the interfaces.
func interfaceState(b *builder) string {
	var states []string
	for n := range max(1, len(b.spec.Interfaces)) {
		state := deviceState(interfaceName(n))
		// IPv4 is asked for by netdevice(7), SIOCGIFADDR; what there is of IPv6 the calls show.
		if ifr, err := unix.NewIfreq(interfaceName(n)); err == nil && askDevice(unix.SIOCGIFADDR, ifr) == nil {
			if ip, err := ifr.Inet4Addr(); err == nil {
				state += ", its address is " + netip.AddrFrom4([4]byte(ip)).String()
			}
		}
		states = append(states, state)
	}
	return strings.Join(states, "\n")
}
