// The networks of a set of containers: networks/NAME.json, written once.

package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tiffin/internal/errs"
	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// Membership is what a container asks for in a network with a name. Zero values are for any.
type Membership struct {
	Name    string     `json:"name"`              // of the network
	Aliases []string   `json:"aliases,omitempty"` // further names
	IPv4    netip.Addr `json:"ipv4,omitzero"`
	IPv6    netip.Addr `json:"ipv6,omitzero"`
}

// Attachment is what a running container has in such a network.
type Attachment struct {
	Name string `json:"name"` // of the network
	network.Addresses
	Internal bool `json:"internal,omitempty"` // nothing outside can be reached
}

// Joins finds what the container asks for in a network, nil if it does not join that.
func (c *Config) Joins(name string) *Membership {
	i := slices.IndexFunc(c.Networks, func(m Membership) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Networks[i]
}

// SetNetworks changes which networks the container joins when it starts.
func (c *Container) SetNetworks(all []Membership) error {
	if choice, err := network.ParseChoice(c.Network); err == nil && choice.Kind == network.Named {
		c.Network = network.None
		if len(all) > 0 {
			c.Network = all[0].Name
		}
	}
	c.Networks = all
	if err := c.writeConfig(); err != nil {
		return fmt.Errorf("change the networks of container %s: %w", c.Name, err)
	}
	return nil
}

// Names are those by which others in a network find the container, its own first.
func (c *Config) Names(m Membership) (names []string) {
	for _, name := range slices.Concat([]string{c.Name}, m.Aliases, []string{c.ID[:12], c.Hostname}) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// ErrNoNetwork is wrapped by errors that say there is no such network.
var ErrNoNetwork = errors.New("no such network")

// NetworksDir is the directory of the networks.
func (s *Set) NetworksDir() string { return filepath.Join(s.root, "networks") }

func (s *Set) networkFile(name string) string { return filepath.Join(s.NetworksDir(), name+".json") }

// NetworkSocket is the name in the networks' directory of the socket at which members arrive.
func NetworkSocket(name string) string { return name + ".sock" }

// LockNetworks makes the directory, and lets nobody else change what is in it until it is closed.
func (s *Set) LockNetworks() (*os.File, error) {
	dir, err := lockDir(s.NetworksDir())
	if err != nil {
		return nil, fmt.Errorf("lock the networks: %w", err)
	}
	return dir, nil
}

// CreateNetwork makes a network of those subnets and gateways: see Definition.Place.
func (s *Set) CreateNetwork(d *network.Definition, subnets []netip.Prefix, gateways []netip.Addr) error {
	if !validName(d.Name) || network.Reserved(d.Name) {
		return errs.Hint(fmt.Errorf("network name %q is not valid", d.Name), "use two or more of a-z A-Z 0-9 _ . - and start with a letter or digit; none, host, user and their like are taken")
	}
	dir, err := s.LockNetworks()
	if err != nil {
		return err
	}
	defer dir.Close()
	all, err := s.Networks()
	if err != nil {
		return err
	}
	used := []netip.Prefix{network.Private.IPv4.Masked(), network.Private.IPv6.Masked()}
	for _, other := range all {
		if other.Name == d.Name {
			return errs.Hint(fmt.Errorf("network %s is there already", d.Name), fmt.Sprintf("`tiffin network rm %s` removes it", d.Name))
		}
		used = append(used, other.IPv4.Masked(), other.IPv6.Masked())
	}
	if err := d.Place(subnets, gateways, append(used, hostSubnets()...)); err != nil {
		return fmt.Errorf("create network %s: %w", d.Name, err)
	}
	d.Created = time.Now().UTC()
	if err := Exact(d); err != nil {
		return err
	}
	if err := ReplaceJSON(s.networkFile(d.Name), d); err != nil {
		return fmt.Errorf("create network %s: %w", d.Name, err)
	}
	return nil
}

// hostSubnets are those of this machine, which containers would not reach behind a subnet of their
// own that is the same.
func hostSubnets() (found []netip.Prefix) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			found = append(found, p.Masked())
		}
	}
	return found
}

// Networks lists the networks by name.
func (s *Set) Networks() (all []*network.Definition, err error) {
	ents, err := os.ReadDir(s.NetworksDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the networks: %w", err)
	}
	for _, e := range ents {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			d, err := s.Network(name)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b *network.Definition) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Network finds a network by its name.
func (s *Set) Network(name string) (*network.Definition, error) {
	missing := errs.Hint(fmt.Errorf("%w: %s", ErrNoNetwork, name), "`tiffin network ls` lists the networks, `tiffin network create` makes one")
	if !validName(name) {
		return nil, missing
	}
	b, err := os.ReadFile(s.networkFile(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, missing
	}
	d := new(network.Definition)
	if err == nil {
		err = json.Unmarshal(b, d)
	}
	if err == nil && (d.Name != name || !d.IPv4.IsValid() || !d.IPv6.IsValid()) {
		err = errors.New("it is not that of this network")
	}
	if err != nil {
		return nil, fmt.Errorf("read network %s: %s: %w", name, s.networkFile(name), err)
	}
	return d, nil
}

// Members are the containers that join a network when they start.
func (s *Set) Members(name string) (members []*Container, err error) {
	all, err := s.All()
	for _, c := range all {
		if c.Joins(name) != nil {
			members = append(members, c)
		}
	}
	return members, err
}

// Present is a container that runs in a network.
type Present struct {
	*Container
	Attachment
}

// Running are the containers that run in a network.
func (s *Set) Running(name string) (all []Present, err error) {
	members, err := s.Members(name)
	for _, c := range members {
		state, err := c.State()
		if err != nil || state.Status != Running {
			continue // it has just been removed
		}
		if i := slices.IndexFunc(state.Networks, func(a Attachment) bool { return a.Name == name }); i >= 0 {
			all = append(all, Present{c, state.Networks[i]})
		}
	}
	return all, err
}

// RemoveNetwork removes a network that no container joins.
func (s *Set) RemoveNetwork(name string) error {
	dir, err := s.LockNetworks()
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := s.Network(name); err != nil {
		return err
	}
	members, err := s.Members(name)
	if err != nil {
		return err
	}
	if len(members) > 0 {
		names := ""
		for _, c := range members {
			names += " " + c.Name
		}
		return errs.Hint(fmt.Errorf("network %s has containers:%s", name, names), "remove these first: `tiffin rm -f"+names+"`")
	}
	// Whoever still listens there is not to be found by a new network of that name.
	_ = wire.Remove(filepath.Join(s.NetworksDir(), NetworkSocket(name)))
	if err := os.Remove(s.networkFile(name)); err != nil {
		return fmt.Errorf("remove network %s: %w", name, err)
	}
	return nil
}
