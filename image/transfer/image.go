// Images of sources: found by a name or digest, and read blob by blob.

package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Image is an image of a source.
type Image struct {
	Document *oci.Document         // its manifest
	Config   []byte                // verbatim: the image keeps its ID
	Layers   []oci.Layer           // bottom first, as manifest and config describe them
	Names    []reference.Reference // that an archive gives it
	Index    []byte                // that led to it, the outermost; nil if none did
	Parts    []*Image              // what it lists, if this is an index that goes elsewhere as a whole

	raw      bool     // it has not been looked into, see Whole
	tags     []string // names as a layout has them, where they need not be valid references
	platform ocispec.Platform
	src      Source
	known    func(oci.Layer) bool // layers that are known to be what the config says. May be nil
	close    func()
}

// NewImage makes an image of a manifest and a config, which have to fit each other.
func NewImage(m *oci.Document, config []byte) (*Image, error) {
	if int64(len(config)) != m.Config.Size {
		return nil, fmt.Errorf("config %s has %d bytes, and the manifest says %d: the manifest is wrong", m.Config.Digest, len(config), m.Config.Size)
	}
	cfg, err := oci.ParseConfig(config, len(m.Layers))
	if err != nil {
		return nil, err
	}
	img := &Image{Document: m, Config: config, platform: cfg.Platform, close: func() {}}
	for i, l := range m.Layers {
		img.Layers = append(img.Layers, oci.Layer{DiffID: cfg.RootFS.DiffIDs[i], Digest: l.Digest, Size: l.Size, MediaType: l.MediaType})
	}
	return img, nil
}

