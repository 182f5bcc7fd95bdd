// A container joins a network with a name. What carries its packets is one process for all that are
// in it, which the first of them starts; no supervisor could, as all that it starts ends with it.

package client

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
	"tiffin/internal/programs"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// join makes the container a member of a network. It is one for as long as anybody has the
// connection.
func (n *joined) join(c *disk.Container, m disk.Membership) error {
	d, err := c.Set().Network(m.Name)
	if err != nil {
		return err
	}
	if fix, err := ns.TryTap(); err != nil {
		if fix != "" {
			err = errs.Hint(err, "an administrator can type: "+fix)
		}
		return err
	}
	for range joinAttempts {
		if err = n.tryJoin(c, m, d); !errors.Is(err, errLate) {
			break
		}
	}
	return err
}

// A process without members ends after a while, perhaps just when one comes: then another is
// started.
const joinAttempts = 5

var errLate = errors.New("the process that carries its packets has gone away")

func (n *joined) tryJoin(c *disk.Container, want disk.Membership, d *network.Definition) error {
	conn, err := reach(c, d)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	m := &network.Message{Op: network.OpJoin, Member: &network.Member{ID: c.ID, Names: c.Names(want), IPv4: want.IPv4, IPv6: want.IPv6,
		Servers: c.DNS, Several: len(c.Networks) > 1}}
	if err = conn.Send(m); err == nil {
		m = new(network.Message)
		err = conn.Receive(m)
		m.Close()
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return errLate
	case err != nil:
		return err
	case m.Error != nil:
		return m.Error.Err()
	case m.Op != network.AnsJoined || m.Member == nil:
		return fmt.Errorf("%q instead of addresses", m.Op)
	}
	f, err := conn.File()
	if err != nil {
		return err
	}
	n.conns = append(n.conns, f)
	n.attached = append(n.attached, disk.Attachment{Name: d.Name, Addresses: network.Addresses{
		IPv4: netip.PrefixFrom(m.Member.IPv4, d.IPv4.Bits()), IPv6: netip.PrefixFrom(m.Member.IPv6, d.IPv6.Bits()),
		Gateway4: d.Gateway4, Gateway6: d.Gateway6, MTU: d.MTU,
	}})
	return nil
}

// reach connects to the process of a network, and starts it if there is none. Only one client does
// so at a time.
func reach(c *disk.Container, d *network.Definition) (*wire.Conn, error) {
	dir, err := c.Set().LockNetworks()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	conn, err := wire.Dial(dir, disk.NetworkSocket(d.Name))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		if err = carry(dir, c.Root(), d); err == nil {
			conn, err = wire.Dial(dir, disk.NetworkSocket(d.Name))
		}
	}
	return conn, err
}

// carry starts the process of a network, which listens at its socket in dir.
func carry(dir *os.File, root string, d *network.Definition) error {
	p, err := programs.Find(programs.Network)
	if err != nil {
		return err
	}
	program, err := p.Open(root)
	if err != nil {
		return err
	}
	defer program.Close()
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
	conn, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	defer conn.Close()
	// A session of its own: it outlives this client, and its terminal.
	cmd := &exec.Cmd{Path: "/proc/self/fd/4", Args: []string{"tiffin", network.ProgramCommand}, Env: []string{}, Dir: "/",
		ExtraFiles: []*os.File{theirs, program}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	conn.SetDeadline(time.Now().Add(patience))
	m := &network.Message{Op: network.OpServe, Serve: &network.Serve{Network: d.Addresses}, Files: []*os.File{socket}}
	if err = conn.Send(m); err == nil {
		m = new(network.Message)
		err = conn.Receive(m)
		m.Close()
	}
	if err == nil && m.Error != nil {
		err = m.Error.Err()
	}
	return err
}
