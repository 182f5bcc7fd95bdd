// Archives and layouts into the store: every image of one, or none.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

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

// Incoming is one image of an archive on its way into the store.
type Incoming struct {
	Names    []reference.Reference
	Config   []byte // verbatim: the image keeps its ID
	Manifest []byte // verbatim, or nil: docker-archives have none
	Layers   []*IncomingLayer
}

// IncomingLayer is one layer; images of one archive may share it.
type IncomingLayer struct {
	file string // name in the source
	says *int64 // its size in bytes, by the manifest; nil if that does not say
	Want oci.Layer
	Got  oci.Layer
}

// Loaded is one image that Load added to the store.
type Loaded struct {
	Ref string // familiar form; "" if the archive has no name for it
	ID  digest.Digest
}

// Load adds the images of an archive or directory to the store: what
// `docker save` or `podman save` wrote, an OCI layout as directory or archive,
// or the archive that is both. name is a file or directory; if stdin is not
// nil, it is read instead. Either all images are added or none.
func Load(ctx context.Context, s *image.Store, name string, stdin io.Reader, p ingest.Progress) ([]Loaded, error) {
	fail := func(err error) ([]Loaded, error) {
		if stdin != nil {
			name = "the standard input"
		}
		return nil, fmt.Errorf("load %s: %w", name, unpath(err))
	}
	st, err := s.Stage()
	if err != nil {
		return fail(err)
	}
	defer st.Close()
	src, err := openSource(ctx, st, name, stdin, p)
	if err != nil {
		return fail(err)
	}
	defer src.Close()
	imgs, err := describeSource(src)
	if err != nil {
		return fail(err)
	}
	if err := loadLayers(ctx, s, st, src, imgs, p); err != nil {
		return fail(err)
	}
	loaded, err := Finish(s, st, imgs)
	if err != nil {
		return fail(err)
	}
	return loaded, nil
}

// unpath takes away the path that an error of package os repeats.
func unpath(err error) error {
	if pe, ok := err.(*fs.PathError); ok && (pe.Op == "open" || pe.Op == "stat") {
		return pe.Err
	}
	return err
}

// describeSource finds out what is in a source. Where it is OCI layout and
// docker-archive at once, the layout wins: it has the manifests, whose digests
// stay the same then.
func describeSource(src source) ([]*Incoming, error) {
	switch {
	case src.has("index.json") && src.has("oci-layout"):
		return describeLayout(src)
	case src.has("manifest.json") && src.has("version"):
		return nil, errs.Hint(errors.New("this is what skopeo writes for dir:, skopeo's own kind of directory"), "copy it to an OCI layout first: skopeo copy dir:HERE oci:THERE:TAG; tiffin load -i THERE")
	case src.has("manifest.json"):
		return describeDocker(src)
	case src.has("repositories"):
		return nil, errs.Hint(errors.New("this archive is from a docker before 1.10"), "save the image again with a newer one")
	}
	return nil, errs.Hint(errors.New("this is not an image: it has neither index.json nor manifest.json"),
		"tiffin load wants what docker save, podman save or skopeo copy wrote; tiffin import takes the tarball of a root file system")
}

// describeLayout reads an OCI layout. OCI image-spec v1.1 image-layout.md.
func describeLayout(src source) ([]*Incoming, error) {
	var ix ocispec.Index
	if err := readJSON(src, "index.json", &ix); err != nil {
		return nil, err
	}
	byDigest := map[digest.Digest]*Incoming{}
	var imgs []*Incoming
	for _, d := range ix.Manifests {
		if !oci.IsImage(d) {
			continue
		}
		if !oci.ThisMachine().Fits(d) && slices.ContainsFunc(ix.Manifests, oci.ThisMachine().Fits) {
			continue
		}
		img := byDigest[d.Digest]
		if img == nil {
			var err error
			if img, err = describeManifest(src, d); err != nil {
				return nil, err
			}
			byDigest[d.Digest] = img
			imgs = append(imgs, img)
		}
		r, ok := store.NameOf(d)
		if r.Digest != "" && r.Digest != d.Digest {
			ok = false // that of an index, or of something else: nothing here proves it
		}
		if ok && !slices.Contains(img.Names, r) {
			img.Names = append(img.Names, r)
		}
	}
	if len(imgs) == 0 {
		return nil, errors.New("index.json lists no image")
	}
	return imgs, nil
}

