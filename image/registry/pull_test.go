package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/internal/test/tartest"
)

func TestPulledImageCanBeRunAndIsFetchedOnce(t *testing.T) {
	f := newFixture(t)
	srv := serve(t, f)
	s, p, err := pull(t, srv.host())
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve(srv.host() + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.FromBytes(f.manifest); p.Digest != want || img.Manifest.Digest != want || !p.Newer {
		t.Errorf("digest %s, newer %v; the image has %s, the registry %s", p.Digest, p.Newer, img.Manifest.Digest, want)
	}
	// Nothing is left to be derived: the store can be read-only now.
	m, err := s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	for i, flat := range m.FlatPaths {
		b, err := os.ReadFile(flat)
		if err != nil || digest.FromBytes(b) != img.Layers[i].DiffID {
			t.Errorf("layer %d: %v, or it is not what its config names", i, err)
		}
	}
	p, err = new(Client).Pull(context.Background(), s, ref(t, srv.host()+"/team/app:v1"), nil, nil)
	if err != nil || p.Newer {
		t.Errorf("the second pull: %v, newer %v", err, p.Newer)
	}
	for _, l := range f.m.Layers {
		if n := srv.count(l.Digest.String()); n != 1 {
			t.Errorf("layer %s was asked for %d times", l.Digest, n)
		}
	}
}

func TestPullRepairsADamagedLayer(t *testing.T) {
	srv := serve(t, newFixture(t))
	s, _, err := pull(t, srv.host())
	if err != nil {
		t.Fatal(err)
	}
	l := srv.f.m.Layers[0]
	blob := filepath.Join(s.Root(), "blobs", "sha256", l.Digest.Encoded())
	if err := os.WriteFile(blob, []byte("damage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = new(Client).Pull(context.Background(), s, ref(t, srv.host()+"/team/app:v1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(blob); digest.FromBytes(b) != l.Digest {
		t.Error("the layer is still damaged")
	}
}

// index puts the fixture behind an index, with another platform's image that
// is not there.
func index(t *testing.T, srv *server, mediaType string, here ocispec.Platform) []byte {
	other := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("other"), Size: 5,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "mips"}}
	mine := srv.f.add(srv.f.manifest, srv.f.m.MediaType)
	mine.Platform = &here
	ix := mustJSON(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Manifests: []ocispec.Descriptor{other, mine}})
	srv.types = map[digest.Digest]string{mine.Digest: srv.f.m.MediaType}
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if d := digest.FromBytes(ix).String(); path.Base(r.URL.Path) != "v1" && path.Base(r.URL.Path) != d {
			return false
		}
		w.Header().Set("Content-Type", mediaType)
		w.Write(ix)
		return true
	}
	return ix
}

func TestPlatformIsChosenFromAnIndex(t *testing.T) {
	for _, mediaType := range []string{ocispec.MediaTypeImageIndex, manifestTypes[3]} {
		srv := serve(t, newFixture(t))
		ix := index(t, srv, mediaType, ocispec.Platform{OS: "linux", Architecture: oci.ThisMachine().Architecture})
		s, p, err := pull(t, srv.host())
		if err != nil {
			t.Fatal(err)
		}
		if p.Digest != digest.FromBytes(ix) {
			t.Errorf("the digest is %s, not the index's", p.Digest)
		}
		// By the digest of the index it is found again, whatever the tag is.
		byDigest := srv.host() + "/team/app@" + p.Digest.String()
		if _, err := new(Client).Pull(context.Background(), s, ref(t, byDigest), nil, nil); err != nil {
			t.Fatal(err)
		}
		if img, err := s.Resolve(byDigest); err != nil || img.ID != p.ID {
			t.Errorf("%s: %v", byDigest, err)
		}
		asked := oci.Platform{OS: "linux", Architecture: "s390x"}
		_, err = new(Client).Pull(context.Background(), s, ref(t, srv.host()+"/team/app:v1"), &asked, nil)
		wantError(t, err, "no image for linux/s390x", "linux/mips")
	}
}

