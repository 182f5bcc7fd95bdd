// The layers of an image, ready to be served as a file system or to be described.

package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/union"
)

// StackLayer is one layer of an image's stack, with its size and its part in the image.
type StackLayer struct {
	Number    int           `json:"number"` // 0 is the bottom, as in traces
	DiffID    digest.Digest `json:"diffID"`
	Digest    digest.Digest `json:"digest"`
	BlobSize  int64         `json:"blobSize"` // bytes of the blob, as it travels
	Size      int64         `json:"size"`     // bytes of the tarball
	CreatedBy string        `json:"createdBy"`
	Comment   string        `json:"comment,omitempty"`
	union.Usage
}

// Mountable makes sure that the derived files of an image are there, and says
// where. Damage that is only seen when they are opened is mended by Repair.
// Errors wrap oci.ErrDamaged if a blob that is needed for rebuilding is not what it
// was, and ErrNotFound if another process removed the image meanwhile.
func (s *Store) Mountable(img *Image) (*cache.Mountable, error) {
	if img.lazy != nil {
		m, err := s.lazyMountable(img)
		if !errors.Is(err, fs.ErrNotExist) {
			return m, preparing(img, err)
		} // all of it has come just now
	}
	m, err := s.Prepare(img.Layers)
	return m, preparing(img, err)
}

// Repair checks the derived files of an image thoroughly, and rebuilds what is missing or damaged.
func (s *Store) Repair(ctx context.Context, img *Image) (*cache.Mountable, error) {
	if img.lazy != nil {
		return s.Mountable(img)
	}
	m, err := s.RebuildAll(ctx, img.Layers)
	return m, preparing(img, err)
}

func preparing(img *Image, err error) error {
	if errors.Is(err, cache.ErrGone) {
		err = fmt.Errorf("%w any more: %w", ErrNotFound, err)
	}
	if err != nil {
		err = fmt.Errorf("prepare image %s: %w", reference.Short(img.ID), err)
	}
	return err
}

// Stack opens the indexes of an image: of each layer, and of what they merge to. The caller
// closes it.
func (s *Store) Stack(img *Image) (*union.Stack, error) {
	m, err := s.Mountable(img)
	if err != nil {
		return nil, err
	}
	st, err := cache.OpenStack(m)
	if m.Lazy != "" && errors.Is(err, fs.ErrNotExist) { // all of it has come just now
		if m, err = s.Prepare(img.Layers); err == nil {
			st, err = cache.OpenStack(m)
		}
	}
	if errors.Is(err, layer.ErrCorrupt) {
		if m, err = s.Repair(context.Background(), img); err == nil {
			st, err = cache.OpenStack(m)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the layers of image %s: %w", reference.Short(img.ID), err)
	}
	return st, nil
}

// Describe lists the layers of an image by name, the bottom one first, without their Usage.
func (s *Store) Describe(img *Image) []StackLayer {
	out := make([]StackLayer, len(img.Layers))
	for i, l := range img.Layers {
		out[i] = StackLayer{Number: i, DiffID: l.DiffID, Digest: l.Digest, BlobSize: l.Size, Size: s.layerSize(img, l)}
	}
	next := 0
	for _, h := range img.Config.History {
		if !h.EmptyLayer && next < len(out) {
			out[next].CreatedBy, out[next].Comment = h.CreatedBy, h.Comment
			next++
		}
	}
	return out
}

// Usage tells, for each layer of a stack from the bottom, how much is in it, and how much of that
// upper ones hide.
func (s *Store) Usage(stack []oci.Layer) ([]union.Usage, error) {
	return s.usage(&Image{Layers: stack})
}

func (s *Store) usage(img *Image) ([]union.Usage, error) {
	st, err := s.Stack(img)
	if err != nil {
		return nil, err
	}
	return st.Usage("/"), nil
}

// Layers lists the layers of an image, the bottom one first, and what upper ones hide of them.
func (s *Store) Layers(img *Image) ([]StackLayer, error) {
	usage, err := s.usage(img)
	if err != nil {
		return nil, err
	}
	out := s.Describe(img)
	for i, u := range usage {
		out[i].Usage = u
	}
	return out, nil
}
