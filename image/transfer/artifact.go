// Artifacts: what registries keep beside images, a manifest with blobs that are no file system.
// OCI image-spec v1.1 manifest.md, "Guidelines for Artifact Usage".

package transfer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
)

// NewArtifact makes an artifact of a type. own are those of its blobs that the store does not have.
func NewArtifact(s *image.Store, artifactType string, layers []ocispec.Descriptor, own ...[]byte) (*Image, error) {
	b, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: ocispec.DescriptorEmptyJSON, Layers: layers})
	if err != nil {
		return nil, err
	}
	blobs := map[digest.Digest][]byte{}
	for _, b := range append(own, ocispec.DescriptorEmptyJSON.Data) {
		blobs[digest.FromBytes(b)] = b
	}
	m, err := oci.ParseDocument(b)
	return &Image{Document: m, raw: true, close: func() {}, src: Blobs(func(d digest.Digest) (io.ReadCloser, int64, error) {
		if b, ok := blobs[d]; ok {
			return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
		}
		return storeBlobs(s)(d)
	})}, err
}

// OneBlob is the content of an artifact of that type in the store, which has one blob of at most
// max bytes.
func OneBlob(ctx context.Context, s *image.Store, ref, artifactType string, max int64) ([]byte, digest.Digest, error) {
	img, err := WholeOfStore(ctx, s, ref)
	if err != nil {
		return nil, "", err
	}
	m := img.Document
	switch {
	case m.ArtifactType != artifactType:
		return nil, "", fmt.Errorf("%s is no %s, but %s", ref, artifactType, kind(m))
	case len(m.Layers) != 1:
		return nil, "", fmt.Errorf("%s has %d blobs, not one", ref, len(m.Layers))
	case m.Layers[0].Size > max:
		return nil, "", fmt.Errorf("%s has %d bytes, more than the %d allowed", ref, m.Layers[0].Size, max)
	}
	r, err := img.Open(ctx, m.Layers[0])
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return b, m.Digest, err
}

// NoImage says that what was asked for is something else than an image.
type NoImage struct {
	Kind   string        // of the artifact, or of its config
	Digest digest.Digest // of the manifest
}

func (n *NoImage) Error() string {
	return fmt.Sprintf("this is no image, but %s: manifest %s has neither config nor layers of one", n.Kind, n.Digest)
}

// unfit says why an artifact cannot be run; nil if this is an image or an index.
func (img *Image) unfit() error {
	if m := img.Document; m.Manifests == nil && !oci.IsImageConfig(m.Config.MediaType) {
		return fmt.Errorf("it is %s", kind(m))
	}
	return nil
}

// kind is the type of an artifact: OCI image-spec v1.1 manifest.md, "artifactType".
func kind(m *oci.Document) string { return cmp.Or(m.ArtifactType, m.Config.MediaType, m.Type()) }
