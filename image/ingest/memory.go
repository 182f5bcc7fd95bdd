// A layer of a million files is 90 MB of tables while it is taken in, and Go's collector would let
// as much again pile up before it runs.

package ingest

import (
	"runtime/debug"
	"sync"
)

// memoryPerLayer is what a layer in flight may take, in bytes, before the collector runs for every
// few more. The tables have no pointers in them, so that it has little to do.
const memoryPerLayer = 80 << 20

var inFlight struct {
	sync.Mutex
	n      int
	before int64 // limit
}

// Economize asks the collector to keep memory low until done is called. It counts: several layers
// may be in flight.
func Economize() (done func()) {
	change := func(by int) {
		l := &inFlight
		l.Lock()
		defer l.Unlock()
		if l.n == 0 {
			l.before = debug.SetMemoryLimit(-1)
		}
		limit := l.before
		if l.n += by; l.n > 0 {
			limit = min(limit, int64(l.n)*memoryPerLayer)
		}
		debug.SetMemoryLimit(limit)
	}
	change(1)
	return func() { change(-1) }
}
