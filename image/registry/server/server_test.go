package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/internal/test/tartest"
)

func TestWhatIsPushedIsThereAndRuns(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "course/lab1", "v1", f)
	img, err := h.store.Resolve("course/lab1:v1")
	if err != nil {
		t.Fatal(err)
	}
	if img.Manifest.Digest != digest.FromBytes(f.manifest) {
		t.Errorf("the manifest has digest %s", img.Manifest.Digest)
	}
	for _, l := range img.Layers { // derived when the manifest came, not now
		for _, name := range []string{"flat.tar", "index"} {
			if _, err := os.Stat(filepath.Join(h.store.Root(), "layers", l.DiffID.Encoded(), name)); err != nil {
				t.Error(err)
			}
		}
	}
	if left, _ := os.ReadDir(filepath.Join(h.store.Root(), "incoming")); len(left) > 0 {
		t.Errorf("left in incoming/: %v", left)
	}
	for _, reference := range []string{"v1", digest.FromBytes(f.manifest).String()} {
		for _, method := range []string{"GET", "HEAD"} {
			r := h.do(t, method, "/v2/course/lab1/manifests/"+reference, nil).want(t, 200)
			if method == "GET" && r.body != string(f.manifest) || r.ContentLength != int64(len(f.manifest)) {
				t.Errorf("%s %s: other bytes", method, reference)
			}
			if r.Header.Get("Content-Type") != f.m.MediaType || r.Header.Get("Docker-Content-Digest") != img.Manifest.Digest.String() {
				t.Errorf("%s %s: %v", method, reference, r.Header)
			}
		}
	}
}

func TestBlobsInParts(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	d := f.m.Layers[1]
	path, whole := "/v2/x/blobs/"+d.Digest.String(), string(f.blobs[d.Digest])
	r := h.do(t, "HEAD", path, nil).want(t, 200)
	if r.ContentLength != d.Size || r.Header.Get("Docker-Content-Digest") != d.Digest.String() || r.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("HEAD: %v", r.Header)
	}
	tag := r.Header.Get("ETag")
	if r := h.do(t, "GET", path, nil).want(t, 200); r.body != whole {
		t.Error("GET: other bytes")
	}
	r = h.do(t, "GET", path, nil, "Range", "bytes=512-", "If-Range", tag).want(t, 206)
	if r.body != whole[512:] || r.Header.Get("Content-Range") != fmt.Sprintf("bytes 512-%d/%d", d.Size-1, d.Size) {
		t.Errorf("from 512: %d bytes, %s", len(r.body), r.Header.Get("Content-Range"))
	}
	if r := h.do(t, "GET", path, nil, "Range", "bytes=512-", "If-Range", `"other"`).want(t, 200); r.body != whole {
		t.Error("If-Range of another: not the whole")
	}
	h.do(t, "GET", path, nil, "Range", fmt.Sprintf("bytes=%d-", d.Size)).want(t, 416)
	h.do(t, "GET", path, nil, "If-None-Match", tag).want(t, 304)
	h.do(t, "GET", "/v2/x/manifests/v1", nil, "If-None-Match", `"`+digest.FromBytes(f.manifest).String()+`"`).want(t, 304)
}

