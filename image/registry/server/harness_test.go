package server

import (
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
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
)

// TestMain keeps the passwords of the person who runs the tests out of them, and serves a
// store in a process of its own for tests that kill it.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tiffin-server-")
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600); err != nil { // podman wants one
		panic(err)
	}
	os.Unsetenv("REGISTRY_AUTH_FILE")
	os.Unsetenv("XDG_RUNTIME_DIR")
	for _, name := range []string{"DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"} {
		os.Setenv(name, dir)
	}
	code := reexec.Main(m, reexec.Parts{"serve": reexec.Fails(serveAlone), "dial": reexec.Fails(dialAndHold), "post": func(args []string) int {
		fmt.Println(postTo(args[0]))
		return 0
	}})
	os.RemoveAll(dir)
	os.Exit(code)
}

// serveAlone serves a store, on a disk of its own if a size follows, such as 6m.
func serveAlone(args []string) error {
	root := args[0]
	if len(args) > 1 {
		if err := syscall.Mount("tmpfs", filepath.Dir(root), "tmpfs", 0, "mode=700,size="+args[1]); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
	}
	s, err := image.Open(root)
	if err != nil {
		return err
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return (&Server{Store: s, Open: true}).HTTP(nil).Serve(l)
}

func newStore(t testing.TB) *image.Store {
	t.Helper()
	s, err := image.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// served is a server under test, which reports what it logs.
type served struct {
	*httptest.Server
	srv   *Server
	store *image.Store
	host  string // HOST:PORT
}

// start serves, and lets everybody push unless the test has laid down who may.
func start(t testing.TB, s *Server) *served {
	t.Helper()
	s.Open = s.Auth == nil && s.Token == ""
	if s.Store == nil {
		s.Store = newStore(t)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() { h.Close(); s.Close(); sound(t, s.Store) })
	return &served{h, s, s.Store, strings.TrimPrefix(h.URL, "http://")}
}

// sound checks that nothing is left in tmp/, and that every image can be run that is one.
func sound(t testing.TB, s *image.Store) {
	t.Helper()
	if left, _ := os.ReadDir(filepath.Join(s.Root(), "tmp")); len(left) > 0 {
		t.Errorf("left in tmp/: %v", left)
	}
	imgs, err := s.List()
	if err != nil {
		t.Error(err)
	}
	for _, img := range imgs {
		if img.Unfit != "" {
			continue
		}
		if _, err := s.Mountable(img); err != nil {
			t.Errorf("%v cannot be run: %v", img.Names, err)
		}
	}
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

// newFixture makes an image for a machine with a gzip layer and a plain one,
// whose content depends on the seed.
func newFixture(t testing.TB, seed, arch string) *fixture {
	t.Helper()
	f := &fixture{blobs: map[digest.Digest][]byte{}}
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}}
	cfg.RootFS.Type = "layers"
	low := tartest.Of(t, tartest.File("seed", strings.Repeat(seed, 50000)))
	high := tartest.Of(t, tartest.Dir("d"), tartest.File("d/hello", "hello "+arch+"\n"))
	cfg.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(low), digest.FromBytes(high)}
	f.m = ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: f.add(mustJSON(t, cfg), ocispec.MediaTypeImageConfig),
		Layers: []ocispec.Descriptor{f.add(gz(low), ocispec.MediaTypeImageLayerGzip), f.add(high, ocispec.MediaTypeImageLayer)},
	}
	f.seal(t)
	return f
}

// seal encodes the manifest again after a change.
func (f *fixture) seal(t testing.TB) { f.manifest = mustJSON(t, f.m) }

func thisArch() string { return oci.ThisMachine().Architecture }

func mustJSON(t testing.TB, v any) []byte {
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

// reply is an answer that has been read.
type reply struct {
	*http.Response
	body string
}

// do sends a request; header is NAME, VALUE, ….
func (h *served) do(t testing.TB, method, path string, body any, header ...string) reply {
	t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case []byte:
		r = bytes.NewReader(b)
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r = b
	}
	req, err := http.NewRequest(method, h.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.Client().Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp, string(b)}
}

// want checks the status of an answer, and what its body says.
func (r reply) want(t testing.TB, status int, says ...string) reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s: %s instead of %d: %s", r.Request.Method, r.Request.URL.Path, r.Status, status, r.body)
	}
	for _, s := range says {
		if !strings.Contains(r.body, s) {
			t.Errorf("%s %s: %q does not say %q", r.Request.Method, r.Request.URL.Path, r.body, s)
		}
	}
	return r
}

// blobs uploads blobs in one request each.
func (h *served) blobs(t testing.TB, repo string, bs ...[]byte) {
	t.Helper()
	for _, b := range bs {
		h.do(t, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+digest.FromBytes(b).String(), b).want(t, 201)
	}
}

func (h *served) putManifest(t testing.TB, repo, reference string, f *fixture) reply {
	t.Helper()
	return h.do(t, "PUT", "/v2/"+repo+"/manifests/"+reference, f.manifest, "Content-Type", f.m.MediaType)
}

// push pushes the fixture as a simple client does.
func (h *served) push(t testing.TB, repo, reference string, f *fixture) {
	t.Helper()
	for _, b := range f.blobs {
		h.blobs(t, repo, b)
	}
	h.putManifest(t, repo, reference, f).want(t, 201)
}

func ref(t testing.TB, name string) reference.Reference {
	t.Helper()
	r, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tiffinPull pulls NAME into a new store, and returns the digest.
func tiffinPull(t testing.TB, name string) (*image.Store, digest.Digest) {
	t.Helper()
	s := newStore(t)
	p, err := new(registry.Client).Pull(context.Background(), s, ref(t, name), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, p.Digest
}

func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
