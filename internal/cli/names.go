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
	return append(memberFlags("network-alias"),
		&cli.StringFlag{Name: "domainname", Usage: "`DOMAIN` that the name of the machine is in"},
		&cli.StringSliceFlag{Name: "add-host", Usage: "`NAME:IP` for /etc/hosts"},
		&cli.StringSliceFlag{Name: "dns", Usage: "`IP` of the name server to ask, up to three"},
		&cli.StringSliceFlag{Name: "dns-search", Usage: "`DOMAIN` to try for names without one, or . for none"},
		&cli.StringSliceFlag{Name: "dns-option", Aliases: []string{"dns-opt"}, Usage: "`OPTION` of resolv.conf(5), such as ndots:2"},
	)
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
	return cfg.Naming.Check()
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