func TestChunks(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	d := f.m.Layers[1]
	b := f.blobs[d.Digest]
	half := len(b) / 2
	at := h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 202).Header.Get("Location")
	chunk := func(first int, part []byte) reply {
		bare, _, _ := strings.Cut(at, "-")
		return h.do(t, "PATCH", bare, part, "Content-Range", fmt.Sprintf("%d-%d", first, first+len(part)-1))
	}
	if r := chunk(0, b[:half]).want(t, 202); r.Header.Get("Range") != fmt.Sprintf("0-%d", half-1) {
		t.Errorf("Range: %s", r.Header.Get("Range"))
	}
	// Out of order, again, with a range that is none, and of another length than it says.
	for _, first := range []int{0, half + 1} {
		if r := chunk(first, b[half:]).want(t, 416, "BLOB_UPLOAD_INVALID"); r.Header.Get("Range") != fmt.Sprintf("0-%d", half-1) {
			t.Errorf("Range: %s", r.Header.Get("Range"))
		}
	}
	h.do(t, "PATCH", at, b[:half]).want(t, 416, "byte "+fmt.Sprint(half)+" is next") // the place of the beginning
	at = h.do(t, "GET", at, nil).want(t, 204).Header.Get("Location")
	h.do(t, "PATCH", at, b[half:], "Content-Range", "bytes 1-2/3").want(t, 400)
	h.do(t, "PATCH", at, b[half:], "Content-Range", fmt.Sprintf("%d-%d", half, half)).want(t, 400, "SIZE_INVALID")
	h.do(t, "PATCH", at, struct{ io.Reader }{bytes.NewReader(b[half:])}, "Content-Range", fmt.Sprintf("%d-%d", half, math.MaxInt64)).want(t, 400)
	// A connection that breaks in the middle loses nothing that has come.
	cut := &cutOff{r: bytes.NewReader(b[half : half+100])}
	req, _ := http.NewRequest("PATCH", h.URL+at, cut)
	if _, err := h.Client().Do(req); err == nil {
		t.Fatal("the connection did not break")
	}
	// Another repository does not have this upload.
	h.do(t, "GET", strings.Replace(at, "/x/", "/y/", 1), nil).want(t, 404, "BLOB_UPLOAD_UNKNOWN")
	var r reply
	for r.Response == nil || r.StatusCode == 416 { // the server may be reading still what had been sent
		r = h.do(t, "GET", at, nil).want(t, 204)
		var come int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "0-%d", &come); err != nil || come+1 < half || come+1 > half+100 {
			t.Fatalf("after the break: %q", r.Header.Get("Range"))
		}
		r = h.do(t, "PUT", r.Header.Get("Location")+"?digest="+d.Digest.String(), b[come+1:])
	}
	r.want(t, 201)
	if r.Header.Get("Location") != "/v2/x/blobs/"+d.Digest.String() || r.Header.Get("Docker-Content-Digest") != d.Digest.String() {
		t.Errorf("%v", r.Header)
	}
	h.do(t, "GET", at, nil).want(t, 404)
	if r := h.do(t, "GET", "/v2/x/blobs/"+d.Digest.String(), nil).want(t, 200); r.body != string(b) {
		t.Error("other bytes")
	}
	// Mounting, with and without knowing from where; what is not there begins an upload.
	h.do(t, "POST", "/v2/y/blobs/uploads/?mount="+d.Digest.String()+"&from=x", nil).want(t, 201)
	h.do(t, "POST", "/v2/y/blobs/uploads/?mount="+d.Digest.String(), nil).want(t, 201)
	at = h.do(t, "POST", "/v2/y/blobs/uploads/?mount="+digest.FromString("other").String()+"&from=x", nil).want(t, 202).Header.Get("Location")
	h.do(t, "DELETE", at, nil).want(t, 204)
	h.do(t, "DELETE", at, nil).want(t, 404)

	// A chunk that does not say its length may turn out to have another one than its range.
	for _, last := range []int{half - 2, half} {
		at = h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 202).Header.Get("Location")
		h.do(t, "PATCH", at, struct{ io.Reader }{bytes.NewReader(b[:half])}, "Content-Range", fmt.Sprintf("0-%d", last)).want(t, 400, "SIZE_INVALID")
		h.do(t, "GET", at, nil).want(t, 404, "BLOB_UPLOAD_UNKNOWN")
	}
}

// cutOff is a body that ends in an error.
type cutOff struct{ r *bytes.Reader }

func (c *cutOff) Read(p []byte) (int, error) {
	if n, err := c.r.Read(p); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("cut off")
}

