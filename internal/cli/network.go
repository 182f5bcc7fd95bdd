// The command tiffin network: networks with a name are made, listed, shown and removed. Containers
// join them with --network.

package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// networkTable are the commands below `network`.
var networkTable = [...]command{
	{"create", "make a network", networkCreateCommand, plain},
	{"ls", "list the networks", networkLsCommand, plain},
	{"inspect", "print all there is to know about networks", networkInspectCommand, plain},
	{"rm", "remove networks that no container joins", networkRmCommand, plain},
	{"connect", "have a container join one more network", networkConnectCommand, plain},
	{"disconnect", "have a container leave a network", networkDisconnectCommand, plain},
	{"prune", "remove all networks that no container joins", networkPruneCommand, plain},
}

func networkCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "COMMAND [ARGUMENTS]",
		Description: "Containers with the same --network NAME reach one another, by name too, and the rest of the world.\n" +
			"What joins them is a process that runs as long as one of them does.\n\n" + listCommands(networkTable[:]) +
			"\n`tiffin network COMMAND --help` shows the flags of a command.",
		Action: subcommand("network", networkCommand, networkTable[:]),
	}
}

func networkCreateCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] NAME",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "subnet", Usage: "`PREFIX` of its addresses, such as 10.1.2.0/24: one of IPv4, one of IPv6, or those that are free"},
			&cli.StringSliceFlag{Name: "gateway", Usage: "`IP` of the way out, or the first of the subnet"},
			&cli.StringSliceFlag{Name: "label", Usage: "note `KEY=VALUE` about the network"},
			&cli.BoolFlag{Name: "internal", Usage: "its containers reach one another, and nothing else"},
			&cli.BoolFlag{Name: "ipv6", Usage: "for docker's sake; every network has IPv6", Hidden: true},
			&cli.StringFlag{Name: "driver", Aliases: []string{"d"}, Value: "bridge", Usage: "for docker's sake: bridge", Hidden: true},
		},
		Action: takes(1, 1, "a name", func(c *cli.Context) error {
			d, err := createNetwork(c)
			if err == nil {
				fmt.Fprintln(stdout, d.Name)
			}
			return err
		}),
	}
}

// createNetwork makes the network that the flags describe.
func createNetwork(c *cli.Context) (*network.Definition, error) {
	if d := c.String("driver"); d != "bridge" {
		return nil, fmt.Errorf("network driver %q is not there: a process of tiffin's joins the containers, as a bridge would", d)
	}
	labels, err := parseLabels(c.StringSlice("label"))
	if err != nil {
		return nil, err
	}
	d := &network.Definition{Name: c.Args().First(), Labels: labels, Internal: c.Bool("internal")}
	var subnets []netip.Prefix
	for _, s := range c.StringSlice("subnet") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--subnet: %q is no prefix such as 10.1.2.0/24", s)
		}
		subnets = append(subnets, p)
	}
	var gateways []netip.Addr
	for _, s := range c.StringSlice("gateway") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("--gateway: %q is no IP address", s)
		}
		gateways = append(gateways, a)
	}
	set, err := containers()
	if err != nil {
		return nil, err
	}
	return d, set.CreateNetwork(d, subnets, gateways)
}

// networkRow is a network as ls shows it, for templates too. It has no ID but its name.
type networkRow struct {
	ID, Name, Driver, Scope, Subnet, Subnet6, CreatedAt, Containers, Labels, IPv4, IPv6, Internal string

	labels map[string]string
}

// Label is docker's .Label "KEY".
func (r *networkRow) Label(key string) string { return r.labels[key] }

func networkLsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only names"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "for docker's sake: nothing is cut", Hidden: true},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only `KEY=VALUE`: name, id (a part of it), label (also KEY=VALUE), driver, scope, type (custom), dangling (without containers: true or false)"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			all, err := set.Networks()
			if err != nil {
				return err
			}
			var rows []*networkRow
			for _, d := range all {
				row, err := newNetworkRow(set, d)
				if err != nil {
					return err
				}
				ok, err := row.matches(c.StringSlice("filter"))
				if err != nil {
					return err
				}
				if ok {
					rows = append(rows, row)
				}
			}
			if _, err := (&networkRow{}).matches(c.StringSlice("filter")); err != nil {
				return err // also where there is no network
			}
			if c.Bool("quiet") {
				for _, row := range rows {
					fmt.Fprintln(stdout, row.Name)
				}
				return nil
			}
			header := &networkRow{ID: "NETWORK ID", Name: "NAME", Driver: "DRIVER", Scope: "SCOPE", Subnet: "SUBNET", Subnet6: "SUBNET OF IPV6", CreatedAt: "CREATED AT",
				Containers: "CONTAINERS", Labels: "LABELS", IPv4: "IPV4", IPv6: "IPV6", Internal: "INTERNAL"}
			return printRows(stdout, c.String("format"), "table {{.Name}}\t{{.Subnet}}\t{{.Subnet6}}\t{{.Containers}}", header, rows)
		}),
	}
}

