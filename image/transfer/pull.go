// Images are brought into the store, all of a command or none: from a registry while they arrive,
// from an archive, or from the source of a copy.

package transfer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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

// Pull brings the image called r here and gives it that name. Layers stream
// through package ingest, so that the image can be run when the last byte has come.
func Pull(ctx context.Context, s *image.Store, from Source, r reference.Reference, asked *oci.Platform, p ingest.Progress) (*Pulled, error) {
	var pulled *Pulled
	img, err := FromRegistry(ctx, stored{from, s, r.Stored()}, r.Stored(), asked)
	if err == nil {
		pulled, err = take(ctx, s, img, r.Stored(), p)
	}
	if err != nil {
		err = fmt.Errorf("pull %s: %w", r.Familiar(), err)
		if errs.HintOf(err) == "" && (ctx.Err() != nil || errors.Is(err, ErrInterrupted)) {
			err = errs.Hint(err, "the same again goes on where this one stopped")
		}
		return nil, err
	}
	return pulled, nil
}

// Resolver is a Source that tells what a tag stands for without sending it.
type Resolver interface {
	Resolve(ctx context.Context, tag string) (digest.Digest, error)
}

// stored is a source that takes from the store the small blobs that are there. Only whether the tag
// still stands for the same is asked, which registries do not count as a pull.
type stored struct {
	Source
	s    *image.Store
	name reference.Reference
}

func (h stored) Manifest(ctx context.Context, reference string) (string, []byte, error) {
	d := digest.Digest(reference)
	if from, ok := h.Source.(Resolver); ok && h.has() && reference == h.name.Tag {
		d, _ = from.Resolve(ctx, reference) // an error comes again
	}
	if b, err := h.s.ReadBlob(d); err == nil {
		return "", b, nil
	}
	return h.Source.Manifest(ctx, reference)
}

// has reports whether the name stands for something here.
func (h stored) has() bool {
	ix, err := h.s.ReadIndex()
	return err == nil && ix.Find(h.name) != nil
}

func (h stored) Blob(ctx context.Context, d ocispec.Descriptor, from Position) (io.ReadCloser, string, error) {
	if b, err := h.s.ReadBlob(d.Digest); err == nil && from.Offset == 0 {
		return io.NopCloser(bytes.NewReader(b)), "", nil
	}
	return h.Source.Blob(ctx, d, from)
}

// Take brings an image from somewhere else into the store, under a name.
func Take(ctx context.Context, s *image.Store, img *Image, r reference.Reference, p ingest.Progress) (*Pulled, error) {
	pulled, err := take(ctx, s, img, r, p)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", r.Familiar(), err)
	}
	return pulled, nil
}

func take(ctx context.Context, s *image.Store, img *Image, r reference.Reference, p ingest.Progress) (*Pulled, error) {
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	s.SweepPartials(store.PartialAge)
	t := &taking{s: s, st: st, progress: p}
	published := false
	defer func() { t.end(published) }()
	img.Names = []reference.Reference{r}
	fetched, err := t.layers(ctx, img)
	if err != nil {
		return nil, err
	}
	out := &Pulled{ID: img.Document.Config.Digest, Digest: store.Top(img.descriptor()), Newer: true}
	for _, l := range img.Layers {
		out.Layers = append(out.Layers, PulledLayer{l.Digest, fetched[l]})
	}
	if ix, err := s.ReadIndex(); err == nil {
		d := ix.Find(r)
		out.Newer = d == nil || d.Digest != img.Document.Digest ||
			slices.ContainsFunc(out.Layers, func(l PulledLayer) bool { return l.Fetched })
	}
	_, err = Finish(s, st, img)
	published = err == nil
	return out, err
}

// taking is layers on their way into a staging directory.
type taking struct {
	s        *image.Store
	st       *store.Staging
	progress ingest.Progress
	whole    bool // the source has them whole: none is kept when it breaks off

	mu    sync.Mutex
	parts []*store.Partial // of the layers that are fetched
}

// parallelLayers is how many layers are ingested at once. Inflating is what
// takes the time and cannot be split up within a layer, so it takes at least
// two layers to keep two cores busy; a third fills the gaps.
const parallelLayers = 3

