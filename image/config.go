package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
)

// newConfig is the config of an image without layers, for this machine.
func newConfig() ocispec.Image {
	return ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
}

// staleKeys are fields of docker's configs that describe one build step, not
// the image, and are wrong in an image made from it.
var staleKeys = []string{"container", "container_config", "docker_version", "id", "parent", "throwaway"}

// encodeConfig writes c as JSON. Fields of base, the JSON of the config that c
// was made from, are kept if this program does not know them: docker's
// Healthcheck, OnBuild and Shell for instance. Keys are sorted: the same config
// has the same digest.
func encodeConfig(base []byte, c ocispec.Image) ([]byte, error) {
	top, err := overlay(base, c, ocispec.Image{})
	if err != nil {
		return nil, fmt.Errorf("write the image config: %w", err)
	}
	for _, k := range staleKeys {
		delete(top, k)
	}
	var was struct {
		Config json.RawMessage `json:"config"`
	}
	if base != nil {
		if err := json.Unmarshal(base, &was); err != nil {
			return nil, fmt.Errorf("write the image config: %w", err)
		}
	}
	// The zero config lists the keys that are known: they are replaced, or gone.
	cfg, err := overlay(was.Config, c.Config, allKeys())
	if err != nil {
		return nil, fmt.Errorf("write the image config: %w", err)
	}
	if top["config"], err = json.Marshal(cfg); err != nil {
		return nil, fmt.Errorf("write the image config: %w", err)
	}
	return json.Marshal(top)
}

// allKeys has every field set, so that its JSON has every key.
func allKeys() ocispec.ImageConfig {
	return ocispec.ImageConfig{
		User: "x", ExposedPorts: map[string]struct{}{"x": {}}, Env: []string{"x"}, Entrypoint: []string{"x"}, Cmd: []string{"x"},
		Volumes: map[string]struct{}{"x": {}}, WorkingDir: "x", Labels: map[string]string{"x": "x"}, StopSignal: "x",
	}
}

// overlay is base with the fields of v; keys that known has are v's alone.
func overlay(base []byte, v, known any) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	if len(base) > 0 {
		if err := json.Unmarshal(base, &out); err != nil {
			return nil, err
		}
	}
	if out == nil { // JSON null
		out = map[string]json.RawMessage{}
	}
	k, err := fields(known)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(out, func(key string, _ json.RawMessage) bool { return k[key] != nil })
	add, err := fields(v)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, add)
	return out, nil
}

func fields(v any) (map[string]json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	return out, json.Unmarshal(b, &out)
}

// finishImage stages config, manifest and merged index of an image whose layers
// are staged, publishes all of it and lets name put it into the index.
func (st *staging) finishImage(configJSON []byte, layers []oci.Layer, name func(*refIndex, ocispec.Descriptor) error) (*Image, error) {
	if _, err := st.putBlob(configJSON); err != nil {
		return nil, fmt.Errorf("store the image config: %w", err)
	}
	manifest, err := oci.NewManifest(configJSON, layers)
	if err != nil {
		return nil, err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Size: int64(len(manifest))}
	if d.Digest, err = st.putBlob(manifest); err != nil {
		return nil, fmt.Errorf("store the image manifest: %w", err)
	}
	var diffIDs []digest.Digest
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
	}
	if err := st.union(diffIDs); err != nil {
		return nil, err
	}
	var img *Image
	err = st.publish(func(ix *refIndex) error {
		if err := name(ix, d); err != nil {
			return err
		}
		img, err = st.s.image(ix, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return img, nil
}

// pin links the files of a layer that is in the store into the staging
// directory: nobody can take them away before publish. On a file system without
// hard links there is nothing to hold them by, and publish may find them gone;
// nor is there for files of further stores.
func (st *staging) pin(l oci.Layer) error {
	if blob := st.s.findBlob(l.Digest); blob != st.s.blobPath(l.Digest) {
		return nil
	}
	pairs := [][2]string{{st.s.blobPath(l.Digest), st.blobPath(l.Digest)}}
	// The mark first: without it flat.tar is taken for written.
	for _, name := range []string{unsyncedName, flatName, indexName} {
		staged, err := st.layerFile(l.DiffID, name)
		if err != nil {
			return err
		}
		pairs = append(pairs, [2]string{filepath.Join(st.s.layerDir(l.DiffID), name), staged})
	}
	for i, p := range pairs {
		err := os.Link(p[0], p[1])
		if i == 0 && errors.Is(err, fs.ErrNotExist) {
			return oci.Damaged(l.Digest, "is missing")
		}
	}
	return nil
}

// pinned reports whether pin got hold of all files of a layer: another command
// may have removed some between a look at them and pin.
func (st *staging) pinned(l oci.Layer) bool {
	dir := st.path("layers", l.DiffID.Encoded())
	for _, name := range []string{st.blobPath(l.Digest), filepath.Join(dir, flatName), filepath.Join(dir, indexName)} {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}
