// An image that is pulled lazily becomes one that is here.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/store"
)

// Ranger is a Source that sends a part of a blob. Errors after which it is worth asking again wrap
// ErrInterrupted; ErrStartOver says that it can only send the whole.
type Ranger interface {
	Range(ctx context.Context, d ocispec.Descriptor, from, n int64) (io.ReadCloser, error)
}

// Source is where the image comes from.
func (img *Image) Source() Source { return img.src }

// ErrForgotten says that nobody wants the image any more.
var ErrForgotten = errors.New("the lazy pull has been given up")

// Complete fetches what is missing of an image that is being pulled lazily. If check agrees with
// the layers that have been made of the blobs, the image gets its place among the others, with
// those of its names that are still its. check is told how to find the index of a layer.
func Complete(ctx context.Context, s *image.Store, from Source, lz *image.Lazy, check func(index func(diffID digest.Digest) string) error) error {
	img, err := NewImage(lz.Document, lz.RawConf)
	if err != nil {
		return err
	}
	img.src, img.Index = from, lz.Top
	st, err := s.Stage()
	if err != nil {
		return err
	}
	defer st.Close()
	t := &taking{s: s, st: st, progress: nil}
	published := false
	defer func() { t.end(published || errors.Is(context.Cause(ctx), ErrForgotten)) }()
	if _, err := t.layers(ctx, img); err != nil {
		return err
	}
	err = check(func(diffID digest.Digest) string {
		return s.Derived(st, "layers", diffID.Encoded(), store.IndexName)
	})
	if err != nil {
		return err
	}
	if err := stageDocuments(st, img); err != nil {
		return err
	}
	if err := s.Merge(st, img.Layers); err != nil {
		return err
	}
	var superseded []ocispec.Descriptor
	err = s.Publish(st, func(ix *store.Index) error {
		now, err := s.ReadLazy(ix, lz.Document.Digest)
		if errors.Is(err, fs.ErrNotExist) {
			return ErrForgotten
		}
		if err != nil {
			return fmt.Errorf("look again at what the image is pulled for: %w", err)
		}
		for _, r := range now.StillIts(ix) {
			superseded = append(superseded, replace(s, ix, r, img.descriptor())...)
		}
		ix.Add(img.descriptor())
		return nil
	})
	published = err == nil
	if err == nil {
		s.Discard(superseded)
	}
	return err
}
