// Published ports, and the grammar of -p:
//
//	-p [[IP:][HOST]:]CONTAINER[/PROTOCOL]
//
// HOST and CONTAINER are ports or ranges, FIRST-LAST. Two ranges of one length belong together port
// by port; with a range for HOST and one port for CONTAINER the first of the range that is free is
// taken, and without HOST any that is. An IPv6 address stands in brackets. So docker-run(1) has it,
// but for what no IP means: docker takes all addresses of the machine, this grammar leaves it to
// [Port.Addresses].

package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tiffin/internal/errs"
)

// The protocols of a port.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Port is a port of a container that can be reached from outside, on a port of the host.
type Port struct {
	IP        netip.Addr `json:"ip,omitzero"`    // where the host listens; zero: see Addresses
	Host      uint16     `json:"host,omitempty"` // 0: any that is free
	HostLast  uint16     `json:"last,omitempty"` // the first that is free from Host to this one; 0: Host alone
	Container uint16     `json:"container"`      //
	Protocol  string     `json:"protocol"`       // TCP or UDP
}

// loopback are the addresses for a port that names none.
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// Addresses are where the host listens. For a port without an IP that is loopback, of both
// families: people publish ports on machines that they share or carry into foreign networks, where
// what a container serves is seldom meant for all. Both, because `localhost` means either, and
// whoever else listens on the one would get what is meant for the other. Beware that loopback is
// open to all users of the machine.
func (p Port) Addresses() []netip.Addr {
	if p.IP.IsValid() {
		return []netip.Addr{p.IP}
	}
	return loopback
}

// Exposed is the container's side, such as "80/tcp".
func (p Port) Exposed() string { return strconv.Itoa(int(p.Container)) + "/" + p.Protocol }

// HostRange is Host, or Host-HostLast.
func (p Port) HostRange() string {
	s := strconv.Itoa(int(p.Host))
	if p.HostLast > p.Host {
		s += "-" + strconv.Itoa(int(p.HostLast))
	}
	return s
}

// At is the host's side, such as "127.0.0.1:8080" or "[::1]:8080"; "localhost:8080" without an IP.
func (p Port) At() string {
	if !p.IP.IsValid() {
		return "localhost:" + strconv.Itoa(int(p.Host))
	}
	return netip.AddrPortFrom(p.IP, p.Host).String()
}

// ParsePorts reads an argument of -p.
func ParsePorts(s string) ([]Port, error) {
	ports, err := parsePorts(s)
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("publish %q: %w", s, err), "write -p 8080:80, -p 127.0.0.1:8080:80/tcp or -p 8000-8009:8000-8009")
	}
	return ports, nil
}

func parsePorts(s string) (ports []Port, err error) {
	var p Port
	rest, protocol, _ := strings.Cut(s, "/")
	if p.Protocol, err = parseProtocol(protocol, strings.Contains(s, "/")); err != nil {
		return nil, err
	}
	var hosts string
	inside := rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		hosts, inside = rest[:i], rest[i+1:]
		if i := strings.LastIndexByte(hosts, ':'); i >= 0 {
			if p.IP, err = parseIP(hosts[:i]); err != nil {
				return nil, err
			}
			hosts = hosts[i+1:]
		}
	}
	first, last, err := parseRange(inside)
	if err != nil {
		return nil, err
	}
	var host, hostLast uint16
	if hosts != "" {
		if host, hostLast, err = parseRange(hosts); err != nil {
			return nil, err
		}
	}
	several := hostLast - host
	if hosts != "" && last != first && several != last-first {
		return nil, fmt.Errorf("%d ports of the host for %d of the container", int(several)+1, int(last-first)+1)
	}
	for n := uint16(0); n <= last-first; n++ {
		p.Container = first + n
		if hosts != "" {
			p.Host = host + n
		}
		if first == last && several > 0 {
			p.HostLast = hostLast
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// parseProtocol reads what follows the slash, if there is one.
func parseProtocol(s string, given bool) (string, error) {
	switch s = strings.ToLower(s); {
	case !given:
		return TCP, nil
	case s == TCP, s == UDP:
		return s, nil
	}
	return "", fmt.Errorf("the protocol is tcp or udp, not %q", s)
}

// parseIP reads an address of the host; one of IPv6 stands in brackets.
func parseIP(s string) (netip.Addr, error) {
	inner, bracket := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	ip, err := netip.ParseAddr(inner)
	if err != nil || bracket != closed || bracket != ip.Is6() || ip.Is4In6() || ip.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is no address: an IPv6 one stands in [brackets], and names are not looked up", s)
	}
	return ip, nil
}

// parseRange reads PORT or FIRST-LAST.
func parseRange(s string) (first, last uint16, err error) {
	a, b, ranged := strings.Cut(s, "-")
	if first, err = parsePort(a); err != nil || !ranged {
		return first, first, err
	}
	if last, err = parsePort(b); err == nil && last < first {
		err = fmt.Errorf("the range %s ends before it begins", s)
	}
	return first, last, err
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port: those are 1 to 65535", s)
	}
	return uint16(n), nil
}

// ParseExposed reads PORT[/PROTOCOL] or FIRST-LAST[/PROTOCOL], as --expose and the image's EXPOSE
// have it (OCI image-spec v1.1 config.md, "ExposedPorts"): the container's sides, such as "80/tcp".
func ParseExposed(s string) ([]string, error) {
	ports, err := parsePorts(s)
	if err != nil || strings.Contains(s, ":") {
		return nil, errs.Hint(fmt.Errorf("expose %q: not a port or range of the container", s), "write 80, 80/tcp or 8000-8009/udp")
	}
	exposed := make([]string, 0, len(ports))
	for _, p := range ports {
		exposed = append(exposed, p.Exposed())
	}
	return exposed, nil
}

// SortPorts sorts by the container's port, its protocol, then the host's address and port.
func SortPorts(ports []Port) {
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Protocol, b.Protocol), a.IP.Compare(b.IP), cmp.Compare(a.Host, b.Host))
	})
}
