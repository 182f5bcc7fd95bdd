// Published ports: the flags of run and create, the column of ps, and the command tiffin port.

package cli

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
)

func portFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "publish", Aliases: []string{"p"}, Usage: "reach a port of the container here: `[IP:][HOST:]CONTAINER[/udp]`, or ranges; without IP from this machine alone"},
		&cli.BoolFlag{Name: "publish-all", Aliases: []string{"P"}, Usage: "publish all ports that the image or --expose names, wherever one is free"},
		&cli.StringSliceFlag{Name: "expose", Usage: "name a `PORT[/udp]` or range that the command serves"},
	}
}

// setPorts reads them.
func setPorts(cfg *disk.Config, c *cli.Context, ic ocispec.ImageConfig) error {
	for _, s := range c.StringSlice("publish") {
		ports, err := network.ParsePorts(s)
		if err != nil {
			return err
		}
		cfg.Ports = append(cfg.Ports, ports...)
	}
	if err := setExposed(cfg, c, ic); err != nil {
		return err
	}
	if cfg.PublishAll = c.Bool("publish-all"); cfg.PublishAll {
		for _, port := range cfg.Exposed {
			if !slices.ContainsFunc(cfg.Ports, func(p network.Port) bool { return p.Exposed() == port }) {
				more, err := network.ParsePorts(port)
				if err != nil {
					return err
				}
				cfg.Ports = append(cfg.Ports, more...)
			}
		}
	}
	if cfg.Shares() != "" && (len(cfg.Ports) > 0 || cfg.PublishAll) {
		return errs.Hint(errors.New("-p and --network container:… exclude each other: the ports are those of the other container"), "publish them where that one is started")
	}
	if len(cfg.Ports) > 0 && cfg.Network == "host" {
		fmt.Fprintln(stderr, "tiffin: note: -p has no effect with --network host: the command's ports are this machine's")
		cfg.Ports = nil
	}
	warnPublic(cfg.Ports)
	return nil
}

// setExposed collects what the image and --expose name. In an image it is one port each: OCI
// image-spec v1.1 config.md, "ExposedPorts".
func setExposed(cfg *disk.Config, c *cli.Context, ic ocispec.ImageConfig) error {
	exposed := map[string]bool{}
	for s := range ic.ExposedPorts {
		ports, err := network.ParseExposed(s)
		if err == nil && len(ports) > 1 {
			err = fmt.Errorf("expose %q: a range", s)
		}
		if err != nil {
			if c.Bool("publish-all") {
				return fmt.Errorf("image %s: %w", cfg.Image, err)
			}
			continue // it is for people to read, and means nothing here
		}
		exposed[ports[0]] = true
	}
	for _, s := range c.StringSlice("expose") {
		ports, err := network.ParseExposed(s)
		if err != nil {
			return err
		}
		for _, p := range ports {
			exposed[p] = true
		}
	}
	cfg.Exposed = slices.Sorted(maps.Keys(exposed))
	return nil
}

// warnPublic says which ports other machines can reach.
func warnPublic(ports []network.Port) {
	var public []string
	for _, p := range ports {
		if p.IP.IsValid() && !p.IP.IsLoopback() && !slices.Contains(public, p.Exposed()) {
			public = append(public, p.Exposed())
		}
	}
	switch n := len(public); {
	case n > 3:
		fmt.Fprintf(stderr, "tiffin: note: %d ports can be reached from other machines\n", n)
	case n > 0:
		fmt.Fprintf(stderr, "tiffin: note: %s can be reached from other machines\n", strings.Join(public, ", "))
	}
}

// showPorts is the column of ps, as docker has it: where each port is, neighbours as a range, then
// those that are only named.
func showPorts(s disk.State, exposed []string) string {
	if s.Status != disk.Running {
		return ""
	}
	type run struct{ first, last network.Port }
	var runs []run
	byAddress := slices.Clone(s.Ports)
	slices.SortStableFunc(byAddress, func(a, b network.Port) int { return a.IP.Compare(b.IP) })
	for _, p := range byAddress {
		if n := len(runs) - 1; n >= 0 {
			if l := runs[n].last; l.IP == p.IP && l.Protocol == p.Protocol && l.Host+1 == p.Host && l.Container+1 == p.Container {
				runs[n].last = p
				continue
			}
		}
		runs = append(runs, run{p, p})
	}
	var shown []string
	for _, r := range runs {
		at, inside := r.first.At(), fmt.Sprint(r.first.Container)
		if r.first != r.last {
			at += fmt.Sprint("-", r.last.Host)
			inside += fmt.Sprint("-", r.last.Container)
		}
		shown = append(shown, fmt.Sprintf("%s->%s/%s", at, inside, r.first.Protocol))
	}
	for _, port := range exposed {
		if !slices.ContainsFunc(s.Ports, func(p network.Port) bool { return p.Exposed() == port }) {
			shown = append(shown, port)
		}
	}
	return strings.Join(shown, ", ")
}

func portCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER [PORT[/udp]]",
		Description: "Prints for each published port of a container where it can be reached; for one port, only that.\n" +
			"A container that does not run has none.",
		Action: takes(1, 2, "a container, and perhaps a port", func(c *cli.Context) error {
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			s, err := ctr.State()
			if err != nil {
				return err
			}
			if s.Status != disk.Running {
				s.Ports = nil
			}
			return printPorts(ctr.Name, s.Ports, c.Args().Get(1))
		}),
	}
}

// printPorts prints all, or one as it was asked for.
func printPorts(name string, ports []network.Port, asked string) error {
	if asked == "" {
		for _, p := range ports {
			fmt.Fprintf(stdout, "%s -> %s\n", p.Exposed(), p.At())
		}
		return nil
	}
	wanted, err := network.ParseExposed(asked)
	if err != nil {
		return err
	}
	found := false
	for _, p := range ports {
		if slices.Contains(wanted, p.Exposed()) {
			fmt.Fprintln(stdout, netip.AddrPortFrom(p.IP, p.Host))
			found = true
		}
	}
	if !found {
		return errs.Hint(errors.New("container "+name+" does not publish "+wanted[0]), "`tiffin run -p` publishes a port")
	}
	return nil
}
