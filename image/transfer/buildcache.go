// A cache of builds: an artifact that has layers, and a list of the steps that gave them, for
// builds in other stores. OCI image-spec v1.1 manifest.md, "Guidelines for Artifact Usage".
//
//	artifactType  application/vnd.tiffin.build-cache.v1+json
//	config        the empty one
//	layers        the list, and then the layers of all steps
//
// The list is {"steps": [{"key", "diffID", "layer", "made"}, …]}, and is a stranger's: one
// megabyte, 2048 steps. A step is found by its key only, which a build computes from all that the
// step depends on. These parts are not in the list, since they have the values of arguments. Blob
// and diff ID are checked as those of images are; that an instruction gives this layer and no other
// is the word of whoever has written the list.
//
// An image can carry such a list itself, for the steps whose layers it has: in its config, in the
// form and under the name that BuildKit uses. The keys in it are tiffin's; BuildKit finds none of
// its own there, as tiffin does in an image of BuildKit's.

package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// BuildCacheType is the type of the artifact, and of its list.
const BuildCacheType = "application/vnd.tiffin.build-cache.v1+json"

const (
	maxSteps = 2048
	maxList  = 1 << 20 // bytes of the list
)

// BuildCache is a cache of builds that can be read.
type BuildCache struct {
	img   *Image
	steps map[digest.Digest]cachedStep // by key
}

// cachedStep is one entry of the list.
type cachedStep struct {
	Key    digest.Digest `json:"key"`    // store.BuildKey of what it depends on
	DiffID digest.Digest `json:"diffID"` // of its layer
	Layer  digest.Digest `json:"layer"`  // of the blob
	Made   time.Time     `json:"made"`
}

type stepList struct {
	Steps []cachedStep `json:"steps"`
}