func TestLists(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	for _, tag := range []string{"c", "a", "B", "b"} {
		h.push(t, "team/app", tag, f)
	}
	h.push(t, "debian", "latest", f)
	h.push(t, "registry.example.org/x", "1", f)
	if err := h.store.Tag("debian", "localhost:5000/unsayable"); err != nil {
		t.Fatal(err)
	}
	h.do(t, "GET", "/v2/_catalog", nil).want(t, 200, `{"repositories":["debian","registry.example.org/x","team/app"]}`)
	if r := h.do(t, "GET", "/v2/_catalog?n=2", nil).want(t, 200, `["debian","registry.example.org/x"]`); !strings.Contains(r.Header.Get("Link"), "last=registry.example.org%2Fx&n=2") {
		t.Errorf("Link: %s", r.Header.Get("Link"))
	}
	h.do(t, "GET", "/v2/team/app/tags/list", nil).want(t, 200, `{"name":"team/app","tags":["B","a","b","c"]}`)
	// Follow the links to the end.
	var got []string
	for next := "/v2/team/app/tags/list?n=3"; next != ""; {
		r := h.do(t, "GET", next, nil).want(t, 200)
		got = append(got, r.body)
		if next, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"), ">"); next != "" && !strings.HasSuffix(r.Header.Get("Link"), `>; rel="next"`) {
			t.Errorf("Link: %s", r.Header.Get("Link"))
		}
	}
	if !slices.Equal(got, []string{`{"name":"team/app","tags":["B","a","b"]}`, `{"name":"team/app","tags":["c"]}`}) {
		t.Errorf("%q", got)
	}
	if r := h.do(t, "GET", "/v2/team/app/tags/list?n=0", nil).want(t, 200, `"tags":[]`); r.Header.Get("Link") != "" {
		t.Error("n=0 has a Link")
	}
	h.do(t, "GET", "/v2/team/app/tags/list?n=4&last=b", nil).want(t, 200, `"tags":["c"]`)
	h.do(t, "GET", "/v2/team/app/tags/list?n=-1", nil).want(t, 400)
	// Both names of an official image.
	h.do(t, "GET", "/v2/library/debian/tags/list", nil).want(t, 200, `"tags":["latest"]`)
	h.do(t, "HEAD", "/v2/library/debian/manifests/latest", nil).want(t, 200)
	h.do(t, "GET", "/v2/nobody/tags/list", nil).want(t, 404, "NAME_UNKNOWN")
}