// TestThePulledIndexIsRemembered: what the registry has under the name is an index, and that is its
// digest here, too. As long as it is there, nothing but it is asked for: with HEAD, which is not
// counted as a pull.
func TestThePulledIndexIsRemembered(t *testing.T) {
	f := newFixture(t)
	srv := serve(t, f)
	put := func(comment string) digest.Digest {
		b := mustJSON(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: map[string]string{"c": comment},
			Manifests: []ocispec.Descriptor{{MediaType: f.m.MediaType, Digest: digest.FromBytes(f.manifest), Size: int64(len(f.manifest)), Platform: &ocispec.Platform{OS: "linux", Architecture: oci.ThisMachine().Architecture}}}})
		f.blobs["v1"], srv.types = b, map[digest.Digest]string{"v1": ocispec.MediaTypeImageIndex}
		return digest.FromBytes(b)
	}
	var asked []string
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/v1") {
			asked = append(asked, r.Method)
			w.Header().Set("Docker-Content-Digest", digest.FromBytes(f.blobs["v1"]).String())
		} else if r.URL.Path != "/v2/" {
			asked = append(asked, "something else")
		}
		return false
	}
	s := newStore(t)
	name := ref(t, srv.host()+"/team/app:v1")
	pull := func(want digest.Digest) []string {
		t.Helper()
		asked = nil
		p, err := new(Client).Pull(context.Background(), s, name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		img, err := s.Resolve(name.FamiliarName() + "@" + want.String())
		if err != nil || p.Digest != want || !slices.Equal(s.Inspect(img).RepoDigests, []string{name.FamiliarName() + "@" + want.String()}) {
			t.Errorf("pulled %s of %s: %v; %+v", p.Digest, want, err, s.Inspect(img).RepoDigests)
		}
		return asked
	}
	blobs := func() int {
		all, _ := os.ReadDir(s.Path("blobs", "sha256"))
		return len(all)
	}
	first := put("first")
	pull(first)
	if got := pull(first); !slices.Equal(got, []string{"HEAD"}) {
		t.Errorf("what is here was asked for by %q", got)
	}
	n := blobs()
	if got := pull(put("second")); !slices.Equal(got, []string{"HEAD", "GET"}) || blobs() != n {
		t.Errorf("another index of the same image was asked for by %q, and there are %d blobs instead of %d", got, blobs(), n)
	}
	if err := s.Tag(name.String(), "mine:1"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{name.String(), "mine:1"} {
		if _, err := s.Remove(name, false); err != nil {
			t.Fatal(err)
		}
	}
	if blobs() != 0 {
		t.Errorf("%d blobs are left", blobs())
	}
}

func TestDockerSchema2(t *testing.T) {
	f := newFixture(t)
	f.m.MediaType, f.m.Config.MediaType = manifestTypes[2], "application/vnd.docker.container.image.v1+json"
	f.m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	f.seal(t)
	srv := serve(t, f)
	s, _, err := pull(t, srv.host())
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve(srv.host() + "/team/app:v1")
	if err != nil || img.Manifest.MediaType != manifestTypes[2] || img.Manifest.Digest != digest.FromBytes(f.manifest) {
		t.Errorf("%v: %+v", err, img)
	}
}

// TestLyingServers: what is not what it was said to be is named, and the store
// is left as it was.
func TestLyingServers(t *testing.T) {
	f := newFixture(t)
	first, plain := f.m.Layers[0], f.m.Layers[2]
	answer := func(d digest.Digest, do func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if path.Base(r.URL.Path) != d.String() {
				return false
			}
			do(w)
			return true
		}
	}
	chunked := func(b []byte) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.Write(b) }
	}
	wrong := func(b []byte) []byte { c := []byte(string(b)); c[700] ^= 1; return c }
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		says  []string
	}{
		{"digest", answer(plain.Digest, chunked(wrong(f.blobs[plain.Digest]))), []string{plain.Digest.String(), "its content has digest"}},
		{"digest of a compressed layer", answer(first.Digest, chunked(gz([]byte(strings.Repeat("x", 10240))))), []string{first.Digest.String()}},
		{"too long", answer(plain.Digest, chunked(append(f.blobs[plain.Digest], make([]byte, 10)...))), []string{plain.Digest.String(), "more than the"}},
		{"too short", answer(plain.Digest, chunked(f.blobs[plain.Digest][:1024])), []string{plain.Digest.String(), "ended after 1024 of"}},
		{"another length announced", answer(plain.Digest, func(w http.ResponseWriter) { w.Write([]byte("short")) }), []string{plain.Digest.String(), "Content-Length"}},
		{"config", answer(f.m.Config.Digest, func(w http.ResponseWriter) { w.Write(wrong(append(f.blobs[f.m.Config.Digest], make([]byte, 1000)...))) }), []string{f.m.Config.Digest.String()}},
		{"type of the manifest", answer("v1", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", manifestTypes[2])
			w.Write(f.manifest)
		}), []string{"is of type " + ocispec.MediaTypeImageManifest, "serves it as " + manifestTypes[2]}},
		{"digest of the manifest", answer("v1", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", f.m.MediaType)
			w.Header().Set("Docker-Content-Digest", first.Digest.String())
			w.Write(f.manifest)
		}), []string{"announces digest " + first.Digest.String(), "sends " + digest.FromBytes(f.manifest).String()}},
		{"no type of the manifest", answer("v1", func(w http.ResponseWriter) {
			w.Header()["Content-Type"] = nil
			w.Write(f.manifest)
		}), []string{"does not say its type"}},
		{"no manifest at all", answer("v1", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Write([]byte(`{"schemaVersion":2}`))
		}), []string{"not an image's"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, f)
			srv.fault = c.fault
			s, _, err := pull(t, srv.host())
			wantError(t, err, append(c.says, "pull "+srv.host()+"/team/app:v1: ")...)
			if blobs, _ := os.ReadDir(filepath.Join(s.Root(), "blobs", "sha256")); len(blobs) > 0 {
				t.Errorf("%d blobs are left", len(blobs))
			}
		})
	}
}

