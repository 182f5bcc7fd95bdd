package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/test/tartest"
)

// slowRegistry has one image of two layers, of which it sends the second only
// to its middle, until it is let go.
type slowRegistry struct {
	blobs  map[string][]byte
	large  string
	ranges chan string // of the requests for the large layer
	slow   bool
}

func newSlowRegistry(t *testing.T) *slowRegistry {
	s := &slowRegistry{blobs: map[string][]byte{}, ranges: make(chan string, 10), slow: true}
	add := func(b []byte, mediaType string) ocispec.Descriptor {
		d := digest.FromBytes(b)
		s.blobs[d.String()] = b
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{2}).Read(noise)
	var m ocispec.Manifest
	var c ocispec.Image
	c.OS, c.RootFS.Type = "linux", "layers"
	for _, tarball := range [][]byte{tartest.Of(t, tartest.File("small", "dinner")), tartest.Of(t, tartest.File("large", string(noise)))} {
		m.Layers = append(m.Layers, add(tarball, ocispec.MediaTypeImageLayer))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(tarball))
	}
	s.large = m.Layers[1].Digest.String()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	m.SchemaVersion, m.MediaType, m.Config = 2, ocispec.MediaTypeImageManifest, add(config, ocispec.MediaTypeImageConfig)
	if s.blobs["1"], err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *slowRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	b, ok := s.blobs[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if w.Header().Set("Content-Type", "application/octet-stream"); name == "1" {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", name))
	if name == s.large {
		s.ranges <- r.Header.Get("Range")
		if s.slow {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b[:len(b)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// TestKilledPullGoesOnWhereItStopped kills `tiffin pull` with SIGKILL in the
// middle of a layer. Other commands run in between; then the pull asks for the
// rest of that layer only.
func TestKilledPullGoesOnWhereItStopped(t *testing.T) {
	reg := newSlowRegistry(t)
	srv := httptest.NewServer(reg)
	defer srv.Close()
	store := filepath.Join(t.TempDir(), "store")
	name := strings.TrimPrefix(srv.URL, "http://") + "/lab:1"
	tiffin := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+store, "DOCKER_CONFIG="+t.TempDir())
		return cmd
	}
	pull := tiffin("pull", name)
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	partial := filepath.Join(store, "partial", strings.TrimPrefix(reg.large, "sha256:"))
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if st, err := os.Stat(partial); err == nil && st.Size() >= 2<<20 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing arrives")
		}
	}
	if err := pull.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pull.Wait(); err == nil {
		t.Fatal("the pull ended well")
	}
	if got := <-reg.ranges; got != "" {
		t.Errorf("the first pull asked for %q", got)
	}
	for _, args := range [][]string{{"images"}, {"ps", "-a"}, {"images"}} {
		if out, err := tiffin(args...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	reg.slow = false
	if out, err := tiffin("pull", name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var from int
	if got := <-reg.ranges; true {
		if _, err := fmt.Sscanf(got, "bytes=%d-", &from); err != nil || from < 2<<20 || len(reg.ranges) > 0 {
			t.Errorf("the second pull asked for %q, and %d times more", got, len(reg.ranges))
		}
	}
	for d := range reg.blobs {
		if hex, ok := strings.CutPrefix(d, "sha256:"); ok {
			b, err := os.ReadFile(filepath.Join(store, "blobs", "sha256", hex))
			if err != nil || digest.FromBytes(b).String() != d {
				t.Errorf("blob %s: %v, or it has another digest", d, err)
			}
		}
	}
	if left, _ := os.ReadDir(filepath.Join(store, "tmp")); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
	if _, err := os.Stat(filepath.Dir(partial)); err == nil {
		t.Error("the partial files are still there")
	}
}

// TestProxyOfTheEnvironment: the registry's name leads nowhere, but the proxy
// knows it.
func TestProxyOfTheEnvironment(t *testing.T) {
	reg := newSlowRegistry(t)
	reg.slow = false
	var mu sync.Mutex
	hosts := map[string]bool{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hosts[r.Method+" "+r.Host] = true
		mu.Unlock()
		reg.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	cmd := exec.Command(binary, "pull", "--tls-verify=false", "registry.invalid:5000/lab:1")
	cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+filepath.Join(t.TempDir(), "store"), "DOCKER_CONFIG="+t.TempDir(),
		"HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !hosts["GET registry.invalid:5000"] || !hosts["CONNECT registry.invalid:5000"] {
		t.Errorf("the proxy was asked for %v", hosts)
	}
}
