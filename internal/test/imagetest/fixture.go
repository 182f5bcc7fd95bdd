// Package imagetest makes small images for tests in every form in which they come, stores that
// have them, and says whether a store is sound.
package imagetest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/store"
	"tiffin/internal/test/tartest"
)

// LayerTar is a small layer with a file of each kind. Their names and content differ by tag.
func LayerTar(t testing.TB, tag string) []byte {
	return tartest.Of(t,
		tartest.Dir("bin", tartest.Mode(0o755)),
		tartest.File("bin/tool-"+tag, strings.Repeat(tag, 3000), tartest.Mode(0o755)),
		tartest.Symlink("bin/link-"+tag, "tool-"+tag),
		tartest.Hardlink("bin/hard-"+tag, "bin/tool-"+tag),
		tartest.File("which", tag),
	)
}

// Packing makes a blob of a layer's tarball.
type Packing func(t testing.TB, tarball []byte) []byte

// Packings are all of them, by name.
var Packings = map[string]Packing{"plain": AsIs, "gzip": Gzip, "gzip members": GzipMembers, "zstd": Zstd}

// Gzip is a gzip stream of one member.
func Gzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// GzipMembers is a gzip stream of several members, as pigz -i or cat would make.
func GzipMembers(t testing.TB, b []byte) []byte {
	var out []byte
	for part := range slices.Chunk(b, 1000) {
		out = append(out, Gzip(t, part)...)
	}
	return out
}

// Zstd is a zstd stream.
func Zstd(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// AsIs does not compress.
func AsIs(_ testing.TB, b []byte) []byte { return b }

// Fixture is an image to be put into archives of every form.
type Fixture struct {
	Names  []string
	Tars   [][]byte // uncompressed layers
	Blobs  [][]byte // the same as stored
	Config []byte
}

// New is an image for this machine, the first layer lowest.
func New(t testing.TB, pack Packing, names []string, tars ...[]byte) *Fixture {
	t.Helper()
	f := &Fixture{Names: names, Tars: tars}
	created := time.Unix(1600000000, 0).UTC()
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{Type: "layers"}}
	cfg.Created, cfg.Config.Cmd, cfg.Config.Env = &created, []string{"tool"}, []string{"A=1"}
	for i, b := range tars {
		f.Blobs = append(f.Blobs, pack(t, b))
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(b))
		cfg.History = append(cfg.History, ocispec.History{Created: &created, CreatedBy: fmt.Sprintf("step %d", i)})
	}
	f.Config = JSON(t, cfg)
	return f
}

// JSON encodes v.
func JSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ID is the image's, the digest of its config.
func (f *Fixture) ID() digest.Digest { return digest.FromBytes(f.Config) }

// Manifest is the fixture's manifest, as JSON.
func (f *Fixture) Manifest(t testing.TB) []byte {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: f.ID(), Size: int64(len(f.Config))}}
	for _, b := range f.Blobs {
		// The media type is wrong on purpose for what is not gzip.
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(b), Size: int64(len(b))})
	}
	return JSON(t, m)
}

// File is a file of an archive.
type File struct {
	Name string
	Data []byte
}

// Files are pairs of name and content.
func Files(pairs ...string) (files []File) {
	for p := range slices.Chunk(pairs, 2) {
		files = append(files, File{p[0], []byte(p[1])})
	}
	return files
}

// BlobName is where an OCI layout has a blob. OCI image-spec v1.1 image-layout.md, "Blobs".
func BlobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// BlobFile is a blob in an OCI layout.
func BlobFile(b []byte) File { return File{BlobName(digest.FromBytes(b)), b} }

// Layout is the image as an OCI layout.
func (f *Fixture) Layout(t testing.TB) []File {
	files := []File{{"oci-layout", []byte(store.LayoutMarker)}}
	m := f.Manifest(t)
	for _, b := range append([][]byte{f.Config, m}, f.Blobs...) {
		files = append(files, BlobFile(b))
	}
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(m), Size: int64(len(m))}
	if len(f.Names) == 0 {
		ix.Manifests = append(ix.Manifests, d)
	}
	for _, n := range f.Names {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: n}
		ix.Manifests = append(ix.Manifests, d)
	}
	return append(files, File{"index.json", JSON(t, ix)})
}

// Docker is the image as `docker save` writes it.
func (f *Fixture) Docker(t testing.TB) []File {
	config := File{f.ID().Encoded() + ".json", f.Config}
	files, layers := []File{config}, []string{}
	for i, b := range f.Blobs {
		name := fmt.Sprintf("layer%d/layer.tar", i)
		layers = append(layers, name)
		files = append(files, File{name, b})
	}
	manifest := []map[string]any{{"Config": config.Name, "RepoTags": f.Names, "Layers": layers}}
	return append(files, File{"manifest.json", JSON(t, manifest)})
}

// Archive packs files; extra entries, of zeros, come first.
func Archive(t testing.TB, files []File, extra ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h *tar.Header, data []byte) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range extra {
		add(h, make([]byte, h.Size))
	}
	for _, f := range files {
		add(&tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: 0o644, Size: int64(len(f.Data))}, f.Data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// InFile writes b to a file of the test.
func InFile(t testing.TB, b []byte) string {
	t.Helper()
	return filepath.Join(InDir(t, []File{{"archive.tar", b}}), "archive.tar")
}

// InDir writes files to a directory of the test.
func InDir(t testing.TB, files []File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		p := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
