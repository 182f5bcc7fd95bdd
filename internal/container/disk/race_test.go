package disk

import (
	"sync"
	"testing"
)

// Many commands may make containers at once, and each of them sweeps.
func TestSweepLeavesWhatIsBeingMade(t *testing.T) {
	s := newSet(t)
	done := make(chan struct{})
	var sweepers, makers sync.WaitGroup
	for range 2 {
		sweepers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					s.Sweep(nil)
				}
			}
		})
	}
	for range 4 {
		makers.Go(func() {
			for range 30 {
				c, lock, err := s.Create(Config{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Erase(nil); err != nil {
					t.Error(err)
				}
				lock.Close()
			}
		})
	}
	makers.Wait()
	close(done)
	sweepers.Wait()
}
