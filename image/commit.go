// A new layer on an image.

package image

import (
	"context"
	"fmt"
	"io"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// CommitLayer puts one more layer on base (nil: on nothing) and makes an image
// of it. write produces the layer's tarball, uncompressed; it is hashed,
// stored, compressed and indexed as it comes. The same base, tarball, options
// and time give the same digests. The caller must not have the store on Hold.
func (s *Store) CommitLayer(ctx context.Context, base *Image, write func(io.Writer) error, opt CommitOptions) (*Image, error) {
	var name *reference.Reference
	if opt.Ref != "" {
		r, err := reference.ParseTag(opt.Ref)
		if err != nil {
			return nil, err
		}
		name = &r
	}
	cfg, raw, err := s.baseConfig(base)
	if err != nil {
		return nil, err
	}
	if opt.Edit != nil {
		if err := opt.Edit(&cfg.Config); err != nil {
			return nil, err
		}
	}
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	var layers []oci.Layer
	if base != nil {
		for _, l := range base.Layers {
			if err := s.Pin(st, l); err != nil {
				return nil, fmt.Errorf("commit on image %s: %w", reference.Short(base.ID), err)
			}
		}
		layers = append(layers, base.Layers...)
	}
	l, err := ingest.Compress(ctx, st, write)
	if err != nil {
		return nil, fmt.Errorf("write the new layer: %w", err)
	}
	created := sourceDate(opt.Created)
	describe(&cfg.Image, l, created, opt.Author, opt.CreatedBy, opt.Message)
	configJSON, err := encodeConfig(raw, cfg.Image, cfg.Config, allKeys())
	if err != nil {
		return nil, err
	}
	return s.finishImage(st, configJSON, append(layers, l), nameIt(name))
}

// baseConfig is the config to start from, as JSON too.
func (s *Store) baseConfig(base *Image) (cfg dockerspec.DockerOCIImage, raw []byte, err error) {
	if base == nil {
		return dockerspec.DockerOCIImage{Image: newConfig()}, nil, nil
	}
	if raw, err = s.ReadBlob(base.ID); err != nil {
		return cfg, nil, err
	}
	return cfg, raw, oci.Unmarshal(raw, &cfg)
}

// fitHistory gives a history as many entries with a layer as there are layers, so that an entry for
// the next layer is not taken for that of another: OCI image-spec v1.1 config.md, "history". Some
// images have too few entries, or too many.
func fitHistory(cfg *ocispec.Image) {
	told := 0
	for i := range cfg.History {
		h := &cfg.History[i]
		if h.EmptyLayer = h.EmptyLayer || told == len(cfg.RootFS.DiffIDs); !h.EmptyLayer {
			told++
		}
	}
	for ; told < len(cfg.RootFS.DiffIDs); told++ {
		cfg.History = append(cfg.History, ocispec.History{Created: cfg.Created, Comment: "nothing is known of this layer"})
	}
}

// describe records a layer in a config.
func describe(cfg *ocispec.Image, l oci.Layer, created time.Time, author, by, comment string) {
	fitHistory(cfg)
	cfg.Created, cfg.Author = &created, author
	cfg.RootFS.Type = "layers"
	cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.DiffID)
	cfg.History = append(cfg.History, ocispec.History{Created: &created, CreatedBy: by, Author: author, Comment: comment})
}

// nameIt is the usual last step of finishImage: it gives the image a name, unless r is nil.
func nameIt(r *reference.Reference) func(*store.Index, ocispec.Descriptor) error {
	return func(ix *store.Index, m ocispec.Descriptor) error {
		if r == nil {
			ix.Add(m)
		} else {
			ix.Set(*r, m, nil)
		}
		return nil
	}
}
