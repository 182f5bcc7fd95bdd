package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"tiffin/internal/errs"
)

// Remote is where Pull gets an image from: a repository of a registry. Nothing
// it hands out is believed before its digest has been computed here.
type Remote interface {
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
	st       *staging
	from     Remote
	progress Progress

	mu    sync.Mutex
	parts []*partial // of the layers that are fetched
}

// Pull brings the image called r here and gives it that name. Layers stream
// through ingest.go, so that the image can be run when the last byte has come.
// A platform asked for by name has to be the image's; of a nil one that is only
// hoped for, as an image without an index may not say what it is for.
func (s *Store) Pull(ctx context.Context, from Remote, r Ref, asked *Platform, p Progress) (*Pulled, error) {
	pulled, err := s.pull(ctx, from, r, asked, p)
	if err != nil {
		err = fmt.Errorf("pull %s: %w", r.Familiar(), err)
		if errs.HintOf(err) == "" && (ctx.Err() != nil || errors.Is(err, ErrInterrupted)) {
			err = errs.Hint(err, "the same again goes on where this one stopped")
		}
		return nil, err
	}
	return pulled, nil
}

func (s *Store) pull(ctx context.Context, from Remote, r Ref, asked *Platform, p Progress) (*Pulled, error) {
	r = r.stored()
	st, err := s.stage()
	if err != nil {
		return nil, err
	}
	defer st.close()
	s.sweepPartials(partialAge)
	pl := &pulling{st: st, from: from, progress: p}
	published := false
	defer func() { pl.end(published) }()
	platform := ThisMachine()
	if asked != nil {
		platform = *asked
	}
	top, m, manifest, err := pl.manifest(ctx, r, platform)
	if err != nil {
		return nil, err
	}
	img := &loading{names: []Ref{r}, manifest: manifest}
	if img.config, err = pl.config(ctx, m.Config); err != nil {
		return nil, err
	}
	cfg, err := parseConfig(img.config, m)
	if err != nil {
		return nil, err
	}
	if asked != nil && !asked.Runs(cfg.Platform) {
		return nil, fmt.Errorf("the image is for %s/%s, not for %s", cfg.OS, cfg.Architecture, asked)
	}
	out := &Pulled{ID: m.Config.Digest, Digest: top, Newer: true}
	if out.Layers, err = pl.layers(ctx, img, m, cfg.RootFS.DiffIDs); err != nil {
		return nil, err
	}
	if ix, err := s.readIndex(); err == nil {
		d := ix.find(r)
		out.Newer = d == nil || d.Digest != digest.FromBytes(manifest) ||
			slices.ContainsFunc(out.Layers, func(l PulledLayer) bool { return l.Fetched })
	}
	_, err = st.finishLoad([]*loading{img})
	published = err == nil
	return out, err
}

// stored is the name under which an image is kept: with a digest the tag means
// nothing, since it may stand for another image tomorrow.
func (r Ref) stored() Ref {
	if r.Digest != "" {
		r.Tag = ""
	}
	return r
}

// Reference is what a registry is asked for: the digest, or else the tag.
func (r Ref) Reference() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// manifest follows the name to a manifest, through indexes. top is the digest
// of what it began with.
func (pl *pulling) manifest(ctx context.Context, r Ref, platform Platform) (top digest.Digest, m *ocispec.Manifest, b []byte, err error) {
	want := ocispec.Descriptor{Digest: r.Digest, Size: -1}
	reference := r.Reference()
	for range 4 { // as followManifest
		var both struct {
			ocispec.Manifest
			Manifests []ocispec.Descriptor `json:"manifests"`
		}
		b, err = pl.manifestBytes(ctx, reference, want, &both)
		if err != nil {
			return "", nil, nil, err
		}
		d := digest.FromBytes(b)
		if top == "" {
			top = d
		}
		if both.Manifests == nil {
			return top, &both.Manifest, b, checkManifest(d, &both.Manifest)
		}
		next, ok := platform.choose(both.Manifests)
		if !ok {
			return "", nil, nil, errs.Hint(fmt.Errorf("there is no image for %s, only for %s", platform, platforms(both.Manifests)),
				"another one is fetched with --platform, but does not run here without emulation")
		}
		if !validDigest(next.Digest) {
			return "", nil, nil, fmt.Errorf("image index %s: %q is no sha256 digest", d, next.Digest)
		}
		want, reference = next, next.Digest.String()
	}
	return "", nil, nil, fmt.Errorf("image index %s: indexes nested too deeply", top)
}