// layers stages the layers of images; those that are not here yet it fetches, the largest first. If
// the largest began last, it would be inflated on one core while the others have nothing to do.
func (t *taking) layers(ctx context.Context, imgs ...*Image) (fetched map[oci.Layer]bool, err error) {
	fetched = map[oci.Layer]bool{}
	sources := map[oci.Layer]Source{} // docker's empty layer comes several times in an image
	for _, img := range imgs {
		for _, l := range img.Layers {
			sources[l] = img.src
		}
	}
	todo := slices.SortedFunc(maps.Keys(sources), func(a, b oci.Layer) int { return cmp.Compare(b.Size, a.Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelLayers)
	for _, l := range todo {
		g.Go(func() error {
			got, err := t.layer(ctx, sources[l], l)
			if err != nil && !strings.Contains(err.Error(), l.Digest.String()) {
				err = fmt.Errorf("layer %s: %w", l.Digest, err)
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			fetched[l] = got
			return err
		})
	}
	return fetched, g.Wait()
}

// layer stages one layer, and reports whether it had to be fetched.
func (t *taking) layer(ctx context.Context, src Source, l oci.Layer) (fetched bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if ok, err := t.s.Reuse(ctx, t.st, l); ok || err != nil {
		return false, err
	}
	if t.whole {
		return true, t.ingest(ctx, newDownload(ctx, src, descriptor(l), nil), l)
	}
	part, err := t.partial(ctx, l)
	if err != nil {
		return true, err
	}
	t.mu.Lock()
	t.parts = append(t.parts, part)
	t.mu.Unlock()
	// Another command may have fetched it and published it meanwhile. Others who wait for this one
	// may have the layer that this command is going to wait for.
	if ok, err := t.s.Reuse(ctx, t.st, l); ok || err != nil {
		part.Release()
		return false, err
	}
	for try := 1; ; try++ {
		resumed := part.Have > 0
		dl := newDownload(ctx, src, descriptor(l), part)
		err = t.ingest(ctx, dl, l)
		over, wrong := errors.Is(err, ErrStartOver), errors.Is(err, ErrWrongAnswer) || errors.Is(dl.err, oci.ErrDamaged)
		if err == nil {
			part.Release()
		}
		if err == nil || ctx.Err() != nil || dl.err != nil && !over && !wrong {
			return true, err // what has come is kept for the next pull
		}
		if rerr := part.Restart(); rerr != nil {
			return true, rerr
		}
		// What an earlier command has left may be what is wrong.
		if try == layerTries || !over && (wrong || !resumed) {
			return true, err
		}
	}
}

// partial is the file that a layer is fetched into. If another command fetches the same layer,
// partial waits for it, as long as it makes progress.
func (t *taking) partial(ctx context.Context, l oci.Layer) (*store.Partial, error) {
	size, since := int64(-1), time.Now()
	for {
		part, err := t.st.OpenPartial(descriptor(l))
		if !errors.Is(err, store.ErrBusy) {
			return part, err
		}
		if now := t.s.PartialSize(l.Digest); now != size {
			size, since = now, time.Now()
		}
		if time.Since(since) > othersStall {
			return t.st.OwnPartial(descriptor(l))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// othersStall is how long another command that is waited for may get nothing of the layer.
const othersStall = 20 * time.Second

func descriptor(l oci.Layer) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
}

// ingest stages the layer that a download brings.
func (t *taking) ingest(ctx context.Context, dl *download, l oci.Layer) error {
	defer dl.Close()
	add, done := ingest.Start(t.progress, reference.Short(l.Digest), l.Size)
	defer done()
	_, err := ingest.Layer(ctx, t.st, dl, l, ingest.Options{KeepBlob: true, Partial: dl.part, Progress: add})
	return err
}

// end lets go of the partial files. They are removed if nobody needs them, because their blobs have
// been published, and if nothing has come of them.
func (t *taking) end(useless bool) {
	for _, p := range t.parts {
		if st, err := p.File.Stat(); useless || err == nil && st.Size() == 0 {
			p.Drop()
		} else {
			p.File.Close()
		}
	}
}

// Finish stages manifests, configs and merged indexes of images whose layers are staged, and
// publishes. Each name comes with the image's ID.
func Finish(s *image.Store, st *store.Staging, imgs ...*Image) (loaded []Loaded, err error) {
	for _, img := range imgs {
		if err := stageDocuments(st, img); err != nil {
			return nil, err
		}
		id := img.Document.Config.Digest
		if err := s.Merge(st, img.Layers); err != nil {
			return nil, err
		}
		for _, r := range img.Names {
			loaded = append(loaded, Loaded{r.Familiar(), id})
		}
		if len(img.Names) == 0 {
			loaded = append(loaded, Loaded{"", id})
		}
	}
	var superseded []ocispec.Descriptor
	err = s.Publish(st, func(ix *store.Index) error {
		for _, img := range imgs {
			for _, r := range img.Names {
				superseded = append(superseded, replace(s, ix, r, img.descriptor())...)
			}
			if len(img.Names) == 0 {
				ix.Add(img.descriptor())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Discard(superseded)
	for _, img := range imgs {
		s.ForgetPulled(img.Document.Digest)
	}
	return loaded, nil
}

// stageDocuments stages config, manifest and index of an image.
func stageDocuments(st *store.Staging, img *Image) error {
	if _, err := st.PutBlob(img.Config); err != nil {
		return fmt.Errorf("store the image config: %w", err)
	}
	if _, err := st.PutBlob(img.Document.Bytes); err != nil {
		return fmt.Errorf("store the image manifest: %w", err)
	}
	if img.Index != nil {
		if _, err := st.PutBlob(img.Index); err != nil {
			return fmt.Errorf("store the image index: %w", err)
		}
	}
	return nil
}

// replace is Set for a name whose image may be the same one packed
// differently, with plain layers and then with compressed ones: the same ID is
// not kept a second time without a name. It returns the manifest that is superseded.
func replace(s *image.Store, ix *store.Index, r reference.Reference, manifest ocispec.Descriptor) []ocispec.Descriptor {
	old := ix.Find(r)
	var before ocispec.Descriptor
	if old != nil {
		before = store.Nameless(*old)
	}
	ix.Set(r, manifest, nil)
	switch {
	case old == nil:
		return nil
	case store.Top(before) != store.Top(manifest) && before.Digest == manifest.Digest:
		return []ocispec.Descriptor{before} // its index is another
	case before.Digest == manifest.Digest, len(ix.Names(before.Digest)) > 0:
		return nil
	}
	was, err1 := s.Manifest(before)
	is, err2 := s.Manifest(manifest)
	if err1 == nil && err2 == nil && was.Config.Digest == is.Config.Digest {
		ix.Drop(before)
		return []ocispec.Descriptor{before}
	}
	return nil
}
