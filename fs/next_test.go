package fs

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// TestTheNextRequestWakes: who waits for one is woken by it, once, and by nothing else.
func TestTheNextRequestWakes(t *testing.T) {
	f := new(FS)
	f.begin(opGetattr, new(fuse.InHeader), "")
	next := f.NextRequest()
	select {
	case <-next:
		t.Error("woken by a request that was before")
	default:
	}
	for range 2 {
		f.begin(opGetattr, new(fuse.InHeader), "")
		<-next
	}
}

// TestFreezeWaitsForASlowDisk: a WRITE that takes longer than a second is one that was under way.
func TestFreezeWaitsForASlowDisk(t *testing.T) {
	f := new(FS)
	f.dev.Store(-1)
	f.writing.Store(1)
	var written atomic.Bool
	time.AfterFunc(1500*time.Millisecond, func() {
		written.Store(true)
		f.writing.Store(0)
	})
	if f.waitForWrites(); !written.Load() {
		t.Error("it has not waited")
	}
}
