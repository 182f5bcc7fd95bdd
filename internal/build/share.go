// Layers that were made elsewhere, and those of this build for others.

package build

import (
	"context"
	"fmt"
	"sync/atomic"

	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/dockerfile"
)

// Cache is one that others have written. Which layer belongs to a key is believed: who uses it
// trusts its writer.
type Cache struct {
	Name string
	*transfer.BuildCache
	broken atomic.Bool // it is not asked again: its registry may have gone
}

// take looks for the layer of a step in the caches; nil: none has it. It is no error if one is
// broken: the step is done then.
func (b *builder) take(ctx context.Context, s *state, step *Step, text string, parts []store.BuildPart) *store.BuildRecord {
	for _, c := range b.Caches {
		if c.broken.Load() {
			continue
		}
		r, err := c.Take(ctx, b.Store, s.layers, parts, text)
		switch {
		case err == nil && r != nil:
			step.From = c.Name
			return r
		case err != nil && ctx.Err() == nil && !c.broken.Swap(true) && b.Warn != nil:
			b.mu.Lock()
			b.Warn(&dockerfile.Note{File: b.File, Message: fmt.Sprintf("the cache %s is not used any more: %v", c.Name, err)})
			b.mu.Unlock()
		}
	}
	return nil
}

// tell tells of all steps whose layers are here.
func (b *builder) tell(target *state) {
	if b.Made == nil {
		return
	}
	in := map[string]bool{}
	for _, l := range target.layers {
		in[l.Digest.String()] = true
	}
	for _, r := range b.records() {
		b.Made(r, in[r.Layer.Digest.String()])
	}
}

// records are those of all steps whose layers are here.
func (b *builder) records() (list []*store.BuildRecord) {
	b.steps.Range(func(_, m any) bool {
		if r := m.(*made).record; r != nil {
			list = append(list, r)
		}
		return true
	})
	return list
}
