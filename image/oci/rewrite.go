// Documents of an image whose layers have been written in another form. What they say besides
// stays, also what is not known here.

package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WithLayers returns manifest and config of the image with other layers: m is its manifest. They
// are OCI's: docker's manifests have no annotations.
func WithLayers(m *Document, config []byte, layers []ocispec.Descriptor, diffIDs []digest.Digest) (manifest, newConfig []byte, err error) {
	newConfig, err = with(config, map[string]any{"rootfs": ocispec.RootFS{Type: "layers", DiffIDs: diffIDs}})
	if err != nil {
		return nil, nil, fmt.Errorf("image config %s: %w", m.Config.Digest, err)
	}
	c := m.Config
	c.MediaType, c.Digest, c.Size, c.Data = ocispec.MediaTypeImageConfig, digest.FromBytes(newConfig), int64(len(newConfig)), nil
	layers = slices.Clone(layers)
	for i := range layers {
		layers[i].MediaType = ociType(layers[i].MediaType)
	}
	manifest, err = with(m.Bytes, map[string]any{"mediaType": ocispec.MediaTypeImageManifest, "config": c, "layers": layers})
	return manifest, newConfig, err
}

// WithManifests returns an index that lists others.
func WithManifests(ix *Document, manifests []ocispec.Descriptor) ([]byte, error) {
	return with(ix.Bytes, map[string]any{"mediaType": ocispec.MediaTypeImageIndex, "manifests": manifests})
}

// with is a JSON object with some of its values replaced. The order of the names is that of their
// bytes. A name in other letter case, which encoding/json reads as the same, does not stay.
func with(object []byte, values map[string]any) ([]byte, error) {
	all := map[string]json.RawMessage{}
	if err := Unmarshal(object, &all); err != nil {
		return nil, err
	}
	if all == nil { // JSON null
		return nil, errors.New("it is no JSON object")
	}
	for name, v := range values {
		for other := range all {
			if strings.EqualFold(name, other) {
				delete(all, other)
			}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		all[name] = b
	}
	return json.Marshal(all)
}