// manifestBytes fetches one manifest or index, and checks it against what led to it.
func (pl *pulling) manifestBytes(ctx context.Context, reference string, want ocispec.Descriptor, v any) ([]byte, error) {
	served, b, err := pl.from.Manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(b); want.Digest != "" && got != want.Digest {
		return nil, fmt.Errorf("manifest %s is %w: what the registry sent has digest %s", want.Digest, ErrDamaged, got)
	}
	if want.Size >= 0 && int64(len(b)) != want.Size {
		return nil, fmt.Errorf("manifest %s has %d bytes instead of the %d that its index says", want.Digest, len(b), want.Size)
	}
	var said struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
	}
	if err := unmarshal(b, &said); err != nil {
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
	return b, unmarshal(b, v)
}

// config fetches an image's config.
func (pl *pulling) config(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if b, err := pl.st.s.readBlob(d.Digest); err == nil {
		return b, nil
	}
	if d.Size > maxJSON {
		return nil, fmt.Errorf("image config %s: %d bytes are more than the %d allowed", d.Digest, d.Size, maxJSON)
	}
	dl := newDownload(ctx, pl.from, d, nil)
	defer dl.Close()
	b, err := io.ReadAll(dl)
	if err != nil {
		return nil, fmt.Errorf("image config %s: %w", d.Digest, err)
	}
	if got := digest.FromBytes(b); got != d.Digest {
		return nil, fmt.Errorf("image config %s is %w: what the registry sent has digest %s", d.Digest, ErrDamaged, got)
	}
	return b, nil
}

// layers stages the image's layers, those that are not here yet by fetching
// them, the largest first: one that began last would be inflated on one core while
// the others have nothing to do.
func (pl *pulling) layers(ctx context.Context, img *loading, m *ocispec.Manifest, diffIDs []digest.Digest) ([]PulledLayer, error) {
	out := make([]PulledLayer, len(m.Layers))
	same := map[digest.Digest]int{} // docker's empty layer comes several times in an image
	var todo []int
	for i, d := range m.Layers {
		if err := checkLayer(d); err != nil {
			return nil, err
		}
		out[i].Digest = d.Digest
		l := &loadingLayer{want: Layer{DiffID: diffIDs[i], Digest: d.Digest, Size: d.Size}}
		if first, ok := same[d.Digest]; ok {
			if l = img.layers[first]; l.want.DiffID != diffIDs[i] {
				return nil, fmt.Errorf("the image's config gives layer %s two contents, %s and %s", d.Digest, l.want.DiffID, diffIDs[i])
			}
			img.layers = append(img.layers, l)
			continue
		}
		same[d.Digest] = i
		img.layers = append(img.layers, l)
		todo = append(todo, i)
	}
	slices.SortStableFunc(todo, func(a, b int) int { return cmp.Compare(m.Layers[b].Size, m.Layers[a].Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelLayers)
	for _, i := range todo {
		g.Go(func() (err error) {
			out[i].Fetched, err = pl.layer(ctx, m.Layers[i], img.layers[i])
			return err
		})
	}
	return out, g.Wait()
}

// checkLayer refuses what cannot be fetched or is no layer.
func checkLayer(d ocispec.Descriptor) error {
	if len(d.URLs) > 0 || strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, "foreign") {
		return fmt.Errorf("layer %s is a foreign layer, to be had from its owner only: "+
			"its licence forbids registries to keep it, and tiffin fetches nothing from addresses that an image names", d.Digest)
	}
	// Compression is told by the bytes, but other things than tarballs are
	// put into registries too.
	if !strings.Contains(d.MediaType, ".tar") && !strings.Contains(d.MediaType, "+tar") {
		return fmt.Errorf("layer %s is of type %s, which is no file system: this is something else than an image", d.Digest, d.MediaType)
	}
	return nil
}

// reuse stages a layer that the store has already, if its blob still has its
// digest: damage is repaired by pulling again. The derived files may be missing.
func (st *staging) reuse(ctx context.Context, l Layer) (bool, error) {
	blob, err := os.Open(st.s.blobPath(l.Digest))
	if err != nil {
		return false, nil
	}
	defer blob.Close()
	if d, err := hashFile(blob); err != nil || d != l.Digest {
		return false, nil
	}
	if st.s.derivedOK(l.DiffID) {
		return st.pin(l) == nil && st.pinned(l), nil
	}
	if err := linkOrCopy(st.s.blobPath(l.Digest), st.blobPath(l.Digest)); err != nil {
		return false, nil
	}
	return true, st.rebuildLayer(ctx, l)
}
