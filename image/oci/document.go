// Package oci reads the documents that images consist of, manifests, indexes and configs, as OCI
// image-spec v1.1 defines them, and docker's of the same form.
//
// All of them may come from strangers. They are read up to a size and a depth of nesting, a
// document that is manifest and index at once is refused, and digests are checked before they
// name a file.
//
//	manifest, config, index   16 MiB each, nested 64 deep
//	layers of an image        1024
//	indexes in an index       4 deep
package oci

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/reference"
)

// Media types of docker's schema 2, which have the same fields as OCI's.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// types are those of manifests and indexes.
var types = []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList}

// MaxLayers is docker's limit on the layers of an image; the merged index numbers them in 16 bits.
const MaxLayers = 1024

// Document is a manifest or an index.
type Document struct {
	ocispec.Manifest
	Manifests []ocispec.Descriptor `json:"manifests"` // of an index; nil: it is a manifest

	Bytes  []byte        `json:"-"` // as they came: the digest is theirs
	Digest digest.Digest `json:"-"`
}

// ParseDocument reads a manifest or index. One that could be taken for either is refused: two
// programs would see two images under one digest (CVE-2021-41190; OCI image-spec v1.0.2).
func ParseDocument(b []byte) (*Document, error) {
	d := &Document{Bytes: b, Digest: digest.FromBytes(b)}
	if err := Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if d.Manifests != nil && (d.Layers != nil || d.Config.Digest != "") {
		return nil, fmt.Errorf("manifest %s has both layers and manifests: it is neither an image nor an index", d.Digest)
	}
	return d, nil
}

// Type is the media type, or "" if this is neither a manifest nor an index. OCI image-spec v1.1
// manifest.md, "mediaType": it "SHOULD be used"; v1.0 left it out.
func (d *Document) Type() string {
	switch {
	case slices.Contains(types, d.MediaType):
		return d.MediaType
	case d.MediaType != "":
		return ""
	case d.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case reference.ValidDigest(d.Config.Digest):
		return ocispec.MediaTypeImageManifest
	}
	return ""
}

// Descriptor says what it takes to find the document again, without annotations.
func (d *Document) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.Type(), Digest: d.Digest, Size: int64(len(d.Bytes))}
}

// CheckImage refuses a document that is not an image's manifest, and digests that are not valid.
func (d *Document) CheckImage() error {
	if !reference.ValidDigest(d.Config.Digest) {
		return fmt.Errorf("manifest %s is not an image's: config digest %q", d.Digest, d.Config.Digest)
	}
	if t := d.MediaType; t != "" && t != ocispec.MediaTypeImageManifest && t != dockerManifest {
		return fmt.Errorf("manifest %s is of type %s, which is no image", d.Digest, t)
	}
	if len(d.Layers) > MaxLayers {
		return fmt.Errorf("manifest %s has %d layers, more than the %d allowed", d.Digest, len(d.Layers), MaxLayers)
	}
	for _, l := range d.Layers {
		if !reference.ValidDigest(l.Digest) {
			return fmt.Errorf("manifest %s: %q is no sha256 digest of a layer", d.Digest, l.Digest)
		}
	}
	return nil
}

// Choice takes one of the descriptors of an index.
type Choice func([]ocispec.Descriptor) (ocispec.Descriptor, error)

// Follow reads documents from d down to the manifest of an image: from an index, the one that
// choose takes of it. read need not check what it returns against d.
func Follow(d ocispec.Descriptor, choose Choice, read func(ocispec.Descriptor) ([]byte, error)) (*Document, error) {
	for range 4 { // an index in an index in an index is enough
		b, err := read(d)
		if err != nil {
			return nil, err
		}
		doc, err := ParseDocument(b)
		if err != nil {
			return nil, err
		}
		if doc.Manifests == nil {
			return doc, doc.CheckImage()
		}
		if d, err = choose(doc.Manifests); err != nil {
			return nil, fmt.Errorf("image index %s %w", doc.Digest, err)
		}
		if !reference.ValidDigest(d.Digest) {
			return nil, fmt.Errorf("image index %s: %q is no sha256 digest", doc.Digest, d.Digest)
		}
	}
	return nil, fmt.Errorf("image index %s: indexes nested too deeply", d.Digest)
}

// Layer is one tarball of an image.
type Layer struct {
	DiffID    digest.Digest // of the uncompressed tarball
	Digest    digest.Digest // of the blob, as it is stored and travels
	Size      int64         // bytes of the blob
	MediaType string
}

// NewManifest is the manifest, as JSON, of an image with that config, as JSON.
func NewManifest(config []byte, layers []Layer) ([]byte, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers:    []ocispec.Descriptor{},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ociType(l.MediaType), Digest: l.Digest, Size: l.Size})
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the image manifest: %w", err)
	}
	return b, nil
}

// ociType is the OCI name of a layer's media type: an OCI manifest does not have docker's.
func ociType(t string) string {
	switch t {
	case "application/vnd.docker.image.rootfs.diff.tar.gzip":
		return ocispec.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ocispec.MediaTypeImageLayer
	}
	return t
}

// IsForeign reports whether only the layer's owner may hand it out.
func IsForeign(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, "foreign")
}

// CheckLayer refuses what cannot be fetched or is no layer.
func CheckLayer(d ocispec.Descriptor) error {
	if IsForeign(d) {
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

// IsImageConfig reports whether a config of that media type is an image's: registries keep other
// things too.
func IsImageConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == dockerConfig
}

// ParseConfig reads an image's config and checks it against the layers of its manifest.
func ParseConfig(b []byte, layers int) (ocispec.Image, error) {
	var c ocispec.Image
	d := digest.FromBytes(b)
	if err := Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("image config %s: %w", d, err)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return c, fmt.Errorf("image config %s describes %d layers, but its manifest has %d", d, len(c.RootFS.DiffIDs), layers)
	}
	for _, l := range c.RootFS.DiffIDs {
		if !reference.ValidDigest(l) {
			return c, fmt.Errorf("image config %s: %q is no sha256 digest of a layer", d, l)
		}
	}
	return c, nil
}