// TestManifestInChunks has neither Content-Length nor Docker-Content-Digest.
func TestManifestInChunks(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) != "v1" || r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Content-Type", srv.f.m.MediaType+"; charset=utf-8")
		w.(http.Flusher).Flush()
		w.Write(srv.f.manifest)
		return true
	}
	if _, p, err := pull(t, srv.host()); err != nil || p.Digest != digest.FromBytes(srv.f.manifest) {
		t.Error(p, err)
	}
	if n := srv.count("v1"); n != 1 {
		t.Errorf("the manifest was asked for %d times", n)
	}
}

func TestManifestOfAnotherDigest(t *testing.T) {
	srv := serve(t, newFixture(t))
	want := digest.FromString("another")
	_, err := new(Client).Pull(context.Background(), newStore(t), ref(t, srv.host()+"/team/app@"+want.String()), nil, nil)
	wantError(t, err, want.String(), digest.FromBytes(srv.f.manifest).String())
}

func TestMissingLayerIsNamed(t *testing.T) {
	f := newFixture(t)
	l := f.m.Layers[1].Digest
	delete(f.blobs, l)
	_, _, err := pull(t, serve(t, f).host())
	wantError(t, err, "blob "+l.String()+" is not in the registry")
}

func TestForeignLayerIsRefused(t *testing.T) {
	f := newFixture(t)
	f.m.Layers[1].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	f.m.Layers[1].URLs = []string{"https://example.org/layer"}
	f.seal(t)
	srv := serve(t, f)
	_, _, err := pull(t, srv.host())
	wantError(t, err, f.m.Layers[1].Digest.String(), "foreign layer", "licence")
}

func TestTags(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) != "list" {
			return false
		}
		if r.URL.Query().Get("last") == "" {
			w.Header().Set("Link", `</v2/team/app/tags/list?last=b>; rel="next"`)
			fmt.Fprint(w, `{"tags":["a","b"]}`)
		} else {
			fmt.Fprint(w, `{"tags":["c"]}`)
		}
		return true
	}
	tags, err := new(Client).Tags(context.Background(), ref(t, srv.host()+"/team/app"))
	if err != nil || strings.Join(tags, " ") != "a b c" {
		t.Errorf("%q, %v", tags, err)
	}
}

func TestManifestOfAnIndexAndItsMembers(t *testing.T) {
	srv := serve(t, newFixture(t))
	ix := index(t, srv, ocispec.MediaTypeImageIndex, ocispec.Platform{OS: "linux", Architecture: "s390x"})
	name := ref(t, srv.host()+"/team/app:v1")
	m, err := new(Client).Manifest(context.Background(), name)
	if err != nil || string(m.Bytes) != string(ix) || m.Descriptor.MediaType != ocispec.MediaTypeImageIndex {
		t.Fatalf("%+v, %v", m, err)
	}
	// The index names one that the registry does not have under that digest.
	_, err = new(Client).Members(context.Background(), name, m)
	wantError(t, err, digest.FromString("other").String(), "what was sent has digest")
	// Another one names a large one again and again, another one something that is no digest.
	big := []byte(`{"schemaVersion":2}` + strings.Repeat(" ", 3<<20))
	sent := 0
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		sent++
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Write(big)
		return true
	}
	for d, want := range map[digest.Digest]string{digest.FromBytes(big): "more than 64 MiB", "": "is no sha256 digest"} {
		b, _ := json.Marshal(ocispec.Index{Manifests: slices.Repeat([]ocispec.Descriptor{{Digest: d}}, 100)})
		_, err = new(Client).Members(context.Background(), name, &Manifest{Bytes: b})
		wantError(t, err, want)
	}
	if sent > 30 {
		t.Errorf("%d manifests were asked for", sent)
	}
}

