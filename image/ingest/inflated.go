// A layer that passes through is checked against its image's config; nothing of it is kept.

package ingest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/oci"
)

// Inflated is told the bytes of a layer's blob, and compares what they inflate to with its diff ID.
type Inflated struct {
	w    *io.PipeWriter
	in   atomic.Int64 // bytes so far
	want oci.Layer
	err  error
	done sync.WaitGroup
}

// NewInflated waits for the bytes of l. Close must be called in the end.
func NewInflated(l oci.Layer) *Inflated {
	r, w := io.Pipe()
	i := &Inflated{w: w, want: l}
	i.done.Go(func() {
		i.err = i.compare(r)
		io.Copy(io.Discard, r) // whoever writes is not kept waiting
	})
	return i
}

// Write takes the next bytes of the blob.
func (i *Inflated) Write(b []byte) (int, error) {
	i.in.Add(int64(len(b)))
	return i.w.Write(b)
}

// Close ends the blob, and tells whether it was the one that the config names.
func (i *Inflated) Close() error {
	i.w.Close()
	i.done.Wait()
	return i.err
}

func (i *Inflated) compare(r io.Reader) error {
	var start [SniffLen]byte
	n, err := Fill(r, start[:])
	if err != nil && err != io.EOF {
		return err
	}
	kind, err := Sniff(start[:n])
	if err != nil {
		return err
	}
	z, done, err := Decompress(io.MultiReader(bytes.NewReader(start[:n]), r), kind)
	if err != nil {
		return err
	}
	defer done()
	maximum, err := BombLimit()
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, &BombGuard{R: z, In: i.in.Load, Maximum: maximum}, make([]byte, chunkSize)); err != nil {
		return fmt.Errorf("layer %s: %w", i.want.Digest, err)
	}
	return sameContent(i.want, digest.NewDigest(digest.SHA256, sum))
}

// ErrOtherLayer is wrapped by errors that say that a blob inflates to another layer.
var ErrOtherLayer = errors.New("is not the one that its image's config names")

// sameContent compares what the blob of a layer inflates to with its diff ID.
func sameContent(want oci.Layer, got digest.Digest) error {
	if got != want.DiffID {
		return fmt.Errorf("layer %s %w: uncompressed it has digest %s instead of %s",
			want.Digest, ErrOtherLayer, got, want.DiffID)
	}
	return nil
}
