// The configs of new images.

package image

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/store"
)

// newConfig is the config of an image without layers, for this machine.
func newConfig() ocispec.Image {
	return ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
}

// sourceDate is the time that stands for "now" in what the store writes:
// SOURCE_DATE_EPOCH if it is set (https://reproducible-builds.org/specs/source-date-epoch/).
func sourceDate(asked time.Time) time.Time {
	if !asked.IsZero() {
		return asked.UTC()
	}
	var sec int64
	if v := os.Getenv("SOURCE_DATE_EPOCH"); v != "" {
		if _, err := fmt.Sscanf(v, "%d", &sec); err == nil {
			return time.Unix(sec, 0).UTC()
		}
	}
	return time.Now().UTC()
}

// InlineKey is where the config of an image has the cache of its build: BuildKit's inline cache.
const InlineKey = "moby.buildkit.cache.v0"

// staleKeys are fields of docker's configs that describe one build step, not
// the image, and are wrong in an image made from it.
var staleKeys = []string{"container", "container_config", "docker_version", "id", "parent", "throwaway", InlineKey}

// encodeConfig writes c as JSON. Fields of base, the JSON of the config that c
// was made from, are kept if this program does not know them: docker's
// Healthcheck, OnBuild and Shell for instance. Keys are sorted: the same config
// has the same digest. config is the part of c that says what to run, of which known has every key.
func encodeConfig(base []byte, c ocispec.Image, config, known any) ([]byte, error) {
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
	cfg, err := overlay(was.Config, config, known)
	if err != nil {
		return nil, fmt.Errorf("write the image config: %w", err)
	}
	if top["config"], err = json.Marshal(cfg); err != nil {
		return nil, fmt.Errorf("write the image config: %w", err)
	}
	return json.Marshal(top)
}

// allKeys has every field set, so that its JSON has every key.
func allKeys() dockerspec.DockerOCIImageConfig {
	return dockerspec.DockerOCIImageConfig{
		ImageConfig: ocispec.ImageConfig{
			User: "x", ExposedPorts: map[string]struct{}{"x": {}}, Env: []string{"x"}, Entrypoint: []string{"x"}, Cmd: []string{"x"},
			Volumes: map[string]struct{}{"x": {}}, WorkingDir: "x", Labels: map[string]string{"x": "x"}, StopSignal: "x",
		},
		DockerOCIImageConfigExt: dockerspec.DockerOCIImageConfigExt{
			Healthcheck: &dockerspec.HealthcheckConfig{}, OnBuild: []string{"x"}, Shell: []string{"x"},
		},
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
func (s *Store) finishImage(st *store.Staging, configJSON []byte, layers []oci.Layer, name func(*store.Index, ocispec.Descriptor) error) (*Image, error) {
	if _, err := st.PutBlob(configJSON); err != nil {
		return nil, fmt.Errorf("store the image config: %w", err)
	}
	manifest, err := oci.NewManifest(configJSON, layers)
	if err != nil {
		return nil, err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Size: int64(len(manifest))}
	if d.Digest, err = st.PutBlob(manifest); err != nil {
		return nil, fmt.Errorf("store the image manifest: %w", err)
	}
	if err := s.Merge(st, layers); err != nil {
		return nil, err
	}
	var img *Image
	err = s.Publish(st, func(ix *store.Index) error {
		if err := name(ix, d); err != nil {
			return err
		}
		img, err = s.image(ix, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return img, nil
}
