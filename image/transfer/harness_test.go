package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
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

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/store"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
)

// TestMain lets a test run parts of itself in other processes.
func TestMain(m *testing.M) {
	os.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	os.Exit(reexec.Main(m, parts))
}

func newStore(t testing.TB) *image.Store {
	t.Helper()
	s, err := image.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// layerTar is a small layer with a file of each kind.
func layerTar(t testing.TB, tag string) []byte {
	return tartest.Of(t,
		tartest.Dir("bin", tartest.Mode(0o755)),
		tartest.File("bin/tool-"+tag, strings.Repeat(tag, 3000), tartest.Mode(0o755)),
		tartest.Symlink("bin/link-"+tag, "tool-"+tag),
		tartest.Hardlink("bin/hard-"+tag, "bin/tool-"+tag),
		tartest.File("which", tag),
	)
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// gzMembers is a gzip stream of several members, as pigz -i or cat would make.
func gzMembers(t testing.TB, b []byte) []byte {
	var out []byte
	for part := range slices.Chunk(b, 1000) {
		out = append(out, gz(t, part)...)
	}
	return out
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func asIs(_ testing.TB, b []byte) []byte { return b }

// fixture is an image to be put into archives of every form.
type fixture struct {
	names  []string
	tars   [][]byte // uncompressed layers
	blobs  [][]byte // the same as stored
	config []byte
}

func newFixture(t testing.TB, pack func(testing.TB, []byte) []byte, names []string, tars ...[]byte) *fixture {
	t.Helper()
	f := &fixture{names: names, tars: tars}
	created := time.Unix(1600000000, 0).UTC()
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{Type: "layers"}}
	cfg.Created, cfg.Config.Cmd, cfg.Config.Env = &created, []string{"tool"}, []string{"A=1"}
	for i, b := range tars {
		f.blobs = append(f.blobs, pack(t, b))
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(b))
		cfg.History = append(cfg.History, ocispec.History{Created: &created, CreatedBy: fmt.Sprintf("step %d", i)})
	}
	f.config = mustJSON(t, cfg)
	return f
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) id() digest.Digest { return digest.FromBytes(f.config) }

// manifest is the fixture's manifest, as JSON.
func (f *fixture) manifest(t testing.TB) []byte {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: f.id(), Size: int64(len(f.config))}}
	for _, b := range f.blobs {
		// The media type is wrong on purpose for what is not gzip.
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(b), Size: int64(len(b))})
	}
	return mustJSON(t, m)
}

type file struct {
	name string
	data []byte
}

func blobFile(b []byte) file { return file{blobName(digest.FromBytes(b)), b} }

func (f *fixture) layout(t testing.TB) []file {
	files := []file{{"oci-layout", []byte(store.LayoutMarker)}}
	m := f.manifest(t)
	for _, b := range append([][]byte{f.config, m}, f.blobs...) {
		files = append(files, blobFile(b))
	}
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(m), Size: int64(len(m))}
	if len(f.names) == 0 {
		ix.Manifests = append(ix.Manifests, d)
	}
	for _, n := range f.names {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: n}
		ix.Manifests = append(ix.Manifests, d)
	}
	return append(files, file{"index.json", mustJSON(t, ix)})
}

func (f *fixture) docker(t testing.TB) []file {
	e := dockerEntry{Config: f.id().Encoded() + ".json", RepoTags: f.names}
	files := []file{{e.Config, f.config}}
	for i, b := range f.blobs {
		name := fmt.Sprintf("layer%d/layer.tar", i)
		e.Layers = append(e.Layers, name)
		files = append(files, file{name, b})
	}
	return append(files, file{"manifest.json", mustJSON(t, []dockerEntry{e})})
}

// archive packs files; extra entries come first.
func archive(t testing.TB, files []file, extra ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range extra {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		if err := writeEntry(w, f.name, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// descriptor is that of a manifest.
func (f *fixture) descriptor(manifest []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
}

// memory is a source in memory that has every blob which is not in it, empty.
type memory map[string][]byte

func (m memory) has(string) bool { return true }
func (m memory) Close() error    { return nil }
func (m memory) open(name string) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader(m[name])), int64(len(m[name])), nil
}

// inFile writes b to a file of the test.
func inFile(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func inDir(t testing.TB, files []file) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		p := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f.data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t testing.TB, s *image.Store, name string) []Loaded {
	t.Helper()
	l, err := Load(context.Background(), s, name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// loadFixture is a store with one image in it.
func loadFixture(t testing.TB, pack func(testing.TB, []byte) []byte, name string) (*image.Store, *fixture, *image.Image) {
	t.Helper()
	s := newStore(t)
	f := newFixture(t, pack, []string{name}, layerTar(t, "one"), layerTar(t, "two"))
	load(t, s, inFile(t, archive(t, f.layout(t))))
	return s, f, resolve(t, s, name)
}

func resolve(t testing.TB, s *image.Store, ref string) *image.Image {
	t.Helper()
	img, err := s.Resolve(ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// listing is what is in the store: names and sizes, tmp/ included.
func listing(t testing.TB, s *image.Store) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(s.Root(), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(p, s.Root())
		if st.Mode().IsRegular() {
			line += fmt.Sprintf(" %d", st.Size())
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sound checks a whole store: every image has its blobs with their digests and
// can be mounted, the merged tree is that of its layers, and nothing is there
// that no image needs.
func sound(t testing.TB, s *image.Store) {
	t.Helper()
	ix, err := s.ReadIndex()
	if err != nil {
		t.Fatalf("index: %v", err)
	}
	blobs, layers, unions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, d := range ix.Manifests {
		blobs[d.Digest.Encoded()], blobs[store.Top(d).Encoded()] = true, true
	}
	imgs, err := s.List()
	if err != nil {
		t.Errorf("images: %v", err)
	}
	for _, img := range imgs {
		blobs[img.Manifest.Digest.Encoded()], blobs[img.ID.Encoded()] = true, true
		unions[cache.ChainID(img.Config.RootFS.DiffIDs).Encoded()] = true
		for _, l := range img.Layers {
			blobs[l.Digest.Encoded()], layers[l.DiffID.Encoded()] = true, true
		}
		m, err := s.Mountable(img)
		if err != nil {
			t.Errorf("image %s: %v", img.ID, err)
			continue
		}
		if _, err := layer.OpenIndex(m.UnionPath); err != nil {
			t.Errorf("image %s: %v", img.ID, err)
			continue
		}
		for _, l := range img.Layers {
			wantDigest(t, s.FlatPath(l.DiffID), l.DiffID)
			wantDigest(t, s.BlobPath(l.Digest), l.Digest)
		}
	}
	for dir, known := range map[string]map[string]bool{"blobs/sha256": blobs, "layers": layers, "unions": unions, "tmp": {}} {
		names, err := os.ReadDir(s.Path(dir))
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if !known[n.Name()] {
				t.Errorf("%s/%s belongs to no image", dir, n.Name())
			}
		}
	}
}

func wantDigest(t testing.TB, path string, want digest.Digest) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if got, err := store.HashFile(f); err != nil || got != want {
		t.Errorf("%s has digest %s (%v)", path, got, err)
	}
}

// paths lists the merged tree of an image.
func paths(t testing.TB, s *image.Store, img *image.Image) []string {
	t.Helper()
	m, err := s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	x, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range x.Len() {
		for _, n := range x.Names(uint32(i)) {
			out = append(out, strings.Clone(strings.TrimSuffix(x.Path(n.Dir), "/")+"/"+n.Name))
		}
	}
	slices.Sort(out)
	return out
}

// output runs a program and fails the test if that fails.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
