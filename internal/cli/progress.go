// Bars that show how far a long operation is. On a terminal only: a pipe sees none of it.

package cli

import (
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"tiffin/image/ingest"
)

// newProgress shows bars on the standard error output, if that is a terminal
// and quiet is not set. stop takes them down; a nil ingest.Progress is silent.
func newProgress(quiet bool) (p ingest.Progress, stop func()) {
	if quiet || !isTerminal(os.Stderr) {
		return nil, func() {}
	}
	b := &bars{all: mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40))}
	return b, b.all.Shutdown
}

// bars is a bar for each piece of work that goes on.
type bars struct{ all *mpb.Progress }

func (b *bars) Start(name string, total int64) (add func(int64), done func()) {
	bar := b.all.AddBar(total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Counters(decor.SizeB1000(0), "% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1000(0), "  % .0f")))
	var once sync.Once
	return bar.IncrInt64, func() { once.Do(func() { bar.Abort(true) }) }
}

// unpacking is a bar for an image that is unpacked, once a part of it is.
type unpacking struct {
	show func(done, all int64) // nil: there is no terminal
	stop func()
}

func newUnpacking() *unpacking {
	u := &unpacking{stop: func() {}}
	if !isTerminal(os.Stderr) {
		return u
	}
	var add func(int64)
	var shown int64
	u.show = func(done, all int64) {
		if done == 0 {
			return
		}
		if add == nil {
			var p ingest.Progress
			p, u.stop = newProgress(false)
			add, _ = p.Start("unpacking", all)
		}
		add(done - shown)
		shown = done
	}
	return u
}