// describeManifest reads the manifest and config that a descriptor leads to.
func describeManifest(src source, d ocispec.Descriptor) (*Incoming, error) {
	read := func(d ocispec.Descriptor) ([]byte, error) { return readVerified(src, d.Digest) }
	m, err := oci.Follow(d, oci.ThisMachine().Choose, read)
	if err != nil {
		return nil, err
	}
	img := &Incoming{Manifest: m.Bytes}
	if img.Config, err = read(m.Config); err != nil {
		return nil, err
	}
	if int64(len(img.Config)) != m.Config.Size {
		return nil, fmt.Errorf("config %s has %d bytes, and the manifest says %d: the manifest is wrong", m.Config.Digest, len(img.Config), m.Config.Size)
	}
	cfg, err := oci.ParseConfig(img.Config, len(m.Layers))
	if err != nil {
		return nil, err
	}
	for i, l := range m.Layers {
		if !src.has(blobName(l.Digest)) {
			err := fmt.Errorf("layer %s is not in the archive", l.Digest)
			if oci.IsForeign(l) {
				err = fmt.Errorf("%w: it is a foreign layer, to be had from elsewhere only", err)
			}
			return nil, err
		}
		img.Layers = append(img.Layers, &IncomingLayer{file: blobName(l.Digest), says: &l.Size, Want: oci.Layer{DiffID: cfg.RootFS.DiffIDs[i], Digest: l.Digest}})
	}
	return img, nil
}

func blobName(d digest.Digest) string { return path.Join("blobs", "sha256", d.Encoded()) }

// readVerified reads a JSON blob of a layout and checks its digest.
func readVerified(src source, d digest.Digest) ([]byte, error) {
	return oci.ReadBlob(d, func(d digest.Digest) (io.ReadCloser, error) {
		f, _, err := src.open(blobName(d))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("blob %s is not in the archive", d)
		}
		return f, err
	})
}

// describeDocker reads a docker-archive's manifest.json.
// https://github.com/moby/docker-image-spec, v1.2, "Combined Image JSON + Filesystem Changeset
// Format".
func describeDocker(src source) ([]*Incoming, error) {
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := readJSON(src, "manifest.json", &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("manifest.json lists no image")
	}
	var imgs []*Incoming
	shared := map[digest.Digest]*IncomingLayer{}
	for _, e := range list {
		img := &Incoming{}
		file, _ := cleanName(e.Config)
		var err error
		if img.Config, err = readAll(src, file); err != nil {
			return nil, fmt.Errorf("image config: %w", err)
		}
		cfg, err := oci.ParseConfig(img.Config, len(e.Layers))
		if err != nil {
			return nil, err
		}
		if len(e.Layers) > oci.MaxLayers {
			return nil, fmt.Errorf("manifest.json lists %d layers, more than the %d allowed", len(e.Layers), oci.MaxLayers)
		}
		for i, name := range e.Layers {
			diffID := cfg.RootFS.DiffIDs[i]
			if shared[diffID] == nil {
				file, _ := cleanName(name)
				if !src.has(file) {
					return nil, fmt.Errorf("layer %s is not in the archive", name)
				}
				shared[diffID] = &IncomingLayer{file: file, Want: oci.Layer{DiffID: diffID}}
			}
			img.Layers = append(img.Layers, shared[diffID])
		}
		for _, tag := range e.RepoTags {
			r, err := reference.ParseTag(tag)
			if err != nil {
				return nil, err
			}
			img.Names = append(img.Names, r)
		}
		imgs = append(imgs, img)
	}
	return imgs, nil
}

// parallelLayers is how many layers are ingested at once. Inflating is what
// takes the time and cannot be split up within a layer, so it takes at least
// two layers to keep two cores busy; a third fills the gaps.
const parallelLayers = 3

// loadLayers stages all layers of the images, largest first.
func loadLayers(ctx context.Context, s *image.Store, st *store.Staging, src source, imgs []*Incoming, p ingest.Progress) error {
	var todo []*IncomingLayer
	seen := map[string]*IncomingLayer{}
	for _, img := range imgs {
		for i, l := range img.Layers {
			key := string(l.Want.DiffID) + string(l.Want.Digest)
			if seen[key] != nil {
				img.Layers[i] = seen[key]
				continue
			}
			seen[key] = l
			todo = append(todo, l)
		}
	}
	for _, l := range todo {
		f, size, err := src.open(l.file)
		if err != nil {
			return fmt.Errorf("layer %s: %w", l.file, err)
		}
		f.Close()
		l.Want.Size = size
	}
	slices.SortStableFunc(todo, func(a, b *IncomingLayer) int { return int(min(1, max(-1, b.Want.Size-a.Want.Size))) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelLayers)
	for _, l := range todo {
		g.Go(func() error { return loadLayer(ctx, s, st, src, l, p) })
	}
	return g.Wait()
}

func loadLayer(ctx context.Context, s *image.Store, st *store.Staging, src source, l *IncomingLayer, p ingest.Progress) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := l.Want.Digest
	if name == "" {
		name = l.Want.DiffID
	}
	if got, ok := keep(s, st, src, l); ok {
		l.Got = got
		return l.checkSize()
	}
	f, size, err := src.open(l.file)
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.file, err)
	}
	defer f.Close()
	add, done := ingest.Start(p, reference.Short(name), size)
	defer done()
	want := l.Want
	if l.Got, err = ingest.Layer(ctx, st, f, want, ingest.Options{KeepBlob: true, Progress: add}); err != nil && !strings.Contains(err.Error(), string(name)) {
		return fmt.Errorf("layer %s: %w", name, err)
	}
	if err == nil {
		err = l.checkSize()
	}
	return err
}

