// The flags of run and create about names: those of the container, those it knows, whom it asks.
// A container that shares the network of another shares its names.

package cli

import (
	"fmt"
	"net/netip"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

func nameFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "domainname", Usage: "`DOMAIN` that the name of the machine is in"},
		&cli.StringSliceFlag{Name: "network-alias", Usage: "further `NAME` that others in the network find the container by"},
		&cli.StringFlag{Name: "ip", Usage: "`IP` of the container in the network, or any that is free"},
		&cli.StringFlag{Name: "ip6", Usage: "the same for IPv6: `IP`"},
		&cli.StringSliceFlag{Name: "add-host", Usage: "`NAME:IP` for /etc/hosts"},
		&cli.StringSliceFlag{Name: "dns", Usage: "`IP` of the name server to ask, up to three"},
		&cli.StringSliceFlag{Name: "dns-search", Usage: "`DOMAIN` to try for names without one, or . for none"},
		&cli.StringSliceFlag{Name: "dns-option", Aliases: []string{"dns-opt"}, Usage: "`OPTION` of resolv.conf(5), such as ndots:2"},
	}
}

// setNames reads them.
func setNames(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	cfg.Domainname, cfg.DNSSearch, cfg.DNSOptions = c.String("domainname"), c.StringSlice("dns-search"), c.StringSlice("dns-option")
	for _, s := range c.StringSlice("add-host") {
		h, err := disk.ParseHost(s)
		if err != nil {
			return fmt.Errorf("--add-host: %w", err)
		}
		cfg.Hosts = append(cfg.Hosts, h)
	}
	for _, s := range c.StringSlice("dns") {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("--dns: %q is no IP address", s)
		}
		cfg.DNS = append(cfg.DNS, ip)
	}
	for _, flag := range []string{"network-alias", "ip", "ip6"} {
		if c.IsSet(flag) && cfg.Joins() == "" {
			return errs.Hint(fmt.Errorf("--%s is for networks with a name", flag), "`tiffin network create NAME`, then --network NAME")
		}
	}
	return cfg.Naming.Check()
}

// joinNetwork reads what the container asks for in a network with a name.
func joinNetwork(cfg *disk.Config, c *cli.Context) error {
	set, err := containers()
	if err != nil {
		return err
	}
	d, err := set.Network(cfg.Joins())
	if err != nil {
		return err
	}
	for _, f := range []struct {
		flag string
		in   netip.Prefix
		to   *netip.Addr
	}{{"ip", d.IPv4, &cfg.Member.IPv4}, {"ip6", d.IPv6, &cfg.Member.IPv6}} {
		if !c.IsSet(f.flag) {
			continue
		}
		if *f.to, err = netip.ParseAddr(c.String(f.flag)); err != nil || !f.in.Contains(*f.to) {
			return fmt.Errorf("--%s %s is no address in network %s, %s", f.flag, c.String(f.flag), d.Name, f.in.Masked())
		}
	}
	for _, name := range c.StringSlice("network-alias") {
		if !disk.ValidAlias(name) {
			return fmt.Errorf("--network-alias: %q is no name of a machine", name)
		}
		cfg.Member.Aliases = append(cfg.Member.Aliases, name)
	}
	return nil
}

// shareNetwork replaces the name in --network container:NAME by an ID, and takes over what comes
// with a network: host name, names, and the user namespace that owns it, with its ids.
func shareNetwork(cfg *disk.Config, c *cli.Context) error {
	other, err := findContainer(cfg.Shares())
	if err != nil {
		return fmt.Errorf("--network %s: %w", cfg.Network, err)
	}
	for _, flag := range []string{"hostname", "domainname", "add-host", "dns", "dns-search", "dns-option", "userns"} {
		if c.IsSet(flag) {
			return errs.Hint(fmt.Errorf("--%s is the business of container %s, whose network is shared", flag, other.Name), "give it to that one")
		}
	}
	if other.Network == "host" || slices.Contains(other.Without, "net") {
		return errs.Hint(fmt.Errorf("container %s has no network of its own to share, but the host's", other.Name), "use --network host")
	}
	cfg.Network = ns.SharedNetwork + other.ID
	if other.Shares() != "" {
		cfg.Network = other.Network
	}
	cfg.Hostname, cfg.Domainname, cfg.SingleID, cfg.KeepID = other.Hostname, other.Domainname, other.SingleID, other.KeepID
	if cfg.KeepID != "" && !c.IsSet("user") {
		cfg.User = cfg.KeepID
	}
	return nil
}
