// The flags of run and create about names: those of the container, those it knows, whom it asks.

package cli

import (
	"fmt"
	"net/netip"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
)

func nameFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "domainname", Usage: "`DOMAIN` that the name of the machine is in"},
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
	return cfg.Naming.Check()
}