func newNetworkRow(set *disk.Set, d *network.Definition) (*networkRow, error) {
	members, err := set.Members(d.Name)
	if err != nil {
		return nil, err
	}
	var labels, names []string
	for k, v := range d.Labels {
		labels = append(labels, k+"="+v)
	}
	for _, m := range members {
		names = append(names, m.Name)
	}
	slices.Sort(labels)
	slices.Sort(names)
	return &networkRow{d.Name, d.Name, "bridge", "local", d.IPv4.Masked().String(), d.IPv6.Masked().String(), localTime(d.Created),
		strings.Join(names, ","), strings.Join(labels, ","), "true", "true", fmt.Sprint(d.Internal), d.Labels}, nil
}

// matches tells whether a network is what filters ask for: those of one key are alternatives, but
// labels must all be there, as docker-network-ls(1) has it.
func (r *networkRow) matches(filters []string) (bool, error) {
	byKey := map[string]bool{}
	for _, f := range filters {
		key, value, _ := strings.Cut(f, "=")
		var ok bool
		switch key {
		case "name", "id":
			ok = strings.Contains(r.Name, value)
		case "label":
			k, v, valued := strings.Cut(value, "=")
			has, there := r.labels[k]
			key, ok = f, there && (!valued || has == v)
		case "driver":
			ok = r.Driver == value
		case "scope":
			ok = r.Scope == value
		case "type":
			ok = value == "custom"
		case "dangling":
			ok = fmt.Sprint(r.Containers == "") == value
		default:
			return false, errs.Hint(usagef("--filter %q: there is no such key", f), "use name, id, label, driver, scope, type or dangling")
		}
		byKey[key] = byKey[key] || ok
	}
	for _, ok := range byKey {
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// networkInspection is what inspect prints of a network, in docker's words and order.
type networkInspection struct {
	Name, Id               string
	Created                time.Time
	Scope                  string
	Driver                 string
	EnableIPv4, EnableIPv6 bool
	IPAM                   networkAddresses
	Internal               bool
	Attachable, Ingress    bool
	ConfigFrom             struct{ Network string }
	ConfigOnly             bool
	Containers             map[string]networkMember
	Options                map[string]string
	Labels                 map[string]string
}

type networkAddresses struct {
	Driver  string
	Options map[string]string
	Config  []networkPool
}

type networkPool struct {
	Subnet  netip.Prefix
	Gateway netip.Addr
}

// networkMember is a container that runs in a network.
type networkMember struct {
	Name, EndpointID, MacAddress string
	IPv4Address, IPv6Address     netip.Prefix
}

func networkInspectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-f TEMPLATE] NETWORK…",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`TEMPLATE` of Go for each, or json"}},
		Action: takes(1, -1, "at least one network", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			return inspectEach(c, func(name string) (any, error) { return inspectNetwork(set, name) })
		}),
	}
}

func inspectNetwork(set *disk.Set, name string) (*networkInspection, error) {
	d, err := set.Network(name)
	if err != nil {
		return nil, err
	}
	x := &networkInspection{Name: d.Name, Id: d.Name, Created: d.Created, Scope: "local", Driver: "bridge", EnableIPv4: true, EnableIPv6: true, Internal: d.Internal,
		IPAM:       networkAddresses{"default", map[string]string{}, []networkPool{{d.IPv4.Masked(), d.Gateway4}, {d.IPv6.Masked(), d.Gateway6}}},
		Containers: map[string]networkMember{}, Options: map[string]string{}, Labels: d.Labels}
	if x.Labels == nil {
		x.Labels = map[string]string{}
	}
	running, err := set.Running(name)
	for _, r := range running {
		x.Containers[r.ID] = networkMember{r.Container.Name, r.ID, network.MAC(r.IPv4.Addr()).String(), r.IPv4, r.IPv6}
	}
	return x, err
}

func networkRmCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-f] NETWORK…",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "a missing one is no error"}},
		Action: takes(1, -1, "one or more networks", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			return eachArg(c, func(name string) error {
				err := set.RemoveNetwork(name)
				if c.Bool("force") && errors.Is(err, disk.ErrNoNetwork) {
					return nil
				}
				if err == nil {
					fmt.Fprintln(stdout, name)
				}
				return err
			})
		}),
	}
}

func networkPruneCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-f]",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not ask"}},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			if !c.Bool("force") && !confirm("This removes all networks that no container joins. Continue? [y/N] ") {
				return nil
			}
			return pruneNetworks()
		}),
	}
}

// pruneNetworks removes the networks that no container joins, and prints their names.
func pruneNetworks() error {
	set, err := containers()
	if err != nil {
		return err
	}
	all, err := set.Networks()
	if err != nil {
		return err
	}
	for _, d := range all {
		members, e := set.Members(d.Name)
		if e == nil && len(members) == 0 {
			if e = set.RemoveNetwork(d.Name); e == nil {
				fmt.Fprintln(stdout, d.Name)
			}
		}
		if e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
