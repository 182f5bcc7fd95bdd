// What a build needs of the store: layers that no image has yet, and images that are put together.

package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/cache"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// AddLayer puts one more layer on a stack of layers, which is no image. write produces its tarball,
// uncompressed. parts are what it depends on, and step says what made it: FindLayer finds it by
// the same parts.
func (s *Store) AddLayer(ctx context.Context, stack []oci.Layer, parts []store.BuildPart, step string, write func(io.Writer) error) (*store.BuildRecord, error) {
	st, err := s.StageOn(stack)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	l, err := ingest.Compress(ctx, st, write)
	if err != nil {
		return nil, fmt.Errorf("write the new layer: %w", err)
	}
	return s.PutLayer(st, stack, l, store.BuildRecord{Parts: parts, Step: step, Made: sourceDate(time.Time{})})
}

// StageOn is Stage for a layer on a stack, which is not removed meanwhile.
func (s *Store) StageOn(stack []oci.Layer) (*store.Staging, error) {
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	for _, below := range stack {
		if err := s.Pin(st, below); err != nil {
			st.Close()
			return nil, err
		}
	}
	return st, nil
}

// PutLayer publishes a layer that is staged, with the record r of the step that has put it on the
// stack.
func (s *Store) PutLayer(st *store.Staging, stack []oci.Layer, l oci.Layer, r store.BuildRecord) (*store.BuildRecord, error) {
	whole := append(slices.Clone(stack), l)
	if err := s.Merge(st, whole); err != nil {
		return nil, err
	}
	r.Layer, r.Chain = l, Chain(whole)
	if err := s.WriteBuild(st, store.BuildKey(r.Parts), &r); err != nil {
		return nil, err
	}
	return &r, s.Publish(st, nil)
}

// FindLayer finds a layer that AddLayer has put on the stack; nil if it is not there any more. One
// whose first part is not OnStack may have been put on another, and is put on this one.
func (s *Store) FindLayer(stack []oci.Layer, parts []store.BuildPart) *store.BuildRecord {
	r := s.ReadBuild(store.BuildKey(parts))
	if r == nil || !store.Readable(s.BlobPath(r.Layer.Digest)) {
		return nil
	}
	if r.Chain == Chain(append(slices.Clone(stack), r.Layer)) {
		return r
	}
	if parts[0].Name == OnStack {
		return nil
	}
	st, err := s.StageOn(append(slices.Clone(stack), r.Layer))
	if err != nil {
		return nil // it is made again
	}
	defer st.Close()
	if r, err = s.PutLayer(st, stack, r.Layer, *r); err != nil {
		return nil
	}
	return r
}

// OnStack is the name of the part of a key that is the stack's Chain.
const OnStack = "below"

// Chain is the digest of a stack of layers: OCI image-spec v1.1 config.md, "Layer ChainID".
func Chain(stack []oci.Layer) digest.Digest {
	ids := make([]digest.Digest, len(stack))
	for i, l := range stack {
		ids[i] = l.DiffID
	}
	return cache.ChainID(ids)
}

// RawConfig is the config of an image as JSON.
func (s *Store) RawConfig(img *Image) ([]byte, error) {
	if img.lazy != nil {
		return img.lazy.RawConf, nil
	}
	return s.ReadBlob(img.ID)
}

// Compose makes an image of layers that are here, and gives it names. base is the config, as JSON,
// that cfg was made from, or nil: what tiffin does not know of it is kept. inline, if not nil, is
// the cache that the image carries.
func (s *Store) Compose(base []byte, cfg *dockerspec.DockerOCIImage, layers []oci.Layer, names []string, inline []byte) (*Image, error) {
	var refs []reference.Reference
	for _, n := range names {
		r, err := reference.ParseTag(n)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	cfg.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	for _, l := range layers {
		if err := s.Pin(st, l); err != nil {
			return nil, err
		}
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.DiffID)
	}
	config, err := encodeConfig(base, cfg.Image, cfg.Config, allKeys())
	if err == nil && inline != nil {
		config, err = withInline(config, inline)
	}
	if err != nil {
		return nil, err
	}
	return s.finishImage(st, config, layers, func(ix *store.Index, m ocispec.Descriptor) error {
		if len(refs) == 0 {
			ix.Add(m)
		}
		for _, r := range refs {
			ix.Set(r, m, nil)
		}
		return nil
	})
}

func withInline(config, inline []byte) ([]byte, error) {
	top, err := overlay(config, map[string][]byte{InlineKey: inline}, nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(top)
}

// FitHistory gives a config's history as many entries with a layer as there are layers.
func FitHistory(cfg *ocispec.Image) { fitHistory(cfg) }

// SourceDate is the time that stands for now: SOURCE_DATE_EPOCH if it is set.
func SourceDate() time.Time { return sourceDate(time.Time{}) }

// addBuilds adds what the records of builds keep.
func (n *needs) addBuilds(s *Store) error {
	builds, err := s.Builds()
	for _, r := range builds {
		n.blobs[r.Layer.Digest.Encoded()], n.layers[r.Layer.DiffID.Encoded()] = true, true
		n.unions[r.Chain.Encoded()], n.unions[r.Chain.Encoded()+cache.StartSuffix] = true, true
	}
	return err
}
