// The ports that the container publishes: its supervisor listens, a helper carries bytes.

package supervisor

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/network/port"
	"tiffin/ns"
)

// publish begins to listen on the ports that the container publishes.
func (s *supervisor) publish() (err error) {
	if len(s.c.Ports) == 0 || s.req.Idle || !s.ownNetwork() {
		return nil
	}
	if s.before.Status == disk.Restarting { // the very ports that it had, if nobody has them now
		if s.ports, err = port.Listen(s.before.Ports); err == nil && len(s.before.Ports) > 0 {
			return nil
		}
	}
	s.ports, err = port.Listen(s.c.Ports)
	return err
}

// ownNetwork tells whether the container has a network namespace of its own: in the host's, its
// servers are reached without help.
func (s *supervisor) ownNetwork() bool {
	return s.c.Network != "host" && !slices.Contains(s.c.Without, "net")
}

// forward has helpers carry what comes, until the container has ended.
func (s *supervisor) forward() {
	if s.ports == nil {
		return
	}
	s.forwarded = make(chan struct{})
	s.flows.add(s.ports)
	go func() {
		defer close(s.forwarded)
		s.ports.Serve(s.forwarder, s.flows.pass, func(err error) {
			note := ns.Note{What: "published ports", Why: err.Error()}
			s.mu.Lock()
			s.unwritten = s.unwritten || !slices.Contains(s.state.Notes, note)
			if s.unwritten {
				s.state.Notes = append(s.state.Notes, note)
			}
			s.mu.Unlock()
			s.writeNotes()
		})
	}()
}

// forwarder starts a helper in the container's network.
func (s *supervisor) forwarder() (*port.Helper, error) {
	helper, conn, err := s.child.Helper(port.Command, unix.CLONE_NEWNET)
	if err != nil {
		return nil, fmt.Errorf("carry bytes to the container: %w", err)
	}
	return &port.Helper{Conn: conn, Wait: func() {
		_, _ = helper.Wait()
		helper.Close()
	}}, nil
}

// lastBytes is how long clients have to take what the container has sent before it ended. Whoever
// starts it again waits for its lock for longer than that.
const lastBytes = 3 * time.Second

// forwardLast waits for clients that are slow.
func (s *supervisor) forwardLast() {
	if s.forwarded == nil {
		return
	}
	select {
	case <-s.forwarded:
	case <-time.After(lastBytes):
	}
}
