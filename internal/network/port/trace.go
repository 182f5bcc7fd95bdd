// What a trace is told of clients: one event when the server has accepted one, and one at the end.

package port

import (
	"net/netip"
	"sync/atomic"
	"time"

	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// flowQueue is how many events may wait for their reader.
const flowQueue = 1024

// follower is whoever listens. What comes too fast is counted and left out: no byte waits for a
// reader.
type follower struct {
	on      atomic.Bool
	queue   chan *network.Flow // nil before the first time
	dropped atomic.Uint64
}

// follow begins to tell the supervisor what clients do, or stops.
func (f *forwarder) follow(conn *wire.Conn, on bool) {
	to := &f.follower
	if to.queue == nil {
		to.queue = make(chan *network.Flow, flowQueue)
		go func() {
			for e := range to.queue {
				e.Dropped = to.dropped.Swap(0)
				if conn.Send(&message{Op: opFlow, Flow: e}) != nil {
					return
				}
			}
		}()
	}
	to.on.Store(on)
}

// tell tells of a client of one of the container's ports, if anybody listens.
func (f *forwarder) tell(protocol string, client, server netip.AddrPort, began time.Time, sent, received int64, result string) {
	to := &f.follower
	if !to.on.Load() {
		return
	}
	select {
	case to.queue <- &network.Flow{Time: began, Duration: time.Since(began), Protocol: protocol, From: client, To: server, Sent: sent, Received: received, Result: result}:
	default:
		to.dropped.Add(1)
	}
}
