package fs

import (
	"testing"

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
