package registry

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/internal/test/must"
	"tiffin/internal/test/tartest"
)

// TestMain keeps the passwords of the person who runs the tests out of them.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tiffin-registry-")
	if err != nil {
		panic(err)
	}
	os.Unsetenv("REGISTRY_AUTH_FILE")
	os.Unsetenv("XDG_RUNTIME_DIR")
	for _, name := range []string{"DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"} {
		os.Setenv(name, dir)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func newStore(t *testing.T) *image.Store {
	t.Helper()
	s, err := image.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ref(t *testing.T, s string) reference.Reference {
	t.Helper()
	r, err := reference.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// warnings collects what a Client warns of.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) client() *Client {
	return &Client{Warn: func(s string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, s)
	}}
}

// fixture is an image: blobs by digest, and its manifest.
type fixture struct {
	blobs    map[digest.Digest][]byte
	m        ocispec.Manifest
	manifest []byte
}

func (f *fixture) add(b []byte, mediaType string) ocispec.Descriptor {
	d := digest.FromBytes(b)
	f.blobs[d] = b
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// newFixture makes an image of three layers: gzip, zstd and not compressed.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{blobs: map[digest.Digest][]byte{}}
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: oci.ThisMachine().Architecture}}
	cfg.RootFS.Type = "layers"
	var layers []ocispec.Descriptor
	for i, pack := range []struct {
		mediaType string
		pack      func([]byte) []byte
	}{
		{ocispec.MediaTypeImageLayerGzip, gz}, {ocispec.MediaTypeImageLayerZstd, zst}, {ocispec.MediaTypeImageLayer, bytes.Clone},
	} {
		tarball := tartest.Of(t, tartest.File(fmt.Sprintf("file-%d", i), strings.Repeat(fmt.Sprint(i), 40000)))
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(tarball))
		layers = append(layers, f.add(pack.pack(tarball), pack.mediaType))
	}
	f.m = ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: f.add(mustJSON(t, cfg), ocispec.MediaTypeImageConfig), Layers: layers}
	f.seal(t)
	return f
}

// seal encodes the manifest again after a change.
func (f *fixture) seal(t *testing.T) { f.manifest = mustJSON(t, f.m) }

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

// server is a registry with one image, any name of any repository, that tests
// make lie. It counts what it is asked for.
type server struct {
	*httptest.Server
	f *fixture
	// fault may answer a request itself; then it returns true.
	fault func(w http.ResponseWriter, r *http.Request) bool
	types map[digest.Digest]string // of further manifests; "" is the image's

	mu   sync.Mutex
	gets map[string]int // by the last element of the path
}

func serve(t *testing.T, f *fixture) *server {
	t.Helper()
	s := &server{f: f, gets: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// host is HOST:PORT.
func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets[name]
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	s.mu.Lock()
	s.gets[name]++
	s.mu.Unlock()
	if s.fault != nil && s.fault(w, r) {
		return
	}
	b, ok := s.f.blobs[digest.Digest(name)]
	mediaType := "application/octet-stream"
	if strings.Contains(r.URL.Path, "/manifests/") {
		if mediaType = s.types[digest.Digest(name)]; mediaType == "" {
			b, ok, mediaType = s.f.manifest, true, s.f.m.MediaType
		}
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("ETag", fmt.Sprintf("%q", digest.FromBytes(b).Encoded()[:8]))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b)) // ranges, too
}

// pull pulls REPOSITORY:TAG from a server into a new store.
func pull(t *testing.T, host string) (*image.Store, *transfer.Pulled, error) {
	t.Helper()
	s := newStore(t)
	p, err := new(Client).Pull(context.Background(), s, ref(t, host+"/team/app:v1"), nil, nil)
	return s, p, err
}

// wantError checks that err says what it must.
func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one that says %q", says)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error %q does not say %q", err, s)
		}
	}
}

// startRegistry starts Debian's docker-registry; more goes into its
// configuration, after the section http.
func startRegistry(t *testing.T, more string) (host string) {
	t.Helper()
	bin := must.Tool(t, "docker-registry")
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp:\n  addr: 127.0.0.1:0\n%s", dir, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", config)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	said := ""
	for lines := bufio.NewScanner(out); lines.Scan(); said += lines.Text() + "\n" {
		if _, at, ok := strings.Cut(lines.Text(), "listening on "); ok { // ADDRESS", or ADDRESS, tls"
			go io.Copy(io.Discard, out)
			return at[:strings.IndexAny(at, `,"`)]
		}
	}
	t.Fatalf("docker-registry does not come up: %s", said)
	return ""
}
