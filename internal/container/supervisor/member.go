// The networks with a name that the container is in: it joins and leaves them while it runs, and
// joins again when what carries their packets has ended.

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/container/member"
	"tiffin/internal/network"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// membership is one of them.
type membership struct {
	name string
	tap  int           // the other end of the cable; it stays here, or the interface would go away
	conn *wire.Conn    // as long as it is open the container is a member; mu guards it, and left
	left bool          // the container is to leave
	over chan struct{} // closed: it has left
}

// enrol gives a cable to a network that the container has joined by conn.
func (s *supervisor) enrol(name string, conn *wire.Conn, tap int) {
	m := &membership{name: name, tap: tap, conn: conn, over: make(chan struct{})}
	s.mu.Lock()
	if s.members == nil {
		s.members = map[string]*membership{}
	}
	s.members[name] = m
	s.mu.Unlock()
	forget := s.flows.add(packets{conn}) // before the first packet
	err := conn.SendFDs(&network.Message{Op: network.OpTap}, tap)
	go func() {
		defer close(m.over)
		defer unix.Close(tap)
		for {
			began := time.Now()
			err = s.hear(conn, err)
			forget()
			conn.Close()
			if time.Since(began) < networkPause { // it cannot run here, perhaps
				time.Sleep(networkPause)
			}
			if conn = s.joinAgain(m, err); conn == nil {
				return
			}
			forget = s.flows.add(packets{conn})
			err = conn.SendFDs(&network.Message{Op: network.OpTap}, tap)
		}
	}()
}

// joinAgain makes the container a member again of a network whose process has ended, for the reason
// why; nil if it is to leave.
func (s *supervisor) joinAgain(m *membership, why error) *wire.Conn {
	ended := "the network program has ended"
	if !errors.Is(why, io.EOF) {
		ended += " (" + why.Error() + ")"
	}
	for {
		if s.leaves(m, nil) {
			return nil
		}
		conn, err := s.join(m.name)
		if err == nil {
			if s.leaves(m, conn) {
				conn.Close()
				return nil
			}
			s.noteNetwork(ns.Note{What: "network " + m.name, Why: ended + ": it was started again, and the container has joined it with the addresses that it had; its connections to the outside are lost"})
			return conn
		}
		s.noteNetwork(ns.Note{What: "network " + m.name, Why: ended + ", and the container cannot join again: " + err.Error(), Fix: "tiffin restart " + s.c.Name})
		time.Sleep(networkPause)
	}
}

// leaves tells whether the container is to leave. If not, conn is the connection from now on, or
// there is none.
func (s *supervisor) leaves(m *membership, conn *wire.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.left {
		m.conn = conn
	}
	return m.left
}

// join joins a network that the container is in already, with the same addresses.
func (s *supervisor) join(name string) (*wire.Conn, error) {
	c, err := disk.Open(s.c.Dir()) // it may have another name by now
	if err != nil {
		return nil, err
	}
	want := disk.Membership{Name: name}
	if asked := c.Joins(name); asked != nil {
		want = *asked
	}
	s.mu.Lock()
	for _, a := range s.state.Networks {
		if a.Name == name {
			want.IPv4, want.IPv6 = a.IPv4.Addr(), a.IPv6.Addr()
		}
	}
	s.mu.Unlock()
	conn, _, err := member.Join(c, want, func() (*wire.Conn, error) {
		program, conn, err := s.companion()
		if err == nil {
			go func() {
				_, _ = program.Wait()
				program.Close()
			}()
		}
		return conn, err
	})
	return conn, err
}

