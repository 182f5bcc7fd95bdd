// A network without traffic gives memory back.

package stack

import (
	"runtime"
	"runtime/debug"
	"time"
)

// settlePeriod is how long nothing must have come or gone.
const settlePeriod = 5 * time.Second

func (n *Network) settle() {
	debug.SetGCPercent(50)
	for last, done := uint64(0), false; ; time.Sleep(settlePeriod) {
		now := n.packets.Load()
		if now != last {
			last, done = now, false
		} else if !done {
			runtime.GC() // what pools keep survives one collection: sync.Pool
			debug.FreeOSMemory()
			done = true
		}
	}
}