// checkSize refuses a size in the manifest that others will refuse, when the image is pushed: OCI
// image-spec v1.1 descriptor.md, "size". The digest has been checked.
func (l *IncomingLayer) checkSize() error {
	if l.says == nil || *l.says == l.Want.Size {
		return nil
	}
	return fmt.Errorf("layer %s has %d bytes, and the manifest says %d: the manifest is wrong", l.Want.Digest, l.Want.Size, *l.says)
}

// keep uses the layer that the store has already, if its blob still has its
// digest and its derived files are there: damage is repaired by loading again.
func keep(s *image.Store, st *store.Staging, src source, l *IncomingLayer) (oci.Layer, bool) {
	f, size, err := src.open(l.file)
	if err != nil {
		return oci.Layer{}, false
	}
	defer f.Close()
	var start [ingest.SniffLen]byte
	n, _ := ingest.Fill(f, start[:])
	kind, err := ingest.Sniff(start[:n])
	if err != nil {
		return oci.Layer{}, false
	}
	got := oci.Layer{DiffID: l.Want.DiffID, Digest: l.Want.Digest, Size: size, MediaType: ingest.MediaType(kind)}
	if got.Digest == "" && kind == ingest.Plain {
		got.Digest = got.DiffID
	} else if got.Digest == "" {
		return oci.Layer{}, false // compressed, and the archive does not say its digest
	}
	if !s.Inflates(got) || !s.IsDerived(got.DiffID) {
		return oci.Layer{}, false
	}
	blob, err := os.Open(s.BlobPath(got.Digest))
	if err != nil {
		return oci.Layer{}, false
	}
	defer blob.Close()
	if d, err := store.HashFile(blob); err != nil || d != got.Digest || s.Pin(st, got) != nil || !st.Pinned(got) {
		return oci.Layer{}, false
	}
	return got, true
}

// Finish stages manifests, configs and merged indexes, and publishes.
func Finish(s *image.Store, st *store.Staging, imgs []*Incoming) ([]Loaded, error) {
	var loaded []Loaded
	var manifests []ocispec.Descriptor
	for _, img := range imgs {
		id, err := st.PutBlob(img.Config)
		if err != nil {
			return nil, fmt.Errorf("store the image config: %w", err)
		}
		d, err := loadManifest(st, img)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, d)
		var layers []oci.Layer
		for _, l := range img.Layers {
			layers = append(layers, l.Got)
		}
		if err := s.Merge(st, layers); err != nil {
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
	err := s.Publish(st, func(ix *store.Index) error {
		for i, img := range imgs {
			for _, r := range img.Names {
				superseded = append(superseded, replace(s, ix, r, manifests[i])...)
			}
			if len(img.Names) == 0 {
				ix.Add(manifests[i])
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Discard(superseded)
	return loaded, nil
}

// replace is Set for a name whose image may be the same one packed
// differently, with plain layers and then with compressed ones: the same ID is
// not kept a second time without a name. It returns the manifest that is superseded.
func replace(s *image.Store, ix *store.Index, r reference.Reference, manifest ocispec.Descriptor) []ocispec.Descriptor {
	old := ix.Find(r)
	var before ocispec.Descriptor
	if old != nil {
		before = image.Unannotated(*old)
	}
	ix.Set(r, manifest, nil)
	if old == nil || before.Digest == manifest.Digest || len(ix.Names(before.Digest)) > 0 {
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

// loadManifest stages the manifest that came with the image, or makes one.
func loadManifest(st *store.Staging, img *Incoming) (d ocispec.Descriptor, err error) {
	b := img.Manifest
	if b == nil {
		if b, err = img.makeManifest(); err != nil {
			return d, err
		}
	}
	m, err := oci.ParseDocument(b)
	if err != nil {
		return d, err
	}
	if _, err := st.PutBlob(b); err != nil {
		return d, fmt.Errorf("store the image manifest: %w", err)
	}
	return m.Descriptor(), nil
}

// makeManifest writes a manifest for the layers that were got.
func (img *Incoming) makeManifest() ([]byte, error) {
	var layers []oci.Layer
	for _, l := range img.Layers {
		layers = append(layers, l.Got)
	}
	return oci.NewManifest(img.Config, layers)
}
