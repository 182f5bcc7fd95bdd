// The commands tiffin network connect and disconnect, and what a container asks for in a network.

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// memberFlags are the flags about what a container asks for; alias is the name of the first.
func memberFlags(alias string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: alias, Usage: "further `NAME` that others in the network find the container by"},
		&cli.StringFlag{Name: "ip", Usage: "`IP` of the container in the network, or any that is free"},
		&cli.StringFlag{Name: "ip6", Usage: "the same for IPv6: `IP`"},
	}
}

// asked is what a container asks for in a network, as it is written.
type asked struct {
	name    string
	aliases []string
	ip, ip6 string
}

// askedBy is what memberFlags say.
func askedBy(c *cli.Context, name, alias string) asked {
	return asked{name, c.StringSlice(alias), c.String("ip"), c.String("ip6")}
}

// parseAsked reads an argument of --network: a name, or docker's longer form, such as
// name=front,alias=web,ip=10.1.2.3.
func parseAsked(s string) (a asked, err error) {
	if !strings.Contains(s, "=") {
		return asked{name: s}, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "name":
			a.name = value
		case "alias":
			a.aliases = append(a.aliases, value)
		case "ip":
			a.ip = value
		case "ip6":
			a.ip6 = value
		default:
			return a, fmt.Errorf("--network %s: %q is none of name, alias, ip and ip6", s, key)
		}
	}
	return a, nil
}

// chosenNetworks reads what is given with --network: one of any kind, or several with a name.
func chosenNetworks(cfg *disk.Config, values []string) (first network.Choice, err error) {
	for i, v := range values {
		a, err := parseAsked(v)
		if err != nil {
			return first, err
		}
		choice, err := network.ParseChoice(a.name)
		if err != nil {
			return first, err
		}
		if i == 0 {
			first, cfg.Network = choice, a.name
		}
		if named := choice.Kind == network.Named && first.Kind == network.Named; !named && (len(values) > 1 || a.name != v) {
			return first, errs.Hint(fmt.Errorf("--network %s goes with no other, and is no network with a name", v), "`tiffin network create NAME` makes one, and a container can be in several of them")
		} else if !named {
			continue
		}
		m, err := membership(a)
		if err != nil {
			return first, err
		}
		if cfg.Joins(m.Name) != nil {
			return first, fmt.Errorf("--network %s is given twice", m.Name)
		}
		cfg.Networks = append(cfg.Networks, m)
	}
	return first, nil
}

// joinNetwork adds what flags say to the only network of a container.
func joinNetwork(cfg *disk.Config, c *cli.Context, name string) error {
	if len(cfg.Networks) > 1 {
		return nil // then there are none
	}
	m, err := membership(askedBy(c, name, "network-alias"))
	if len(cfg.Networks) == 1 && err == nil {
		given := cfg.Networks[0]
		m.Aliases = append(given.Aliases, m.Aliases...)
		m.IPv4, m.IPv6 = cmp.Or(m.IPv4, given.IPv4), cmp.Or(m.IPv6, given.IPv6)
	}
	cfg.Networks = []disk.Membership{m}
	return err
}

// membership checks it.
func membership(a asked) (disk.Membership, error) {
	m := disk.Membership{Name: a.name, Aliases: a.aliases}
	set, err := containers()
	if err != nil {
		return m, err
	}
	d, err := set.Network(a.name)
	if err != nil {
		return m, err
	}
	for _, f := range []struct {
		flag, value string
		in          netip.Prefix
		to          *netip.Addr
	}{{"ip", a.ip, d.IPv4, &m.IPv4}, {"ip6", a.ip6, d.IPv6, &m.IPv6}} {
		if f.value == "" {
			continue
		}
		if *f.to, err = netip.ParseAddr(f.value); err != nil || !f.in.Contains(*f.to) {
			return m, fmt.Errorf("--%s %s is no address in network %s, %s", f.flag, f.value, d.Name, f.in.Masked())
		}
	}
	for _, name := range a.aliases {
		if !disk.ValidAlias(name) {
			return m, fmt.Errorf("alias %q in network %s is no name of a machine", name, a.name)
		}
	}
	return m, nil
}

func networkConnectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] NETWORK CONTAINER",
		Description: "A container that runs gets one more interface at once, and its /etc/hosts and resolv.conf know the\n" +
			"names there. Containers that share its network do not learn the names.",
		Flags: memberFlags("alias"),
		Action: takes(2, 2, "a network and a container", func(c *cli.Context) error {
			m, err := membership(askedBy(c, c.Args().First(), "alias"))
			if err != nil {
				return err
			}
			ctr, running, err := changeNetworks(c.Args().Get(1), func(ctr *disk.Container) ([]disk.Membership, error) {
				choice, err := network.ParseChoice(ctr.Network)
				if err == nil && slices.Contains(ctr.Without, "net") {
					err = fmt.Errorf("container %s has no network of its own: --without net", ctr.Name)
				}
				if err == nil && (choice.Kind == network.Host || choice.Kind == network.Container) {
					err = fmt.Errorf("container %s has no network of its own: --network %s", ctr.Name, ctr.Network)
				}
				if f := choice.Foreign(); err == nil && f != nil {
					err = fmt.Errorf("container %s has its network from %s, which knows no other", ctr.Name, f.Name)
				}
				if err == nil && ctr.Joins(m.Name) != nil {
					err = fmt.Errorf("container %s joins network %s already", ctr.Name, m.Name)
				}
				return append(slices.Clone(ctr.Networks), m), err
			})
			if err != nil || !running {
				return err
			}
			changed, err := client.Connect(ctr, m)
			if err != nil {
				_, _, e := changeNetworks(ctr.ID, func(ctr *disk.Container) ([]disk.Membership, error) { return without(ctr, m.Name) })
				return errors.Join(fmt.Errorf("connect container %s with network %s: %w", ctr.Name, m.Name, err), e)
			}
			noteChanged(changed)
			return nil
		}),
	}
}

func networkDisconnectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "NETWORK CONTAINER",
		Description: "The interface of a container that runs goes away at once.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "for docker's sake", Hidden: true}},
		Action: takes(2, 2, "a network and a container", func(c *cli.Context) error {
			name := c.Args().First()
			ctr, running, err := changeNetworks(c.Args().Get(1), func(ctr *disk.Container) ([]disk.Membership, error) { return without(ctr, name) })
			if err != nil || !running {
				return err
			}
			changed, err := client.Disconnect(ctr, name)
			if err != nil {
				return fmt.Errorf("disconnect container %s from network %s: %w", ctr.Name, name, err)
			}
			noteChanged(changed)
			return nil
		}),
	}
}

// without are the networks of a container but for one.
func without(ctr *disk.Container, name string) ([]disk.Membership, error) {
	if ctr.Joins(name) == nil {
		return nil, fmt.Errorf("container %s does not join network %s", ctr.Name, name)
	}
	return slices.DeleteFunc(slices.Clone(ctr.Networks), func(m disk.Membership) bool { return m.Name == name }), nil
}

// noteChanged says which files of a container do not know its networks.
func noteChanged(paths []string) {
	for _, path := range paths {
		fmt.Fprintf(stderr, "tiffin: note: %s is not as it was when the container was started, and stays as it is: names of its networks may be missing\n", path)
	}
}

// changeNetworks changes what a container joins when it starts, and tells whether it runs now.
func changeNetworks(ref string, change func(*disk.Container) ([]disk.Membership, error)) (ctr *disk.Container, running bool, err error) {
	if ctr, err = findContainer(ref); err != nil {
		return nil, false, err
	}
	lock, err := ctr.Lock()
	if running = errors.Is(err, disk.ErrLocked); !running && err != nil {
		return nil, false, err
	}
	defer lock.Close()
	// One command at a time, and no network is removed meanwhile.
	dir, err := ctr.Set().LockNetworks()
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	if ctr, err = findContainer(ctr.ID); err != nil { // as it is now
		return nil, false, err
	}
	all, err := change(ctr)
	if err == nil {
		err = ctr.SetNetworks(all)
	}
	return ctr, running, err
}
