// An image of a registry into the store.

package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Source is where Pull gets an image from: a repository of a registry. Nothing
// it hands out is believed before its digest has been computed here.
type Source interface {
	// Manifest fetches the manifest or index that a tag or digest stands for,
	// with the type that the server says it has.
	Manifest(ctx context.Context, reference string) (mediaType string, b []byte, err error)
	// Blob begins to fetch a config or layer, from its first byte or on from a
	// later one. It returns the ETag of the version that it is of, or "".
	// Errors after which it is worth asking again wrap ErrInterrupted; from a
	// later byte on, ErrStartOver if only the whole is to be had.
	Blob(ctx context.Context, d ocispec.Descriptor, from Position) (r io.ReadCloser, etag string, err error)
}

// Pulled is what Pull did.
type Pulled struct {
	ID     digest.Digest
	Digest digest.Digest // of what the registry has under the name: an index, if there is one
	Newer  bool          // the name stood for another image or none, or something was missing
	Layers []PulledLayer // bottom first
}

// PulledLayer is one layer of an image that was pulled.
type PulledLayer struct {
	Digest  digest.Digest // of the blob
	Fetched bool          // false: it was here already
}

// pulling is one Pull.
type pulling struct {
	s        *image.Store
	st       *store.Staging
	from     Source
	progress ingest.Progress
	top      digest.Digest // of what the name stood for: a manifest or an index

	mu    sync.Mutex
	parts []*store.Partial // of the layers that are fetched
}

// Pull brings the image called r here and gives it that name. Layers stream
// through ingest.go, so that the image can be run when the last byte has come.
// A platform asked for by name has to be the image's; of a nil one that is only
// hoped for, as an image without an index may not say what it is for.
func Pull(ctx context.Context, s *image.Store, from Source, r reference.Reference, asked *oci.Platform, p ingest.Progress) (*Pulled, error) {
	pulled, err := pull(ctx, s, from, r, asked, p)
	if err != nil {
		err = fmt.Errorf("pull %s: %w", r.Familiar(), err)
		if errs.HintOf(err) == "" && (ctx.Err() != nil || errors.Is(err, ErrInterrupted)) {
			err = errs.Hint(err, "the same again goes on where this one stopped")
		}
		return nil, err
	}
	return pulled, nil
}

func pull(ctx context.Context, s *image.Store, from Source, r reference.Reference, asked *oci.Platform, p ingest.Progress) (*Pulled, error) {
	r = r.Stored()
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	s.SweepPartials(store.PartialAge)
	pl := &pulling{s: s, st: st, from: from, progress: p}
	published := false
	defer func() { pl.end(published) }()
	platform := oci.ThisMachine()
	if asked != nil {
		platform = *asked
	}
	m, err := pl.manifest(ctx, r, platform)
	if err != nil {
		return nil, err
	}
	img := &Incoming{Names: []reference.Reference{r}, Manifest: m.Bytes}
	if img.Config, err = pl.config(ctx, m.Config); err != nil {
		return nil, err
	}
	cfg, err := oci.ParseConfig(img.Config, len(m.Layers))
	if err != nil {
		return nil, err
	}
	if asked != nil && !asked.Runs(cfg.Platform) {
		return nil, fmt.Errorf("the image is for %s/%s, not for %s", cfg.OS, cfg.Architecture, asked)
	}
	out := &Pulled{ID: m.Config.Digest, Digest: pl.top, Newer: true}
	if out.Layers, err = pl.layers(ctx, img, &m.Manifest, cfg.RootFS.DiffIDs); err != nil {
		return nil, err
	}
	if ix, err := s.ReadIndex(); err == nil {
		d := ix.Find(r)
		out.Newer = d == nil || d.Digest != m.Digest ||
			slices.ContainsFunc(out.Layers, func(l PulledLayer) bool { return l.Fetched })
	}
	_, err = Finish(s, st, []*Incoming{img})
	published = err == nil
	return out, err
}