// TestBrokenConnection: a layer whose transfer breaks off is begun again.
func TestBrokenConnection(t *testing.T) {
	f := newFixture(t)
	l := f.m.Layers[2]
	srv := serve(t, f)
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) != l.Digest.String() || srv.count(l.Digest.String()) > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(l.Size))
		w.Write(f.blobs[l.Digest][:1000])
		panic(http.ErrAbortHandler)
	}
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Fatal(err)
	}
	if n := srv.count(l.Digest.String()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestBusyServerIsAskedAgain(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway} {
		srv := serve(t, newFixture(t))
		srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if path.Base(r.URL.Path) != "v1" || srv.count("v1") > 2 {
				return false
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(status)
			return true
		}
		if _, _, err := pull(t, srv.host()); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if n := srv.count("v1"); n != 3 {
			t.Errorf("%d: asked %d times", status, n)
		}
	}
}

func TestServerThatStaysBusyIsGivenUp(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	_, _, err := pull(t, srv.host())
	wantError(t, err, "has been asked too often")
	if n := srv.count("v1"); n != 1 {
		t.Errorf("asked %d times, although it said when to come back", n)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	req, _ := http.NewRequest("GET", "http://example.org/v2/", nil)
	resp := &http.Response{StatusCode: 429, Status: "429 Too Many Requests", Header: http.Header{}, Request: req}
	var w warnings
	policy := retries{w.client().Warn, firstWait, maxTries}
	resp.Header.Set("Retry-After", "7")
	if d, err := policy.Retry(0, resp, nil); err != nil || d != 7*time.Second {
		t.Errorf("after 7: %v, %v", d, err)
	}
	if len(w.all) != 1 || !strings.Contains(w.all[0], "example.org says 429") {
		t.Errorf("the person was told %q", w.all)
	}
	resp.Header.Set("Retry-After", time.Now().Add(maxRetryAfter).UTC().Format(http.TimeFormat))
	if d, _ := policy.Retry(0, resp, nil); d <= 0 || d > maxRetryAfter {
		t.Errorf("at a date in %v: %v", maxRetryAfter, d)
	}
	resp.Header.Del("Retry-After")
	last := time.Duration(0)
	for attempt := range maxTries - 1 {
		d, _ := policy.Retry(attempt, resp, nil)
		if d < last/2 || d <= 0 {
			t.Errorf("try %d waits %v after %v", attempt, d, last)
		}
		last = d
	}
	if d, _ := policy.Retry(maxTries-1, resp, nil); d >= 0 {
		t.Errorf("try %d is one more", maxTries)
	}
	if resp.StatusCode = 404; true {
		if d, _ := policy.Retry(0, resp, nil); d >= 0 {
			t.Error("404 is final")
		}
	}
}

// TestTheLargestLayerComesFirst: the smallest of four, the lowest here, is asked
// for when one of the others has come.
func TestTheLargestLayerComesFirst(t *testing.T) {
	f := &fixture{blobs: map[digest.Digest][]byte{}}
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: oci.ThisMachine().Architecture}}
	cfg.RootFS.Type = "layers"
	f.m.SchemaVersion, f.m.MediaType = 2, ocispec.MediaTypeImageManifest
	for i := range 4 {
		tarball := tartest.Of(t, tartest.File("file", strings.Repeat(fmt.Sprint(i), 1000+2000*i)))
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(tarball))
		f.m.Layers = append(f.m.Layers, f.add(tarball, ocispec.MediaTypeImageLayer))
	}
	f.m.Config = f.add(mustJSON(t, cfg), ocispec.MediaTypeImageConfig)
	f.seal(t)
	srv := serve(t, f)
	var mu sync.Mutex
	var order []string
	three := make(chan struct{}) // have been asked for, as many as come at once
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || strings.HasSuffix(r.URL.Path, f.m.Config.Digest.String()) {
			return false
		}
		mu.Lock()
		if order = append(order, path.Base(r.URL.Path)); len(order) == 3 {
			close(three)
		}
		mu.Unlock()
		select {
		case <-three:
		case <-time.After(time.Minute):
			t.Error("three layers do not come at once")
		}
		return false
	}
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Fatal(err)
	}
	if len(order) != 4 || order[3] != f.m.Layers[0].Digest.String() {
		t.Errorf("asked for %q, the smallest is %s", order, f.m.Layers[0].Digest)
	}
}
