// The life of the network program, and the conversations with those who use it.

package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// lonely is how long a network with a name waits for members.
const lonely = 5 * time.Second

// Main is the network program. It returns the exit status.
func Main() int {
	// Whoever ends all processes of a service or a job may not mean the containers of others, and
	// what ends in this one may need its network until then.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	conn, err := wire.Inherited()
	if err != nil {
		return 125 // nobody is there to be told
	}
	if err := serve(conn); err != nil {
		_ = conn.Send(&network.Message{Op: network.AnsError, Error: wire.NewError(err)})
		return 1
	}
	return 0
}

// serve is configured, and then carries packets until nobody needs that any more.
func serve(conn *wire.Conn) error {
	m := new(network.Message)
	if err := conn.Receive(m); err != nil {
		return err
	}
	defer m.Close()
	if m.Op != network.OpServe || m.Serve == nil || len(m.Files) > 1 {
		return fmt.Errorf("network: %q instead of a configuration", m.Op)
	}
	n, err := New(*m.Serve)
	if err != nil {
		return err
	}
	if err := seal(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	go n.settle()
	if len(m.Files) == 0 {
		n.converse(conn)
		return nil
	}
	l, err := net.FileListener(m.Files[0])
	if err != nil {
		return fmt.Errorf("network: listen for members: %w", err)
	}
	if err := conn.Send(&network.Message{Op: network.AnsServing}); err != nil {
		return err
	}
	return n.accept(l.(*net.UnixListener))
}

// accept serves members' connections until there has been none for a while.
func (n *Network) accept(l *net.UnixListener) error {
	var present sync.WaitGroup
	for {
		_ = l.SetDeadline(time.Now().Add(lonely))
		sock, err := l.AcceptUnix()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if n.empty() {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("network: wait for members: %w", err)
		}
		present.Go(func() {
			if conn, err := wire.New(sock); err == nil {
				if uid, err := conn.Peer(); err == nil && uid == os.Geteuid() {
					n.converse(conn)
				}
				conn.Close()
			}
		})
	}
}

// empty tells whether there is no member.
func (n *Network) empty() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.members) == 0
}

// converse speaks with one member until it leaves.
func (n *Network) converse(conn *wire.Conn) {
	var me *member
	for {
		m := new(network.Message)
		err := conn.Receive(m)
		if err == nil {
			me, err = n.do(conn, me, m)
			m.Close()
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			_ = conn.Send(&network.Message{Op: network.AnsError, Error: wire.NewError(err)})
		}
		if me != nil {
			n.Leave(me)
			n.passed.forget(me, true)
			if me.unplugged != nil {
				<-me.unplugged // the device is closed when whoever hears of the end looks
			}
		}
		return
	}
}

// do does what a member asks for.
func (n *Network) do(conn *wire.Conn, me *member, m *network.Message) (*member, error) {
	switch {
	case m.Op == network.OpJoin && m.Member != nil && me == nil:
		me, err := n.Join(*m.Member)
		if err != nil {
			return nil, err
		}
		return me, conn.Send(&network.Message{Op: network.AnsJoined, Member: &me.Member})
	case m.Op == network.OpTap && me != nil && len(m.Files) == 1 && me.tap == nil:
		t, err := openTap(m.Files[0])
		m.Files = nil
		if err != nil {
			return me, err
		}
		n.mu.Lock()
		me.tap = t
		n.mu.Unlock()
		me.unplugged = make(chan struct{})
		go func() {
			defer close(me.unplugged)
			_ = n.Plug(me)
		}()
		return me, nil
	case m.Op == network.OpChange && m.Member != nil && me != nil:
		n.mu.Lock()
		defer n.mu.Unlock()
		me.Several = m.Member.Several
		return me, nil
	case m.Op == network.OpLeave && me != nil:
		return me, io.EOF
	case m.Op == network.OpFollow && me != nil && me.follower.Load() == nil:
		me.follower.Store(follow(conn, me.left))
		return me, nil
	case m.Op == network.OpIgnore && me != nil:
		if f := me.follower.Swap(nil); f != nil {
			close(f.enough)
		}
		n.passed.forget(me, false)
		return me, nil
	}
	return me, fmt.Errorf("network: %q is not understood here", m.Op)
}
