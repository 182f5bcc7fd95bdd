// Package member makes containers members of networks with a name. What carries the packets of one
// is a process for all that are in it, which the first of them starts: a client, so that it
// outlives the container. If it ends all the same, the supervisor of a member that is left starts
// another, as its own child, and all of them join again, with the addresses that they had.
package member

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// Begin starts the network program, and returns the connection to it.
type Begin func() (*wire.Conn, error)

// attempts is how often joining is tried. A process without members ends after a while, perhaps
// just when one comes: then another is started.
const attempts = 5

// patience is how long the process may take for an answer.
const patience = 8 * time.Second

var errLate = errors.New("the process that carries its packets has gone away")

// Join makes the container a member of a network. It is one for as long as anybody has the
// connection. begin is called if there is no process yet.
func Join(c *disk.Container, want disk.Membership, begin Begin) (conn *wire.Conn, a disk.Attachment, err error) {
	d, err := c.Set().Network(want.Name)
	if err != nil {
		return nil, a, err
	}
	for range attempts {
		if conn, a, err = tryJoin(c, want, d, begin); !errors.Is(err, errLate) {
			break
		}
	}
	return conn, a, err
}

func tryJoin(c *disk.Container, want disk.Membership, d *network.Definition, begin Begin) (*wire.Conn, disk.Attachment, error) {
	conn, err := reach(c, d, begin)
	if err != nil {
		return nil, disk.Attachment{}, err
	}
	m := &network.Message{Op: network.OpJoin, Member: &network.Member{ID: c.ID, Names: c.Names(want), IPv4: want.IPv4, IPv6: want.IPv6,
		Servers: c.DNS, Several: len(c.Networks) > 1}}
	if m, err = call(conn, m); err == nil && (m.Op != network.AnsJoined || m.Member == nil) {
		err = fmt.Errorf("%q instead of addresses", m.Op)
	}
	if err != nil {
		conn.Close()
		return nil, disk.Attachment{}, err
	}
	return conn, disk.Attachment{Name: d.Name, Internal: d.Internal, Addresses: network.Addresses{
		IPv4: netip.PrefixFrom(m.Member.IPv4, d.IPv4.Bits()), IPv6: netip.PrefixFrom(m.Member.IPv6, d.IPv6.Bits()),
		Gateway4: d.Gateway4, Gateway6: d.Gateway6, MTU: d.MTU,
	}}, nil
}

// call asks the process of a network for something, and returns its answer.
func call(conn *wire.Conn, m *network.Message) (*network.Message, error) {
	conn.SetDeadline(time.Now().Add(patience))
	defer conn.SetDeadline(time.Time{})
	err := conn.Send(m)
	ans := new(network.Message)
	if err == nil {
		err = conn.Receive(ans)
		ans.Close()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		err = errLate
	} else if err == nil && ans.Error != nil {
		err = ans.Error.Err()
	}
	return ans, err
}

// reach connects to the process of a network, and starts it if there is none. Only one member does
// so at a time.
func reach(c *disk.Container, d *network.Definition, begin Begin) (*wire.Conn, error) {
	dir, err := c.Set().LockNetworks()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	conn, err := wire.Dial(dir, disk.NetworkSocket(d.Name))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		if err = carry(c.Set(), dir, d, begin); err == nil {
			conn, err = wire.Dial(dir, disk.NetworkSocket(d.Name))
		}
	}
	return conn, err
}

// carry starts the process of a network, which listens at its socket in dir.
func carry(set *disk.Set, dir *os.File, d *network.Definition, begin Begin) error {
	running, err := set.Running(d.Name)
	if err != nil {
		return err
	}
	var absent []network.Member
	for _, r := range running {
		absent = append(absent, network.Member{ID: r.ID, IPv4: r.IPv4.Addr(), IPv6: r.IPv6.Addr()})
	}
	l, err := wire.Listen(dir, disk.NetworkSocket(d.Name))
	if err != nil {
		return err
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	conn, err := begin()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = call(conn, &network.Message{Op: network.OpServe, Serve: &network.Serve{Network: d.Addresses, Internal: d.Internal, Absent: absent}, Files: []*os.File{socket}})
	return err
}
