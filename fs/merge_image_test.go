package fs_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/layer"
	"tiffin/image/union"
	"tiffin/internal/test/fstest"
)

// writeLayout makes an OCI image layout of plain tarballs and returns the image
// as umoci(1) names it.
func writeLayout(t *testing.T, dir string, flats []string) string {
	layout := filepath.Join(dir, "layout")
	blobs := filepath.Join(layout, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	blob := func(mediaType string, b []byte) ocispec.Descriptor {
		sum := sha256.Sum256(b)
		name := hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(blobs, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest("sha256:" + name), Size: int64(len(b))}
	}
	document := func(mediaType string, v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return blob(mediaType, b)
	}
	man := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, flat := range flats {
		b, err := os.ReadFile(flat)
		if err != nil {
			t.Fatal(err)
		}
		d := blob(ocispec.MediaTypeImageLayer, b)
		man.Layers = append(man.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d.Digest)
	}
	man.Config = document(ocispec.MediaTypeImageConfig, config)
	d := document(ocispec.MediaTypeImageManifest, man)
	d.Annotations = map[string]string{ocispec.AnnotationRefName: "image"}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{d}}
	for name, v := range map[string]any{"index.json": index, "oci-layout": ocispec.ImageLayout{Version: "1.0.0"}} {
		b, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(layout, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return layout + ":image"
}

// unpackLayers inflates and indexes the layers of the first image in an OCI
// layout.
func unpackLayers(t *testing.T, layout string) *fstest.Image {
	dir := t.TempDir()
	var index ocispec.Index
	var man ocispec.Manifest
	readJSON(t, filepath.Join(layout, "index.json"), &index)
	blob := func(d ocispec.Descriptor) string { return filepath.Join(layout, "blobs", "sha256", d.Digest.Encoded()) }
	readJSON(t, blob(index.Manifests[0]), &man)
	im := &fstest.Image{Index: filepath.Join(dir, "index")}
	var merged *layer.Tree
	for n, d := range man.Layers {
		flat := filepath.Join(dir, fmt.Sprint(n))
		if err := gunzip(flat, blob(d)); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(flat)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := layer.Scan(f)
		f.Close()
		if err := fstest.WriteBlocks(flat); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			merged, err = union.Merge(merged, tree, uint16(n))
		}
		if err != nil {
			t.Fatalf("layer %d: %v", n, err)
		}
		im.Flats = append(im.Flats, flat)
	}
	if err := merged.WriteFile(im.Index); err != nil {
		t.Fatal(err)
	}
	return im
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func gunzip(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, z); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