// manifest follows the name to a manifest, through indexes.
func (pl *pulling) manifest(ctx context.Context, r reference.Reference, platform oci.Platform) (*oci.Document, error) {
	read := func(want ocispec.Descriptor) ([]byte, error) {
		reference := want.Digest.String()
		if pl.top == "" {
			reference = r.TagOrDigest()
		}
		b, err := pl.manifestBytes(ctx, reference, want)
		if err == nil && pl.top == "" {
			pl.top = digest.FromBytes(b)
		}
		return b, err
	}
	m, err := oci.Follow(ocispec.Descriptor{Digest: r.Digest, Size: -1}, platform.Choose, read)
	if errors.Is(err, oci.ErrOtherPlatform) {
		err = errs.Hint(err, "another one is fetched with --platform, but does not run here without emulation")
	}
	return m, err
}

// manifestBytes fetches one manifest or index, and checks it against what led to it.
func (pl *pulling) manifestBytes(ctx context.Context, reference string, want ocispec.Descriptor) ([]byte, error) {
	served, b, err := pl.from.Manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(b); want.Digest != "" && got != want.Digest {
		return nil, fmt.Errorf("manifest %s is %w: what the registry sent has digest %s", want.Digest, oci.ErrDamaged, got)
	}
	if want.Size >= 0 && int64(len(b)) != want.Size {
		return nil, fmt.Errorf("manifest %s has %d bytes instead of the %d that its index says", want.Digest, len(b), want.Size)
	}
	var said struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
	}
	if err := oci.Unmarshal(b, &said); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", reference, err)
	}
	if said.SchemaVersion == 1 {
		return nil, errs.Hint(fmt.Errorf("manifest %s is of docker's schema 1", reference), "it was retired in 2017; push the image again with a newer docker")
	}
	for _, other := range []string{said.MediaType, want.MediaType} {
		if other != "" && other != served {
			return nil, fmt.Errorf("manifest %s is of type %s, but the registry serves it as %s", reference, other, served)
		}
	}
	return b, nil
}

// config fetches an image's config.
func (pl *pulling) config(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if b, err := pl.s.ReadBlob(d.Digest); err == nil {
		return b, nil
	}
	b, err := oci.ReadBlob(d.Digest, func(digest.Digest) (io.ReadCloser, error) { return newDownload(ctx, pl.from, d, nil), nil })
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	return b, nil
}

// layers stages the image's layers, those that are not here yet by fetching
// them, the largest first: one that began last would be inflated on one core while
// the others have nothing to do.
func (pl *pulling) layers(ctx context.Context, img *Incoming, m *ocispec.Manifest, diffIDs []digest.Digest) ([]PulledLayer, error) {
	out := make([]PulledLayer, len(m.Layers))
	same := map[digest.Digest]int{} // docker's empty layer comes several times in an image
	var todo []int
	for i, d := range m.Layers {
		if err := oci.CheckLayer(d); err != nil {
			return nil, err
		}
		out[i].Digest = d.Digest
		l := &IncomingLayer{Want: oci.Layer{DiffID: diffIDs[i], Digest: d.Digest, Size: d.Size}}
		if first, ok := same[d.Digest]; ok {
			if l = img.Layers[first]; l.Want.DiffID != diffIDs[i] {
				return nil, fmt.Errorf("the image's config gives layer %s two contents, %s and %s", d.Digest, l.Want.DiffID, diffIDs[i])
			}
			img.Layers = append(img.Layers, l)
			continue
		}
		same[d.Digest] = i
		img.Layers = append(img.Layers, l)
		todo = append(todo, i)
	}
	slices.SortStableFunc(todo, func(a, b int) int { return cmp.Compare(m.Layers[b].Size, m.Layers[a].Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelLayers)
	for _, i := range todo {
		g.Go(func() (err error) {
			out[i].Fetched, err = pl.layer(ctx, m.Layers[i], img.Layers[i])
			return err
		})
	}
	return out, g.Wait()
}
