// Stages are built at once, as far as they do not need each other, and steps of several stages are
// executed at once.

package build

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"tiffin/image"
	"tiffin/image/store"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
)

// order lists the stages that the target needs, those that others need first.
func (b *builder) order() (list []int) {
	var need func(int)
	need = func(n int) {
		if slices.Contains(list, n) {
			return
		}
		for _, m := range b.file.Stages[n].Needs {
			need(m) // smaller than n
		}
		list = append(list, n)
	}
	need(b.file.Target)
	return list
}

// stages builds stages, all at once: each waits where it needs another one. The first that fails
// ends the others.
func (b *builder) stages(ctx context.Context, order []int) error {
	b.done, b.built = make([]*state, len(b.file.Stages)), make([]chan struct{}, len(b.file.Stages))
	b.turns = make(chan struct{}, max(2, runtime.GOMAXPROCS(0))) // a RUN waits for its disk and network, too
	for _, n := range order {
		b.built[n] = make(chan struct{})
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range order {
		g.Go(func() (err error) {
			if b.done[n], err = b.stage(ctx, n); err == nil {
				close(b.built[n])
			}
			return err
		})
	}
	return g.Wait()
}

// wait waits until a stage is built; -1 is none.
func (b *builder) wait(ctx context.Context, n int) error {
	if n < 0 {
		return nil
	}
	select {
	case <-b.built[n]:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// needed waits for the stages that an instruction of stage n copies from. An ONBUILD of the base
// may name what nobody has seen before: a stage that is not built, or waits for this one.
func (b *builder) needed(ctx context.Context, n int, in *dockerfile.Instruction) error {
	wait := func(from string, m int) error {
		if from == "" || m < 0 {
			return nil
		}
		if m >= n || b.built[m] == nil {
			return fmt.Errorf("the base wants files of stage %s, which is not built before this one", from)
		}
		return b.wait(ctx, m)
	}
	for _, m := range in.Mounts {
		if err := wait(m.From, m.Stage); err != nil {
			return err
		}
	}
	if in.Copy == nil {
		return nil
	}
	return wait(in.Copy.From, in.Copy.Stage)
}

// turn waits until one more step may be executed. The caller calls end when it has ended.
func (b *builder) turn(ctx context.Context) (end func(), err error) {
	select {
	case b.turns <- struct{}{}:
		return func() { <-b.turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// made is a step with a layer.
type made struct {
	sync.Mutex                    // held while it is looked for, or executed
	record     *store.BuildRecord // nil: not yet
}

// layer finds the layer of a step, or has it made; text is for the record of one from a cache.
// Stages that have a step in common make it once.
func (b *builder) layer(ctx context.Context, s *state, step *Step, text string, parts []store.BuildPart, make func() (*store.BuildRecord, error)) (r *store.BuildRecord, err error) {
	same, _ := b.steps.LoadOrStore(store.BuildKey(parts), new(made))
	m := same.(*made)
	m.Lock()
	defer m.Unlock()
	if r = m.record; r != nil && r.Chain != image.Chain(append(slices.Clone(s.layers), r.Layer)) {
		r = b.Store.FindLayer(s.layers, parts) // another stage has put it on another stack
	}
	if r == nil && !b.NoCache {
		if r = b.Store.FindLayer(s.layers, parts); r == nil {
			r = b.take(ctx, s, step, text, parts)
		}
	}
	if step.Cached = r != nil; r == nil {
		if r, err = make(); err != nil {
			if _, gone := b.Store.Prepare(s.layers); gone != nil {
				err = errs.Hint(fmt.Errorf("what the step builds on was removed meanwhile: %w", err), "build again, and remove no image until that has ended")
			}
			return nil, err
		}
	}
	m.record = r
	return r, nil
}