// NewBuildCache makes a cache of steps whose layers are in the store.
func NewBuildCache(s *image.Store, records []*store.BuildRecord) (*Image, error) {
	var list stepList
	layers := []ocispec.Descriptor{{MediaType: BuildCacheType}}
	for _, r := range records {
		list.Steps = append(list.Steps, cachedStep{store.BuildKey(r.Parts), r.Layer.DiffID, r.Layer.Digest, r.Made})
		if d := descriptor(r.Layer); !slices.ContainsFunc(layers, func(l ocispec.Descriptor) bool { return l.Digest == d.Digest }) {
			layers = append(layers, d)
		}
	}
	if len(layers) > oci.MaxLayers || len(list.Steps) > maxSteps {
		return nil, fmt.Errorf("a cache has at most %d steps with %d layers", maxSteps, oci.MaxLayers-1)
	}
	slices.SortFunc(list.Steps, func(a, b cachedStep) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(layers[1:], func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	layers[0].Digest, layers[0].Size = digest.FromBytes(text), int64(len(text))
	return NewArtifact(s, BuildCacheType, layers, text)
}

// inlineStep is a step of an image's own list: BuildKit, cache/remotecache/v1, "CacheRecord".
type inlineStep struct {
	Results []inlineResult `json:"layers,omitempty"`
	Key     digest.Digest  `json:"digest,omitempty"`
}

type inlineResult struct {
	Layer int       `json:"layer"` // of the image, from 0: the last one that the step has given
	Made  time.Time `json:"createdAt"`
}

// InlineCache is the list of an image with these layers, for image.Compose.
func InlineCache(layers []oci.Layer, records []*store.BuildRecord) ([]byte, error) {
	var list []inlineStep
	for _, r := range records {
		if i := slices.IndexFunc(layers, func(l oci.Layer) bool { return l.Digest == r.Layer.Digest }); i >= 0 {
			list = append(list, inlineStep{[]inlineResult{{i, r.Made}}, store.BuildKey(r.Parts)})
		}
	}
	slices.SortFunc(list, func(a, b inlineStep) int { return cmp.Compare(a.Key, b.Key) })
	return json.Marshal(list)
}

// readInline reads the list that an image carries.
func readInline(ctx context.Context, img *Image) (*BuildCache, error) {
	m := img.Document
	b, err := oci.ReadBlob(m.Config.Digest, func(digest.Digest) (io.ReadCloser, error) { return img.Open(ctx, m.Config) })
	if err != nil {
		return nil, err
	}
	var carried struct {
		List []byte `json:"moby.buildkit.cache.v0"` // image.InlineKey
	}
	cfg, err := oci.ParseConfig(b, len(m.Layers))
	if err == nil {
		err = oci.Unmarshal(b, &carried)
	}
	if err != nil {
		return nil, err
	}
	if len(carried.List) == 0 {
		return nil, errors.New("the image has no cache in it")
	}
	var list []inlineStep
	if err := oci.Unmarshal(carried.List, &list); err != nil {
		return nil, fmt.Errorf("the cache in its config: %w", err)
	}
	c := &BuildCache{img: img, steps: map[digest.Digest]cachedStep{}}
	for _, s := range list {
		// One of BuildKit's may have several results, or one that is no single layer.
		if len(s.Results) != 1 || !reference.ValidDigest(s.Key) || len(c.steps) == maxSteps {
			continue
		}
		if r := s.Results[0]; r.Layer >= 0 && r.Layer < len(m.Layers) {
			c.steps[s.Key] = cachedStep{s.Key, cfg.RootFS.DiffIDs[r.Layer], m.Layers[r.Layer].Digest, r.Made}
		}
	}
	return c, nil
}

// ReadBuildCache reads the list of a cache that Whole has found, or of an image that carries one.
func ReadBuildCache(ctx context.Context, img *Image) (*BuildCache, error) {
	if image := img.here(); image != nil && image.Document.ArtifactType == "" && oci.IsImageConfig(image.Document.Config.MediaType) {
		return readInline(ctx, image)
	}
	m := img.Document
	if m.ArtifactType != BuildCacheType || len(m.Layers) == 0 {
		return nil, fmt.Errorf("it is no cache of tiffin's, but %s", kind(m))
	}
	list := m.Layers[0]
	if list.Size > maxList {
		return nil, fmt.Errorf("its list has %d bytes, more than the %d allowed", list.Size, maxList)
	}
	b, err := oci.ReadBlob(list.Digest, func(digest.Digest) (io.ReadCloser, error) { return img.Open(ctx, list) })
	if err != nil {
		return nil, err
	}
	steps, err := parseSteps(b)
	return &BuildCache{img, steps}, err
}

// parseSteps reads a list of steps.
func parseSteps(b []byte) (map[digest.Digest]cachedStep, error) {
	var list stepList
	if err := oci.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("its list: %w", err)
	}
	if len(list.Steps) > maxSteps {
		return nil, fmt.Errorf("it has %d steps, more than the %d allowed", len(list.Steps), maxSteps)
	}
	steps := map[digest.Digest]cachedStep{}
	for _, s := range list.Steps {
		if _, twice := steps[s.Key]; twice || !reference.ValidDigest(s.Key) || !reference.ValidDigest(s.DiffID) || !reference.ValidDigest(s.Layer) {
			return nil, errors.New("its list has a step that is none, or twice")
		}
		steps[s.Key] = s
	}
	return steps, nil
}

// Take brings the layer of a step into the store, where it counts from then on as if it had been
// made here: on that stack, for the step that depends on parts. It is nil if the cache has no such
// step.
func (c *BuildCache) Take(ctx context.Context, s *image.Store, stack []oci.Layer, parts []store.BuildPart, step string) (r *store.BuildRecord, err error) {
	found, ok := c.steps[store.BuildKey(parts)]
	if !ok {
		return nil, nil
	}
	layers := c.img.Document.Layers
	i := slices.IndexFunc(layers, func(d ocispec.Descriptor) bool { return d.Digest == found.Layer })
	if i < 0 {
		return nil, fmt.Errorf("it has no layer %s, which its list names", found.Layer)
	}
	if err := oci.CheckLayer(layers[i]); err != nil {
		return nil, err
	}
	st, err := s.StageOn(stack)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	t := &taking{s: s, st: st}
	defer func() { t.end(err == nil) }()
	l := oci.Layer{DiffID: found.DiffID, Digest: found.Layer, Size: layers[i].Size, MediaType: layers[i].MediaType}
	if _, err := t.layer(ctx, c.img.src, l); err != nil {
		return nil, err
	}
	return s.PutLayer(st, stack, l, store.BuildRecord{Parts: parts, Step: step, Made: found.Made})
}
