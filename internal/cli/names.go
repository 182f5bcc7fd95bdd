// The flags of run and create about names: those of the container, those it knows, whom it asks.
// A container that shares the network of another shares its names.

package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
	"tiffin/ns"
)

func nameFlags() []cli.Flag {
	return append(memberFlags("network-alias"),
		&cli.StringFlag{Name: "domainname", Usage: "`DOMAIN` that the name of the machine is in"},
		&cli.StringSliceFlag{Name: "add-host", Usage: "`NAME:IP` for /etc/hosts; IP is host-gateway for this machine's loopback, with --network user:host-loopback"},
		&cli.StringSliceFlag{Name: "dns", Usage: "`IP` of the name server to ask, up to three"},
		&cli.StringSliceFlag{Name: "dns-search", Usage: "`DOMAIN` to try for names without one, or . for none"},
		&cli.StringSliceFlag{Name: "dns-option", Aliases: []string{"dns-opt"}, Usage: "`OPTION` of resolv.conf(5), such as ndots:2"},
	)
}

// setNames reads them.
func setNames(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	cfg.Domainname, cfg.DNSSearch, cfg.DNSOptions = c.String("domainname"), c.StringSlice("dns-search"), c.StringSlice("dns-option")
	for _, s := range c.StringSlice("add-host") {
		s, err := replaceGateway(s, c)
		if err != nil {
			return fmt.Errorf("--add-host: %w", err)
		}
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

// replaceGateway replaces docker's host-gateway, the machine itself, by the address that leads to
// its loopback.
func replaceGateway(host string, c *cli.Context) (string, error) {
	name, ok := strings.CutSuffix(host, "host-gateway")
	if !ok {
		return host, nil
	}
	if choice, err := network.ParseChoice(strings.Join(c.StringSlice("network"), ",")); err != nil || !choice.HostLoopback {
		return "", errs.Hint(fmt.Errorf("host %q: no address leads to this machine's loopback", host), "one does with --network user:host-loopback")
	}
	return name + network.Private.Gateway4.String(), nil
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
