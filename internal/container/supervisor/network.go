// The other end of the container's cable. Nobody pulls at it before the container does: the program
// that carries packets starts with the first one, and a container that sends none costs nothing.

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/network"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// networkPause is how long to wait before a network program is started again that has ended: it
// was killed, or it cannot run here.
const networkPause = time.Second

// cable takes the other end of the container's interface number n, from 0.
func (s *supervisor) cable(n int, tap *os.File) {
	// A descriptor that Go's poller does not know: package os gives it those of files that do not
	// block, and each packet would wake this process.
	fd, err := unix.FcntlInt(tap.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	tap.Close()
	if err != nil {
		return
	}
	if s.private {
		n-- // the first is its own
	}
	if n >= 0 {
		if conn, err := wire.Open(s.joined[n]); err == nil {
			s.enrol(s.req.Joined[n].Name, conn, fd)
		}
		return
	}
	go func() {
		for {
			err := waitForPacket(fd)
			if err == nil {
				err = s.carry(fd)
			}
			s.noteEnd("network", "is started again for the next packet", err)
			time.Sleep(networkPause)
		}
	}()
}

// hear passes on what the other side of a connection tells until it has ended, and returns why.
func (s *supervisor) hear(conn *wire.Conn, err error) error {
	for err == nil {
		m := new(network.Message)
		if err = conn.Receive(m); err == nil && m.Error != nil {
			err = m.Error.Err()
		} else if err == nil && m.Flow != nil {
			s.flows.pass(m.Flow)
		}
		m.Close()
	}
	return err
}

// noteEnd records why a network program has ended, and what comes of that.
func (s *supervisor) noteEnd(what, then string, err error) {
	s.noteNetwork(ns.Note{What: what, Why: fmt.Sprintf("the network program has ended, and %s: %v", then, err)})
}

func (s *supervisor) noteNetwork(n ns.Note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Status == disk.Running && !slices.Contains(s.state.Notes, n) {
		s.state.Notes = append(s.state.Notes, n)
		_ = s.c.WriteState(s.state)
	}
}

// isForeign tells whether a program of others carries the container's packets.
func (s *supervisor) isForeign() bool {
	choice, _ := network.ParseChoice(s.c.Network)
	return choice.Foreign() != nil
}

// endOf says how a program has ended that has said nothing: of its exit status, 128+N after signal
// N.
func endOf(status int) string {
	if name := unix.SignalName(syscall.Signal(status - 128)); name != "" {
		return "it was killed by " + name
	}
	return fmt.Sprintf("its exit status is %d", status)
}

// waitForPacket waits until there is one to be read, and leaves it there. The poller knows a copy
// of the descriptor meanwhile.
func waitForPacket(tap int) error {
	if err := unix.SetNonblock(tap, true); err != nil { // else the poller does not take it
		return err
	}
	fd, err := unix.FcntlInt(uintptr(tap), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "tap")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	asked := false
	return raw.Read(func(uintptr) bool {
		asked = !asked
		return !asked // the second time the poller has seen one
	})
}

// companion starts the network program.
func (s *supervisor) companion() (*ns.Child, *wire.Conn, error) {
	s.paused.RLock()
	defer s.paused.RUnlock()
	return ns.Companion(s.network, network.ProgramCommand)
}

// carry starts the network program, gives it the cable, and returns when it has ended.
func (s *supervisor) carry(tap int) error {
	program, conn, err := s.companion()
	if err != nil {
		return err
	}
	defer program.Close()
	defer conn.Close()
	choice, _ := network.ParseChoice(s.c.Network)
	own := network.Private
	for _, m := range []*network.Message{
		{Op: network.OpServe, Serve: &network.Serve{Network: own, HostLoopback: choice.HostLoopback}},
		{Op: network.OpJoin, Member: &network.Member{ID: s.c.ID, Names: []string{s.c.Name, s.c.Hostname}, IPv4: own.IPv4.Addr(), IPv6: own.IPv6.Addr()}},
	} {
		if err == nil {
			err = conn.Send(m)
		}
	}
	defer s.flows.add(packets{conn})() // before the first packet
	if err == nil {
		err = conn.SendFDs(&network.Message{Op: network.OpTap}, tap)
	}
	err = s.hear(conn, err)
	status, _ := program.Wait()
	if errors.Is(err, io.EOF) { // without a word
		err = errors.New(endOf(status))
	}
	return err
}