// connect has the container join a further network. It returns the files that somebody has changed,
// which do not have its names.
func (s *supervisor) connect(m *control.Message) (changed []control.Rewrite, err error) {
	if len(m.Networks) != 1 || len(m.Files) != 2 {
		return nil, errors.New("control connection: connect to nothing")
	}
	if !s.ownNetwork() || s.beside != nil || s.isForeign() {
		return nil, fmt.Errorf("container %s has no network of its own that is tiffin's", s.c.Name)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	a := m.Networks[0]
	before := s.networks()
	if slices.ContainsFunc(before, func(b disk.Attachment) bool { return b.Name == a.Name }) {
		return nil, fmt.Errorf("container %s is in network %s already", s.c.Name, a.Name)
	}
	if s.network == nil { // it had none, and nobody uses it yet
		s.network, m.Files[1] = m.Files[1], nil
	}
	after := append(before, a)
	conn, err := wire.Open(m.Files[0])
	if err != nil {
		return nil, err
	}
	s.paused.RLock()
	tap, err := s.child.Connect(s.interfaces(after)[len(before)])
	s.paused.RUnlock()
	if err != nil {
		conn.Close()
		return nil, err
	}
	fd, err := unix.FcntlInt(tap.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	tap.Close()
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.enrol(a.Name, conn, fd)
	return s.changeNetworks(before, after)
}

// leavePatience is how long a network may take to let a member go.
const leavePatience = 2 * time.Second

// disconnect has the container leave a network, and its interface there goes away.
func (s *supervisor) disconnect(name string) (changed []control.Rewrite, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	m := s.members[name]
	if m == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("container %s is not in network %s", s.c.Name, name)
	}
	m.left = true
	delete(s.members, name)
	conn := m.conn
	s.mu.Unlock()
	if conn != nil {
		conn.SetWriteDeadline(time.Now().Add(leavePatience))
		_ = conn.Send(&network.Message{Op: network.OpLeave})
	}
	select {
	case <-m.over:
	case <-time.After(leavePatience):
		if conn != nil {
			conn.Close()
		}
		<-m.over
	}
	before := s.networks()
	after := slices.DeleteFunc(slices.Clone(before), func(a disk.Attachment) bool { return a.Name == name })
	// With an interface its routes go away. The next network has a way out, too.
	if was, is := s.wayOut(before), s.wayOut(after); is >= 0 && (was < 0 || before[was].Name == name) {
		s.paused.RLock()
		err = s.child.Route(after[is].Addresses)
		s.paused.RUnlock()
	}
	changed, e := s.changeNetworks(before, after)
	return changed, errors.Join(err, e)
}

// networks are those that the container is in.
func (s *supervisor) networks() []disk.Attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.Networks)
}

// wayOut is which of its networks has the container's default route: -1 for none.
func (s *supervisor) wayOut(all []disk.Attachment) int {
	if s.private {
		return -1
	}
	return slices.IndexFunc(all, func(a disk.Attachment) bool { return !a.Internal })
}

// interfaces are those that the container has in networks with a name.
func (s *supervisor) interfaces(all []disk.Attachment) (own []network.Addresses) {
	out := s.wayOut(all)
	for i, a := range all {
		if i != out {
			a.Gateway4, a.Gateway6 = netip.Addr{}, netip.Addr{}
		}
		own = append(own, a.Addresses)
	}
	return own
}

// changeNetworks records in which networks the container is now, and has its files and its other
// networks know.
func (s *supervisor) changeNetworks(before, after []disk.Attachment) (changed []control.Rewrite, err error) {
	s.mu.Lock()
	s.state.Networks = after
	err = s.c.WriteState(s.state)
	for _, m := range s.members {
		if m.conn != nil {
			_ = m.conn.Send(&network.Message{Op: network.OpChange, Member: &network.Member{Several: len(after) > 1}})
		}
	}
	pid := s.state.Pid
	s.mu.Unlock()
	ask := &control.Message{Op: control.OpNames, PID: pid}
	is := s.c.Files(after)
	for i, f := range s.c.Files(before) {
		if f.Content != is[i].Content {
			ask.Names = append(ask.Names, control.Rewrite{Path: f.Target, Old: f.Content, New: is[i].Content})
		}
	}
	if err != nil || len(ask.Names) == 0 {
		return nil, err
	}
	ans, err := s.ask(ask)
	if err != nil {
		return nil, fmt.Errorf("have the container know names in its networks: %w", err)
	}
	return ans.Names, nil
}
