// The commands tiffin network connect and disconnect, and what a container asks for in a network.

package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

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

// membership reads them, for the network of that name.
func membership(c *cli.Context, name, alias string) (m disk.Membership, err error) {
	m.Name = name
	set, err := containers()
	if err != nil {
		return m, err
	}
	d, err := set.Network(name)
	if err != nil {
		return m, err
	}
	for _, f := range []struct {
		flag string
		in   netip.Prefix
		to   *netip.Addr
	}{{"ip", d.IPv4, &m.IPv4}, {"ip6", d.IPv6, &m.IPv6}} {
		if !c.IsSet(f.flag) {
			continue
		}
		if *f.to, err = netip.ParseAddr(c.String(f.flag)); err != nil || !f.in.Contains(*f.to) {
			return m, fmt.Errorf("--%s %s is no address in network %s, %s", f.flag, c.String(f.flag), d.Name, f.in.Masked())
		}
	}
	for _, a := range c.StringSlice(alias) {
		if !disk.ValidAlias(a) {
			return m, fmt.Errorf("--%s: %q is no name of a machine", alias, a)
		}
		m.Aliases = append(m.Aliases, a)
	}
	return m, nil
}

func networkConnectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] NETWORK CONTAINER",
		Description: "The container must not run: its interfaces are made when it starts.",
		Flags:       memberFlags("alias"),
		Action: takes(2, 2, "a network and a container", func(c *cli.Context) error {
			m, err := membership(c, c.Args().First(), "alias")
			if err != nil {
				return err
			}
			return changeNetworks(c.Args().Get(1), func(ctr *disk.Container) ([]disk.Membership, error) {
				choice, err := network.ParseChoice(ctr.Network)
				if err == nil && (choice.Kind == network.Host || choice.Kind == network.Container) {
					err = fmt.Errorf("container %s has no network of its own: --network %s", ctr.Name, ctr.Network)
				}
				if err == nil && ctr.Joins(m.Name) != nil {
					err = fmt.Errorf("container %s joins network %s already", ctr.Name, m.Name)
				}
				return append(slices.Clone(ctr.Networks), m), err
			})
		}),
	}
}

func networkDisconnectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "NETWORK CONTAINER",
		Description: "The container must not run.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "for docker's sake", Hidden: true}},
		Action: takes(2, 2, "a network and a container", func(c *cli.Context) error {
			name := c.Args().First()
			return changeNetworks(c.Args().Get(1), func(ctr *disk.Container) ([]disk.Membership, error) {
				if ctr.Joins(name) == nil {
					return nil, fmt.Errorf("container %s does not join network %s", ctr.Name, name)
				}
				return slices.DeleteFunc(slices.Clone(ctr.Networks), func(m disk.Membership) bool { return m.Name == name }), nil
			})
		}),
	}
}

// changeNetworks changes what a container joins, while nobody can start it.
func changeNetworks(ref string, change func(*disk.Container) ([]disk.Membership, error)) error {
	ctr, err := findContainer(ref)
	if err != nil {
		return err
	}
	var lock *os.File
	if lock, err = ctr.Lock(); errors.Is(err, disk.ErrLocked) {
		return errs.Hint(fmt.Errorf("container %s runs, and gets its interfaces when it starts", ctr.Name), fmt.Sprintf("`tiffin stop %s`, then again, then `tiffin start %s`", ctr.Name, ctr.Name))
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if ctr, err = findContainer(ctr.ID); err != nil { // as it is now
		return err
	}
	all, err := change(ctr)
	if err != nil {
		return err
	}
	return ctr.SetNetworks(all)
}