func TestWhatIsRefused(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	none := digest.FromString("none").String()
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "UNSUPPORTED"},
		{"GET", "/v2/x", 404, "UNSUPPORTED"},
		{"GET", "/v2/x/blobs/", 404, "UNSUPPORTED"},
		{"GET", "/v2/x/blobs/" + none, 404, "BLOB_UNKNOWN"},
		{"GET", "/v2/x/blobs/sha256:..", 404, "BLOB_UNKNOWN"},
		{"GET", "/v2/x/manifests/v2", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/x/manifests/" + none, 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/x/manifests/" + f.m.Config.Digest.String(), 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/x/manifests/.hidden", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/x/referrers/sha256:..", 400, "DIGEST_INVALID"},
		{"POST", "/v2/x/referrers/" + none, 405, "UNSUPPORTED"},
		{"GET", "/v2/X/tags/list", 400, "NAME_INVALID"},
		{"GET", "/v2/a..b/tags/list", 400, "NAME_INVALID"},
		{"GET", "/v2/a:5000/b/tags/list", 400, "NAME_INVALID"},
		{"GET", "/v2/../../../etc/tags/list", 400, "NAME_INVALID"},
		{"GET", "/v2/%2e%2e%2f%2e%2e/manifests/v1", 400, "NAME_INVALID"},
		{"POST", "/v2/../../tmp/blobs/uploads/", 400, "NAME_INVALID"},
		{"PUT", "/v2/x/blobs/uploads/..%2f..%2fx?digest=" + none, 404, "UNSUPPORTED"},
		{"PUT", "/v2/x/blobs/uploads/NONE?digest=" + none, 404, "BLOB_UPLOAD_UNKNOWN"},
		{"PATCH", "/v2/x/blobs/uploads/NONE", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"DELETE", "/v2/x/manifests/v2", 404, "MANIFEST_UNKNOWN"},
		{"DELETE", "/v2/x/manifests/" + none, 404, "MANIFEST_UNKNOWN"},
		{"DELETE", "/v2/x/manifests/" + f.m.Config.Digest.String(), 404, "MANIFEST_UNKNOWN"},
		{"DELETE", "/v2/y/manifests/v1", 404, "MANIFEST_UNKNOWN"},
		{"DELETE", "/v2/x/blobs/" + none, 404, "BLOB_UNKNOWN"},
		{"DELETE", "/v2/x/blobs/" + f.m.Config.Digest.String(), 405, "UNSUPPORTED"},
		{"POST", "/v2/x/blobs/uploads/?digest=sha512:00", 400, "DIGEST_INVALID"},
		{"POST", "/v2/x/blobs/uploads/?digest=sha256:../../x", 400, "DIGEST_INVALID"},
		{"PUT", "/v2/x/manifests/a%20b", 400, "MANIFEST_INVALID"},
	} {
		r := h.do(t, c.method, c.path, nil).want(t, c.status, `{"errors":[{"code":"`+c.code+`","message":"`)
		if r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %s", c.method, c.path, r.Header.Get("Content-Type"))
		}
	}
	for method, allow := range map[string]string{"POST": "GET, PUT, DELETE", "PUT": "", "DELETE": ""} { // PUT and DELETE fail for other reasons
		r := h.do(t, method, "/v2/x/manifests/nothing", nil)
		if got := strings.Join(r.Header.Values("Allow"), ", "); got != allow {
			t.Errorf("%s, answered %s: Allow is %q, want %q", method, r.Status, got, allow)
		}
	}
	h.do(t, "POST", "/v2/x/blobs/uploads/", nil, "Origin", "http://evil.example").want(t, 403, "DENIED")
	h.do(t, "GET", "/v2/", nil).want(t, 200)
	h.srv.ReadOnly = true
	h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 403, "read-only")
	h.putManifest(t, "x", "v1", f).want(t, 403, "read-only")
	h.do(t, "DELETE", "/v2/x/manifests/v1", nil).want(t, 405, "read-only")
	h.do(t, "DELETE", "/v2/x/blobs/"+f.m.Config.Digest.String(), nil).want(t, 405, "read-only")
	h.do(t, "GET", "/v2/x/manifests/v1", nil).want(t, 200)
}

