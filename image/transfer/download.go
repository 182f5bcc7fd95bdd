// One blob of a source, through as many connections as it takes.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/store"
)

const (
	// downloadTries is how often the rest of a blob is asked for without a
	// further byte of it coming.
	downloadTries = 5
	// firstPause is before the second of these tries, and doubles.
	firstPause = 200 * time.Millisecond
	// layerTries is how often a layer is begun from its first byte.
	layerTries = 3
)

// download reads a blob: what a partial file has of it, then the rest from the
// registry, which it asks again for what is missing when the connection breaks.
// A blob must have the size its descriptor says: OCI image-spec v1.1
// descriptor.md, "size".
type download struct {
	ctx  context.Context
	from Source
	want ocispec.Descriptor
	part *store.Partial // may be nil

	pos   Position
	body  io.ReadCloser // nil: not connected
	tries int           // since the last byte
	last  error         // why the connection before this one ended
	err   error         // why it failed
}

func newDownload(ctx context.Context, from Source, d ocispec.Descriptor, p *store.Partial) *download {
	dl := &download{ctx: ctx, from: from, want: d, part: p}
	if p != nil {
		dl.pos.ETag = p.ETag
	}
	return dl
}

func (d *download) Close() error {
	if d.body != nil {
		return d.body.Close()
	}
	return nil
}

func (d *download) Read(b []byte) (n int, err error) {
	switch {
	case d.err != nil:
		return 0, d.err
	case d.part != nil && d.pos.Offset < d.part.Have:
		n, err = d.part.File.ReadAt(b[:min(int64(len(b)), d.part.Have-d.pos.Offset)], d.pos.Offset)
		d.pos.Offset += int64(n)
	default:
		n, err = d.receive(b)
	}
	if err != nil && err != io.EOF {
		d.err = err
	}
	return n, err
}

// receive reads from the registry, through as many connections as it takes.
func (d *download) receive(b []byte) (int, error) {
	for {
		if d.body == nil && d.pos.Offset == d.want.Size {
			return 0, io.EOF // an earlier command has fetched it all
		}
		err := d.connect()
		if err == nil {
			var n int
			if n, err = d.body.Read(b); n > 0 {
				d.tries = 0
				if d.pos.Offset += int64(n); d.pos.Offset > d.want.Size {
					return 0, fmt.Errorf("%w: %s has more than the %d bytes that the manifest says", ErrWrongAnswer, d.want.Digest, d.want.Size)
				}
				return n, nil // the error, if any, comes again
			}
			if err == nil {
				continue
			}
			if err == io.EOF && d.pos.Offset == d.want.Size {
				return 0, io.EOF
			}
			if errors.Is(err, oci.ErrDamaged) {
				return 0, err // the source is a file, and will be no better
			}
			err = d.broken(err)
		}
		if errors.Is(err, ErrStartOver) || !errors.Is(err, ErrInterrupted) || !d.pause() {
			return 0, err
		}
	}
}

// broken closes a connection that ended too early, and returns the error for that.
func (d *download) broken(err error) error {
	d.body.Close()
	d.body = nil
	if err == io.EOF {
		d.last = fmt.Errorf("%w: %s ended after %d of %d bytes", ErrInterrupted, d.want.Digest, d.pos.Offset, d.want.Size)
	} else {
		d.last = fmt.Errorf("%w: %s after %d of %d bytes: %w", ErrInterrupted, d.want.Digest, d.pos.Offset, d.want.Size, err)
	}
	return d.last
}

// connect asks for what is missing, unless it is coming already.
func (d *download) connect() error {
	if d.body != nil {
		return nil
	}
	body, etag, err := d.from.Blob(d.ctx, d.want, d.pos)
	if errors.Is(err, ErrStartOver) && d.last != nil {
		return fmt.Errorf("%w; then %w", d.last, err)
	}
	if err != nil {
		return err
	}
	if d.body = body; d.pos.Offset == 0 {
		d.pos.ETag = etag
		if d.part != nil {
			d.part.Version(etag)
		}
	}
	return nil
}

// pause waits before the next try, and reports whether there is one.
func (d *download) pause() bool {
	if d.tries++; d.tries >= downloadTries {
		return false
	}
	select {
	case <-time.After(firstPause << (d.tries - 1)):
		return true
	case <-d.ctx.Done():
		return false
	}
}
