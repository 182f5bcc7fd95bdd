// Names as a container knows them: its own, those of other machines, and who is asked for the rest.
// They end up in three files, /etc/hostname, hosts(5) and resolv.conf(5).

package disk

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"tiffin/internal/errs"
	"tiffin/internal/network"
	"tiffin/ns"
)

// Naming is what the user says about names. Zero values stand for the defaults.
type Naming struct {
	Domainname string       `json:"domainname,omitempty"` // that the host name is in; uname(2)
	Hosts      []Host       `json:"hosts,omitempty"`
	DNS        []netip.Addr `json:"dns,omitempty"`        // name servers
	DNSSearch  []string     `json:"dnsSearch,omitempty"`  // domains that are tried; "." alone: none
	DNSOptions []string     `json:"dnsOptions,omitempty"` // resolv.conf(5), "options"
}

// Host is a machine that is known without being asked for.
type Host struct {
	Name string
	IP   netip.Addr
}

// String is the host in docker's form.
func (h Host) String() string { return h.Name + ":" + h.IP.String() }

// ParseHost reads NAME:IP or NAME=IP; an IPv6 address may be in brackets: docker-run(1),
// "--add-host".
func ParseHost(s string) (Host, error) {
	i := strings.IndexAny(s, ":=")
	if i < 0 {
		return Host{}, fmt.Errorf("host %q is not NAME:IP", s)
	}
	h := Host{Name: s[:i]}
	ip := s[i+1:]
	if strings.HasPrefix(ip, "[") && strings.HasSuffix(ip, "]") {
		ip = ip[1 : len(ip)-1]
	}
	var err error
	if h.IP, err = netip.ParseAddr(ip); err != nil || h.IP.Zone() != "" {
		return h, fmt.Errorf("host %q: %q is no IP address", s, ip)
	}
	if !ValidAlias(h.Name) {
		return h, fmt.Errorf("host %q: %q is no name of a machine", s, h.Name)
	}
	return h, nil
}

// ValidAlias reports whether others may call a machine that: a host name, in which underscores are
// allowed too, as in the names of containers. It becomes part of files.
func ValidAlias(s string) bool { return ValidHostname(strings.ReplaceAll(s, "_", "x")) }

// maxServers is how many name servers the C library asks: resolv.conf(5), MAXNS.
const maxServers = 3

// Check says what is wrong with names that come from a user.
func (n *Naming) Check() error {
	if n.Domainname != "" && !ValidHostname(n.Domainname) {
		return fmt.Errorf("%q is no domain name", n.Domainname)
	}
	if len(n.DNS) > maxServers {
		return errs.Hint(fmt.Errorf("%d name servers: only the first %d would be asked", len(n.DNS), maxServers), "see resolv.conf(5), \"nameserver\"")
	}
	for _, s := range n.DNSSearch {
		if s != "." && !ValidAlias(s) {
			return errs.Hint(fmt.Errorf("%q is no domain name", s), "`.` alone stands for no search domain")
		}
	}
	for _, o := range n.DNSOptions {
		if o == "" || strings.ContainsFunc(o, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%q is no option of resolv.conf(5)", o)
		}
	}
	return nil
}

// Files are those that depend on the container, not on its image alone.
// all is what it has in networks with a name.
func (c *Config) Files(all []Attachment) []ns.File {
	return append([]ns.File{
		{Target: "/etc/hostname", Content: c.Hostname + "\n"},
		{Target: "/etc/hosts", Content: c.hosts(all)},
		{Target: "/etc/resolv.conf", Content: c.resolvConf(all)},
	}, c.Accounts...)
}

const localHosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"

// hosts is /etc/hosts: hosts(5). What the user says comes first, as the first line with a name is
// the one that counts.
func (c *Config) hosts(all []Attachment) string {
	var b strings.Builder
	for _, h := range c.Hosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.IP, h.Name)
	}
	others, me := localHosts, network.OwnName
	if len(all) > 0 {
		me = all[0].IPv4.Addr()
	}
	own := me.String() + "\t" + strings.Join(c.ownNames(), " ") + "\n"
	if c.Network == "host" {
		// The network is the host's, and so are the names in it.
		if text, err := os.ReadFile("/etc/hosts"); err == nil {
			others = string(text)
		}
		if name, _ := os.Hostname(); name == c.Hostname && c.Domainname == "" {
			own = "" // the host knows its name
		} else if others != "" && !strings.HasSuffix(others, "\n") {
			others += "\n"
		}
	}
	return b.String() + others + own
}

// ownNames are the names of the container: the whole one, and the first part.
func (c *Config) ownNames() []string {
	whole := c.Hostname
	if c.Domainname != "" {
		whole += "." + c.Domainname
	}
	if short, _, more := strings.Cut(whole, "."); more {
		return []string{whole, short}
	}
	return []string{whole}
}

// resolvConf is /etc/resolv.conf: that of the host where the network is the host's, with what the
// user says in the place of what it said about that.
func (c *Config) resolvConf(all []Attachment) string {
	var lines []string
	servers := c.DNS
	if c.Network == network.Host {
		b, _ := os.ReadFile("/etc/resolv.conf") // none: the C library asks 127.0.0.1
		lines = slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), c.overridden)
	} else if len(all) > 0 {
		servers = nil
		for _, a := range all { // which knows the names in it, and asks c.DNS for all others
			servers = append(servers, a.Gateway4)
		}
	} else if len(servers) == 0 {
		choice, _ := network.ParseChoice(c.Network)
		switch f := choice.Foreign(); {
		case f != nil:
			servers = []netip.Addr{f.Resolver}
		case choice.Kind == network.User:
			servers = []netip.Addr{network.Private.Gateway4}
		default:
			lines = []string{"# this container has no network"}
		}
	}
	for _, ip := range servers {
		lines = append(lines, "nameserver "+ip.String())
	}
	if len(c.DNSSearch) > 0 && !slices.Equal(c.DNSSearch, []string{"."}) {
		lines = append(lines, "search "+strings.Join(c.DNSSearch, " "))
	}
	if len(c.DNSOptions) > 0 {
		lines = append(lines, "options "+strings.Join(c.DNSOptions, " "))
	}
	return strings.Join(append(lines, ""), "\n")
}

// overridden tells whether the user has said something else than such a line of resolv.conf(5).
func (n *Naming) overridden(line string) bool {
	keyword, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	switch keyword {
	case "nameserver":
		return len(n.DNS) > 0
	case "search", "domain":
		return len(n.DNSSearch) > 0
	case "options":
		return len(n.DNSOptions) > 0
	}
	return false
}