// TestALayerWithoutAByteIsOne: some builders push it for a step that changes nothing.
func TestALayerWithoutAByteIsOne(t *testing.T) {
	h := start(t, &Server{})
	f := newFixture(t, "a", thisArch())
	var cfg ocispec.Image
	if err := json.Unmarshal(f.blobs[f.m.Config.Digest], &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(nil))
	f.m.Config = f.add(mustJSON(t, cfg), ocispec.MediaTypeImageConfig)
	f.m.Layers = append(f.m.Layers, f.add(nil, ocispec.MediaTypeImageLayer))
	f.seal(t)
	h.push(t, "x", "v1", f)
	img, err := h.store.Resolve("x:v1")
	if err == nil {
		_, err = h.store.Mountable(img)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestOldTarballIsALayer: some old programs summed up signed bytes, and archives of theirs are
// around.
func TestOldTarballIsALayer(t *testing.T) {
	h, tarball := start(t, &Server{}), tartest.Of(t, tartest.File("\xe9t\xe9", "summer"))
	sum := 0
	for i, c := range tarball[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(int8(c))
	}
	copy(tarball[148:156], fmt.Sprintf("%06o\x00 ", sum))
	for _, b := range [][]byte{tarball, gz(tarball)} {
		d := digest.FromBytes(b)
		h.do(t, "POST", "/v2/x/blobs/uploads/?digest="+d.String(), b).want(t, 201)
		if diffID, err := os.ReadFile(filepath.Join(h.store.Root(), "incoming", d.Encoded(), "diffid")); err != nil || string(diffID) != digest.FromBytes(tarball).String() {
			t.Errorf("%s %v", diffID, err)
		}
	}
}

func TestBlobsThatAreRefused(t *testing.T) {
	h := start(t, &Server{})
	for _, b := range [][]byte{tartest.Of(t, tartest.File("a", strings.Repeat("x", 100000))), []byte("{}"), {}} {
		want := digest.FromString("x").String()
		h.do(t, "POST", "/v2/x/blobs/uploads/?digest="+want, b).want(t, 400, "DIGEST_INVALID")
		for _, d := range []string{want, digest.FromBytes(b).String()} {
			h.do(t, "HEAD", "/v2/x/blobs/"+d, nil).want(t, 404)
		}
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	h := start(t, &Server{})
	sane := newFixture(t, "a", thisArch())
	h.push(t, "sane", "v1", sane)
	fresh := newFixture(t, "b", thisArch())
	for _, d := range fresh.m.Layers {
		h.blobs(t, "x", fresh.blobs[d.Digest])
	}
	for _, c := range []struct {
		name   string
		change func(f *fixture)
		status int
		says   string
	}{
		{"no config", func(f *fixture) { f.m.Config.Digest = digest.FromString("none") }, 400, "MANIFEST_BLOB_UNKNOWN"},
		{"no layer", func(f *fixture) { f.m.Layers[0].Digest = digest.FromString("none") }, 400, "MANIFEST_BLOB_UNKNOWN"},
		{"a layer of another size", func(f *fixture) { f.m.Layers[0].Size++ }, 400, "does not have"},
		{"a config of another size", func(f *fixture) { f.m.Config.Size++ }, 400, "does not have"},
		{"a path as digest", func(f *fixture) { f.m.Layers[0].Digest = "sha256:../../../etc/passwd" }, 400, "MANIFEST_INVALID"},
		{"schema 1", func(f *fixture) { f.m.SchemaVersion = 1 }, 400, "schema 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, seed := range []string{"a", "b"} { // blobs of another image; blobs that have come, but for the config
				f := newFixture(t, seed, thisArch())
				if seed == "b" {
					h.blobs(t, "x", f.blobs[f.m.Config.Digest])
				}
				c.change(f)
				f.seal(t)
				h.putManifest(t, "x", "v1", f).want(t, c.status, c.says)
				h.do(t, "GET", "/v2/x/manifests/v1", nil).want(t, 404)
			}
		})
	}
	put := func(reference string, b []byte, mediaType string) reply {
		return h.do(t, "PUT", "/v2/x/manifests/"+reference, b, "Content-Type", mediaType)
	}
	put("v1", sane.manifest, "application/vnd.docker.distribution.manifest.v2+json").want(t, 400, "as its sender says")
	put(digest.FromString("x").String(), sane.manifest, sane.m.MediaType).want(t, 400, "DIGEST_INVALID")
	put("v1", []byte(strings.Repeat("[", 100000)), ocispec.MediaTypeImageManifest).want(t, 400, "nested")
	put("v1", bytes.Repeat([]byte(" "), maxManifest+1), ocispec.MediaTypeImageManifest).want(t, 413, "SIZE_INVALID")
	put("v1", sane.manifest, sane.m.MediaType+"; charset=utf-8").want(t, 201)
}

// TestABlobIsNotAnotherLayer: an image whose config has the layers in another order cannot be run,
// also when all its blobs and all diff IDs are those of an image that is here.
func TestABlobIsNotAnotherLayer(t *testing.T) {
	h := start(t, &Server{})
	f := newFixture(t, "s", thisArch())
	h.push(t, "good", "1", f)
	for _, lost := range []bool{false, true} {
		if lost { // derived files may be deleted at any time
			os.RemoveAll(h.store.Path("layers"))
		}
		bad := newFixture(t, "s", thisArch())
		bad.m.Layers[0], bad.m.Layers[1] = bad.m.Layers[1], bad.m.Layers[0]
		bad.seal(t)
		h.putManifest(t, "bad", "1", bad).want(t, 201)
		h.unfit(t, "bad", "1", bad.manifest, "is not the one that its image's config names")
		h.putManifest(t, "good", "2", f).want(t, 201)
	}
}

// TestIndex pushes an image for two machines and what was attested about it.
func TestIndex(t *testing.T) {
	h := start(t, &Server{})
	ix := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	ix.SchemaVersion = 2
	add := func(f *fixture, os, arch string) {
		ix.Manifests = append(ix.Manifests, ocispec.Descriptor{MediaType: f.m.MediaType, Digest: digest.FromBytes(f.manifest), Size: int64(len(f.manifest)),
			Platform: &ocispec.Platform{OS: os, Architecture: arch}})
	}
	var parts []*fixture
	for _, arch := range []string{"riscv64", "amd64", "arm64"} {
		f := newFixture(t, arch, arch)
		parts = append(parts, f)
		add(f, "linux", arch)
	}
	attested := &fixture{blobs: map[digest.Digest][]byte{}}
	attested.m = ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest,
		Config: attested.add([]byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":["`+digest.FromString("{}").String()+`"]}}`), ocispec.MediaTypeImageConfig),
		Layers: []ocispec.Descriptor{attested.add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`), "application/vnd.in-toto+json")}}
	attested.m.SchemaVersion = 2
	attested.seal(t)
	add(attested, "unknown", "unknown")
	parts = append(parts, attested)
	b := mustJSON(t, ix)
	putIndex := func() reply {
		return h.do(t, "PUT", "/v2/multi/manifests/v1", b, "Content-Type", ix.MediaType)
	}
	for _, f := range parts {
		putIndex().want(t, 400, "MANIFEST_BLOB_UNKNOWN")
		h.push(t, "multi", digest.FromBytes(f.manifest).String(), f)
	}
	putIndex().want(t, 201)
	if r := h.do(t, "GET", "/v2/multi/manifests/v1", nil).want(t, 200); r.body != string(b) || r.Header.Get("Content-Type") != ix.MediaType {
		t.Error("the index is another one")
	}
	for _, f := range parts {
		h.do(t, "GET", "/v2/multi/manifests/"+digest.FromBytes(f.manifest).String(), nil).want(t, 200)
		for d := range f.blobs {
			h.do(t, "HEAD", "/v2/multi/blobs/"+d.String(), nil).want(t, 200)
		}
	}
	if imgs, err := h.store.List(); err != nil || len(imgs) != 1 || !slices.Equal(imgs[0].Names, []string{"multi:v1"}) {
		t.Errorf("%v: %+v", err, imgs)
	}
	if _, d := tiffinPull(t, h.host+"/multi:v1"); d != digest.FromBytes(b) {
		t.Errorf("tiffin pulled %s", d)
	}
	if p, err := h.store.Prune(false, nil); err != nil || len(p.Removed) > 0 {
		t.Errorf("prune: %v: %+v", err, p)
	}
	if left, _ := os.ReadDir(filepath.Join(h.store.Root(), "incoming")); len(left) > 0 {
		t.Errorf("left in incoming/: %v", left)
	}
}

// TestTiffinBothWays: ten at once push to a server and pull from it.
func TestTiffinBothWays(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "from", "v1", f)
	want := digest.FromBytes(f.manifest)
	both := func(i int) error {
		s, d := tiffinPull(t, h.host+"/from:v1")
		if d != want {
			return fmt.Errorf("pulled %s", d)
		}
		to := fmt.Sprintf("%s/to/%d:v1", h.host, i)
		if err := s.Tag(h.host+"/from:v1", to); err != nil {
			return err
		}
		// One layer of its own, and those of the others.
		img, err := s.Resolve(to)
		if err != nil {
			return err
		}
		own := func(w io.Writer) error {
			_, err := w.Write(tartest.Of(t, tartest.File("mine", fmt.Sprint(i/2))))
			return err
		}
		if img, err = s.CommitLayer(context.Background(), img, own, image.CommitOptions{Ref: to}); err != nil {
			return err
		}
		r, err := reference.Parse(to)
		if err != nil {
			return err
		}
		p, err := new(registry.Client).Push(context.Background(), s, r, registry.PushOptions{}, nil)
		if err != nil {
			return err
		}
		there, err := h.store.Resolve(fmt.Sprintf("to/%d:v1", i))
		if err != nil || p.Digest != img.Manifest.Digest || there.Manifest.Digest != p.Digest || there.ID != img.ID {
			return fmt.Errorf("pushed %s, there is %+v: %w", p.Digest, there, err)
		}
		return nil
	}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if err := both(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
