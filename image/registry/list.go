// Building an index of images in registries, which docker calls a manifest list: it is kept in the
// store until it is complete, and then pushed.

package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
)

// annotationFrom is where a part of an index that is not complete comes from. It is not pushed.
const annotationFrom = "tiffin.from"

// List is an index that is being put together.
type List struct{ ocispec.Index }

// ReadList reads the list with that name from the store. Errors wrap image.ErrNotFound.
func ReadList(s *image.Store, r reference.Reference) (*List, error) {
	d, err := s.Descriptor(r.Familiar())
	if err != nil {
		return nil, err
	}
	b, err := s.ReadBlob(d.Digest)
	if err != nil {
		return nil, err
	}
	l := &List{}
	if err := oci.Unmarshal(b, &l.Index); err != nil {
		return nil, err
	}
	// A stranger may have pushed it.
	if l.Manifests == nil || slices.ContainsFunc(l.Manifests, func(d ocispec.Descriptor) bool { return d.Annotations[annotationFrom] == "" || d.Platform == nil }) {
		return nil, fmt.Errorf("%s is here, and was not made by tiffin manifest create", r.Familiar())
	}
	return l, nil
}

// NewList returns an empty list.
func NewList() *List {
	return &List{ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}}
}

// Keep stores the list under a name. It cannot be run before it is pushed.
func (l *List) Keep(s *image.Store, r reference.Reference) error {
	b, err := json.Marshal(l.Index)
	if err != nil {
		return err
	}
	return s.KeepDocument(r, b, fmt.Errorf("it is a list of manifests that tiffin manifest push %s sends", r.Familiar()))
}

// Add adds the image that a registry has under a name, with the platform in its config.
func (l *List) Add(ctx context.Context, c *Client, r reference.Reference) error {
	img, err := c.Whole(ctx, r)
	if err != nil {
		return err
	}
	if img.Document.Manifests != nil {
		return errs.Hint(fmt.Errorf("%s is an index itself", r.Familiar()), "name its manifests by their digests, see tiffin manifest inspect")
	}
	config, err := img.Open(ctx, img.Document.Config)
	if err != nil {
		return err
	}
	defer config.Close()
	b, err := oci.ReadMax(config, oci.MaxJSON)
	if err != nil {
		return fmt.Errorf("%s: image config: %w", r.Familiar(), err)
	}
	cfg, err := oci.ParseConfig(b, len(img.Document.Layers))
	if err != nil {
		return fmt.Errorf("%s: %w", r.Familiar(), err)
	}
	d := img.Document.Descriptor()
	r.Tag, r.Digest = "", d.Digest
	d.Platform, d.Annotations = &cfg.Platform, map[string]string{annotationFrom: r.String()}
	if old := l.part(d.Digest); old != nil {
		*old = d
	} else {
		l.Manifests = append(l.Manifests, d)
	}
	return nil
}

func (l *List) part(is digest.Digest) *ocispec.Descriptor {
	if i := slices.IndexFunc(l.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == is }); i >= 0 {
		return &l.Manifests[i]
	}
	return nil
}

// Annotate changes the platform of the part that a registry has under a name.
func (l *List) Annotate(ctx context.Context, c *Client, r reference.Reference, change func(*ocispec.Platform)) error {
	is := r.Digest
	if is == "" {
		m, err := c.Manifest(ctx, r)
		if err != nil {
			return err
		}
		is = m.Descriptor.Digest
	}
	part := l.part(is)
	if part == nil {
		return fmt.Errorf("%s, %s, is not in the list", r.Familiar(), is)
	}
	change(part.Platform)
	return nil
}

// Push sends the index under a name, and those of its parts that are not in that repository.
func (l *List) Push(ctx context.Context, c *Client, r reference.Reference, p ingest.Progress) (*Pushed, error) {
	ix := l.Index
	ix.Manifests = slices.Clone(ix.Manifests)
	var parts []*transfer.Image
	for i, d := range ix.Manifests {
		from, err := reference.Parse(d.Annotations[annotationFrom])
		if err != nil {
			return nil, err
		}
		part, err := c.Whole(ctx, from)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		ix.Manifests[i].Annotations = nil
	}
	b, err := json.Marshal(ix)
	if err != nil {
		return nil, err
	}
	whole, err := transfer.NewIndex(b, parts)
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, whole, r, nil, p)
}
