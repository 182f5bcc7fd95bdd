// The host's side: listening sockets, made by the supervisor.

package port

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// listener is a socket of the host's network on which clients come.
type listener struct {
	network.Port
	file *os.File
}

// open makes the sockets for one argument of -p: one for each address, all with one port. The
// ports that come back say which.
func open(p network.Port) (opened []listener, err error) {
	last := max(p.Host, p.HostLast)
	for p.HostLast = 0; ; p.Host++ {
		if opened, err = openAll(p); !errors.Is(err, unix.EADDRINUSE) || p.Host == last {
			break
		}
	}
	if err != nil {
		return nil, explain(p, err)
	}
	return opened, nil
}

// anyTries is how often a port that is free on one address is looked for on the others.
const anyTries = 16

// openAll is open for one port of the host, or 0 for any that is free on all the addresses.
func openAll(p network.Port) (opened []listener, err error) {
	any := p.Host == 0
	for range anyTries {
		for _, ip := range p.Addresses() {
			at := p
			at.IP = ip
			l, e := openOne(at)
			if !p.IP.IsValid() && ip.Is6() && (errors.Is(e, unix.EAFNOSUPPORT) || errors.Is(e, unix.EADDRNOTAVAIL)) {
				continue // nobody has asked for IPv6 by name, and this machine has none
			}
			if err = e; err != nil {
				break
			}
			opened = append(opened, l)
			p.Host = l.Host
		}
		if err == nil {
			return opened, nil
		}
		for _, l := range opened {
			l.file.Close()
		}
		opened = nil
		if !any || !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
		p.Host = 0
	}
	return nil, err
}

// backlog is how many connections the kernel keeps for a helper that comes up; listen(2) cuts it
// down to net.core.somaxconn.
const backlog = 4096

// idle is after how many seconds of silence the kernel asks a client whether it is still there:
// one that has vanished without a word must not be kept for ever. TCP_KEEPIDLE, tcp(7).
const idle = 600

// openOne makes one socket, at an address and a port.
func openOne(p network.Port) (l listener, err error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if p.IP.Is6() {
		family = unix.AF_INET6
	}
	if p.Protocol == network.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return l, err
	}
	l = listener{p, os.NewFile(uintptr(fd), p.At())}
	defer func() {
		if err != nil {
			l.file.Close()
		}
	}()
	var options []option
	if p.Protocol == network.TCP {
		// SO_REUSEADDR: connections of a container that has ended keep nobody from the port. All of
		// these go over to the sockets of accept(2), and resetUnlessFinished does.
		options = []option{
			{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle}, {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		}
	}
	switch {
	case p.IP.Is6():
		// ipv6(7), IPV6_V6ONLY: the port of IPv4 is somebody else's, or another listener's.
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
	default:
		options = append(options, option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1})
	}
	if err = setOptions(fd, options); err == nil && p.Protocol == network.TCP {
		err = resetUnlessFinished(fd, true)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(p.IP, p.Host)))
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return l, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return l, err
	}
	l.Host = addrPort(at).Port()
	return l, nil
}

// option is one of setsockopt(2), with a number for a value.
type option struct{ level, name, value int }

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// explain says why a port cannot be had: bind(2), ERRORS; ip(7).
func explain(p network.Port, err error) error {
	wrapped := func(why string) error {
		return fmt.Errorf("publish port %s of the host (%s): %s", p.At(), p.Protocol, why)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return errs.Hint(wrapped("it is in use"),
			"`tiffin ps` shows the ports of containers, `ss -lntup` all; -p "+strconv.Itoa(int(p.Container))+" takes any that is free")
	case errors.Is(err, unix.EACCES):
		first := lowest()
		return errs.Hint(wrapped(fmt.Sprintf("ports below %d are reserved for root of this machine", first)),
			fmt.Sprintf("take a port from %d on, or ask an administrator for: sysctl net.ipv4.ip_unprivileged_port_start=%d", first, p.Host))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return errs.Hint(wrapped("this machine does not have the address"), "`ip address` shows those it has; without one, a port is for this machine alone")
	}
	return wrapped(err.Error())
}

// lowest is the first port that everybody can have: ip_unprivileged_port_start in ip(7), since
// Linux 4.11.
func lowest() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if n, e := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && e == nil {
		return n
	}
	return 1024
}

// sockaddr is an address as system calls take it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// addrPort is the other way round; invalid if it is no address of IP.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// Listen makes the listening sockets for all ports, or none.
func Listen(ports []network.Port) (*Listeners, error) {
	ls := &Listeners{}
	for _, p := range ports {
		opened, err := open(p)
		if err != nil {
			ls.Close()
			return nil, err
		}
		ls.all = append(ls.all, opened...)
	}
	return ls, nil
}

// Ports are the listening sockets, sorted, each with its address and its port.
func (ls *Listeners) Ports() []network.Port {
	var ports []network.Port
	for _, l := range ls.all {
		ports = append(ports, l.Port)
	}
	network.SortPorts(ports)
	return slices.Clip(ports)
}
