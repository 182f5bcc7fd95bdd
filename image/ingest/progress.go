// The progress of a long operation, and copying that reports it.

package ingest

import (
	"context"
	"io"

	"tiffin/image/store"
)

// Progress shows how far a long operation has come. Start announces a piece of
// work of total bytes (0: not known); add counts bytes, done ends it. All are
// called from several goroutines at once. A nil Progress shows nothing.
type Progress interface {
	Start(name string, total int64) (add func(n int64), done func())
}

// Start is p.Start for a Progress that may be nil.
func Start(p Progress, name string, total int64) (add func(int64), done func()) {
	if p == nil {
		return func(int64) {}, func() {}
	}
	return p.Start(name, total)
}

// Copy copies r to w until its end or that of ctx, and counts the bytes. Errors of w are
// told from those of r by what wraps them: writing explains a full disk.
func Copy(ctx context.Context, w io.Writer, r io.Reader, add func(int64)) error {
	buf := make([]byte, chunkSize)
	for {
		n, rerr := Fill(r, buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return store.DiskError(err)
		}
		add(int64(n))
		if rerr == io.EOF {
			return nil
		}
		if rerr == nil && ctx.Err() != nil {
			rerr = context.Cause(ctx)
		}
		if rerr != nil {
			return rerr
		}
	}
}
