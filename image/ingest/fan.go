// A stream that is read once and consumed by several.

package ingest

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// A fan reads a stream once and hands it to several consumers that run at the
// same time, each in its own goroutine: hash ∥ write ∥ parse. The pieces are
// large, come from a pool and are shared, so a byte is copied by the one read
// that brings it in and no other.
//
// A consumer that is slower than the others stops the reader after queueLen
// pieces: a layer in flight holds at most about 2·(queueLen+2)·ChunkSize bytes,
// 6 MiB.
type fan struct {
	g    *errgroup.Group
	ctx  context.Context
	outs []chan *chunk
}

const (
	chunkSize = 512 << 10 // bytes
	queueLen  = 4         // chunks
)

// chunk is a piece of the stream; the last consumer to let go puts it back.
type chunk struct {
	buf  []byte
	n    int
	refs atomic.Int32
}

var chunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, chunkSize)} }}

func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		chunks.Put(c)
	}
}

// newFan makes a fan whose goroutines belong to g; ctx must be the one that
// came with g, so that the failure of one ends all.
func newFan(g *errgroup.Group, ctx context.Context) *fan { return &fan{g: g, ctx: ctx} }

// each adds a consumer that is called with every piece in turn. It must not
// keep the piece.
func (f *fan) each(consume func([]byte) error) {
	in := f.tap()
	f.g.Go(func() error {
		for {
			c, err := f.next(in)
			if c == nil {
				return err
			}
			err = consume(c.buf[:c.n])
			c.release()
			if err != nil {
				return err
			}
		}
	})
}

// reader adds a consumer that reads the stream. It may stop reading early.
func (f *fan) reader(consume func(io.Reader) error) {
	r := &fanReader{f: f, in: f.tap()}
	f.g.Go(func() error {
		if err := consume(r); err != nil {
			return err
		}
		for { // let the others have the rest
			c, err := f.next(r.in)
			if c == nil {
				return err
			}
			c.release()
		}
	})
}

func (f *fan) tap() chan *chunk {
	ch := make(chan *chunk, queueLen)
	f.outs = append(f.outs, ch)
	return ch
}

// next is the next piece, or nil and the error, which is nil at the end.
func (f *fan) next(in chan *chunk) (*chunk, error) {
	select {
	case c := <-in: // nil when closed
		return c, nil
	case <-f.ctx.Done():
		return nil, context.Cause(f.ctx)
	}
}

// run reads r to its end and feeds the consumers, which must all have been
// added. It returns when everything is handed over, not when it is consumed:
// that is the group's Wait.
func (f *fan) run(r io.Reader) error {
	for {
		c := chunks.Get().(*chunk)
		n, err := Fill(r, c.buf)
		c.n = n
		if n > 0 {
			c.refs.Store(int32(len(f.outs)))
			for _, out := range f.outs {
				select {
				case out <- c:
				case <-f.ctx.Done():
					return context.Cause(f.ctx)
				}
			}
		} else {
			chunks.Put(c)
		}
		if err == io.EOF {
			for _, out := range f.outs {
				close(out)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Fill is io.ReadFull, but for the error at the end, which stays io.EOF: a
// decompressor says io.ErrUnexpectedEOF when its input was cut off.
func Fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	return n, err
}

type fanReader struct {
	f   *fan
	in  chan *chunk
	cur *chunk
	off int
}

func (r *fanReader) Read(p []byte) (int, error) {
	for r.cur == nil || r.off == r.cur.n {
		if r.cur != nil {
			r.cur.release()
			r.cur = nil
		}
		c, err := r.f.next(r.in)
		if err != nil {
			return 0, err
		}
		if c == nil {
			return 0, io.EOF
		}
		r.cur, r.off = c, 0
	}
	n := copy(p, r.cur.buf[r.off:r.cur.n])
	r.off += n
	return n, nil
}