// find finds an image in a source: what the descriptor and, if it is not "", the reference stand
// for, and from an index the image that choose takes.
func find(ctx context.Context, src Source, reference string, want ocispec.Descriptor, choose oci.Choice) (*Image, error) {
	var top []byte
	m, err := oci.Follow(want, choose, func(want ocispec.Descriptor) ([]byte, error) {
		if top != nil || reference == "" {
			reference = want.Digest.String()
		}
		b, err := document(ctx, src, reference, want)
		if err == nil && top == nil {
			top = b
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	config, err := oci.ReadBlob(m.Config.Digest, func(digest.Digest) (io.ReadCloser, error) {
		return newDownload(ctx, src, m.Config, nil), nil
	})
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	img, err := NewImage(m, config)
	if err != nil && !oci.IsImageConfig(m.Config.MediaType) {
		return nil, &NoImage{kind(m), m.Digest}
	} else if err != nil {
		return nil, err
	}
	if img.src = src; digest.FromBytes(top) != m.Digest {
		img.Index = top
	}
	return img, nil
}

// descriptor is that of the manifest, and says which index led to it.
func (img *Image) descriptor() ocispec.Descriptor {
	if img.Index == nil {
		return img.Document.Descriptor()
	}
	return store.Below(digest.FromBytes(img.Index), img.Document.Descriptor())
}

// document fetches one manifest or index, and checks it against what led to it.
func document(ctx context.Context, src Source, reference string, want ocispec.Descriptor) ([]byte, error) {
	served, b, err := src.Manifest(ctx, reference)
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
		if other != "" && served != "" && other != served {
			return nil, fmt.Errorf("manifest %s is of type %s, but the registry serves it as %s", reference, other, served)
		}
	}
	return b, nil
}

// FromRegistry is an image of a registry, for a platform or, if that is nil, for this machine. A
// platform that was asked for has to be the image's. If it is nil, an image without an index is
// taken as it is, because it may not say what it is for.
func FromRegistry(ctx context.Context, from Source, r reference.Reference, asked *oci.Platform) (*Image, error) {
	platform := oci.ThisMachine()
	if asked != nil {
		platform = *asked
	}
	img, err := find(ctx, from, r.TagOrDigest(), ocispec.Descriptor{Digest: r.Digest, Size: -1}, platform.Choose)
	if errors.Is(err, oci.ErrOtherPlatform) {
		err = errs.Hint(err, "another one is fetched with --platform, but does not run here without emulation")
	}
	if err != nil {
		return nil, err
	}
	if asked != nil && !asked.Runs(img.platform) {
		return nil, fmt.Errorf("the image is for %s/%s, not for %s", img.platform.OS, img.platform.Architecture, asked)
	}
	return img, img.CheckLayers()
}

// FromStore is an image of the store.
func FromStore(s *image.Store, img *image.Image) (*Image, error) {
	found, err := find(context.Background(), storeBlobs(s), "", img.Manifest, oci.ThisMachine().Prefer)
	if err != nil {
		return nil, err
	}
	found.known = s.Inflates
	return found, nil
}

// CheckLayers refuses layers that may be neither fetched from a registry nor sent to one.
func (img *Image) CheckLayers() error {
	if img.raw {
		return nil // Blobs leaves them out
	}
	for _, l := range img.Document.Layers {
		if err := oci.CheckLayer(l); err != nil {
			return err
		}
	}
	return nil
}

// Blobs are the layers, bottom first, then the config; each once. An index has none itself.
func (img *Image) Blobs() (all []ocispec.Descriptor) {
	if img.Document.Manifests != nil {
		return nil
	}
	for _, d := range append(slices.Clip(img.Document.Layers), img.Document.Config) {
		if !slices.ContainsFunc(all, func(b ocispec.Descriptor) bool { return b.Digest == d.Digest }) && !(img.raw && oci.IsForeign(d)) {
			all = append(all, d)
		}
	}
	return all
}

// Open opens a blob. Before the last byte is handed out, its reader fails if the blob does not have
// its digest or size, or is a layer that the config does not name.
func (img *Image) Open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	v := &verifying{r: newDownload(ctx, img.src, d, nil), sum: sha256.New(), want: d.Digest, left: d.Size}
	for _, l := range img.Layers {
		if l.Digest == d.Digest && (img.known == nil || !img.known(l)) {
			v.inflated = append(v.inflated, ingest.NewInflated(l))
		}
	}
	return v, nil
}

// Close lets go of where the image is.
func (img *Image) Close() { img.close() }

// verifying is a blob being read.
type verifying struct {
	r        io.ReadCloser
	sum      hash.Hash
	want     digest.Digest
	left     int64 // bytes
	inflated []*ingest.Inflated
}

func (v *verifying) Close() error {
	for _, i := range v.inflated {
		i.Close()
	}
	return v.r.Close()
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	for _, i := range v.inflated {
		i.Write(p[:n])
	}
	v.left -= int64(n)
	switch {
	case v.left < 0 || err == io.EOF && v.left > 0:
		return 0, oci.Damaged(v.want, "it does not have the size that its manifest says")
	case v.left == 0 && n > 0:
		if got := digest.NewDigest(digest.SHA256, v.sum); got != v.want {
			return 0, oci.Damaged(v.want, fmt.Sprintf("its content has digest %s", got))
		}
		for _, i := range v.inflated {
			if err := i.Close(); err != nil {
				return 0, err
			}
		}
	}
	return n, err
}

// Repositories tells of a layer in which repositories of a registry the images are, by their names
// here, that have it: the registry may have it in one of them. The images are read once.
func Repositories(s *image.Store, domain string) func(layer digest.Digest) []string {
	all := sync.OnceValue(func() map[digest.Digest][]string {
		paths := map[digest.Digest][]string{}
		ix, err := s.ReadIndex()
		if err != nil {
			return nil
		}
		for _, d := range ix.Manifests {
			r, ok := store.NameOf(d)
			if !ok || r.Domain != domain {
				continue
			}
			m, err := s.Manifest(d)
			if err != nil {
				continue
			}
			for _, l := range m.Layers {
				if !slices.Contains(paths[l.Digest], r.Path) {
					paths[l.Digest] = append(paths[l.Digest], r.Path)
				}
			}
		}
		return paths
	})
	return func(layer digest.Digest) []string { return all()[layer] }
}
