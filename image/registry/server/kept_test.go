package server

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/registry"
	"tiffin/internal/test/tartest"
)

// artifact is a manifest of a config and a layer of any types.
func artifact(t testing.TB, configType, config, layerType string, layer []byte) *fixture {
	t.Helper()
	f := &fixture{blobs: map[digest.Digest][]byte{}}
	f.m = ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	f.m.Config = f.add([]byte(config), configType)
	f.m.Layers = []ocispec.Descriptor{f.add(layer, layerType)}
	f.seal(t)
	return f
}

func index(t testing.TB, of ...ocispec.Descriptor) []byte {
	t.Helper()
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: of}
	if of == nil {
		ix.Manifests = []ocispec.Descriptor{}
	}
	return mustJSON(t, ix)
}

// unfit checks that what is kept under a name comes back byte by byte, and that who runs it is told
// what it is.
func (h *served) unfit(t *testing.T, name, tag string, manifest []byte, why string) {
	t.Helper()
	for _, reference := range []string{tag, digest.FromBytes(manifest).String()} {
		if got := h.do(t, "GET", "/v2/"+name+"/manifests/"+reference, nil).want(t, 200); got.body != string(manifest) {
			t.Errorf("%s came back as %s", manifest, got.body)
		}
	}
	_, err := h.store.Resolve(name + ":" + tag)
	if !errors.Is(err, image.ErrNoImage) || !strings.Contains(err.Error(), why) || !strings.HasPrefix(err.Error(), name+":"+tag) {
		t.Errorf("%v: it does not say %q", err, why)
	}
}

// TestWhatCannotRunIsKept. OCI image-spec v1.1 manifest.md, "Guidelines for Artifact Usage"; OCI
// distribution-spec v1.1, "Pushing Manifests".
func TestWhatCannotRunIsKept(t *testing.T) {
	xz := []byte("\xfd7zXZ\x00 and so on")
	chart := gz(tartest.Of(t, tartest.File("chart/Chart.yaml", "name: c")))
	image := func(change func(f *fixture)) *fixture {
		f := newFixture(t, "b", thisArch())
		f.add(xz, "")
		change(f)
		f.seal(t)
		return f
	}
	for name, c := range map[string]struct {
		f   *fixture
		why string
	}{
		"oras":    {artifact(t, ocispec.MediaTypeEmptyJSON, "{}", "text/plain", []byte("hello")), "its config is of type application/vnd.oci.empty.v1+json"},
		"empty":   {artifact(t, ocispec.MediaTypeEmptyJSON, "{}", ocispec.MediaTypeEmptyJSON, []byte("{}")), "application/vnd.oci.empty.v1+json"},
		"nothing": {artifact(t, "application/x", "", "text/plain", nil), "its config is of type application/x"},
		"helm":    {artifact(t, "application/vnd.cncf.helm.config.v1+json", `{"name":"c"}`, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart), "helm"},
		"wasm":    {artifact(t, "application/vnd.wasm.config.v0+json", "{}", "application/wasm", []byte("\x00asm")), "wasm"},
		"cosign": {artifact(t, ocispec.MediaTypeImageConfig, `{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":["`+digest.FromString("").String()+`"]}}`,
			"application/vnd.dev.cosign.simplesigning.v1+json", []byte(`{"critical":{}}`)), "simplesigning.v1+json, which is no file system"},
		"no-diff-ids":  {artifact(t, ocispec.MediaTypeImageConfig, `{"rootfs":{"type":"layers","diff_ids":[]}}`, ocispec.MediaTypeImageLayerGzip, chart), "describes 0 layers, but its manifest has 1"},
		"no-json":      {artifact(t, ocispec.MediaTypeImageConfig, "[", ocispec.MediaTypeImageLayerGzip, chart), "image config"},
		"other-order":  {image(func(f *fixture) { slices.Reverse(f.m.Layers) }), "is not the one that"},
		"in-xz":        {image(func(f *fixture) { f.m.Layers[0] = f.add(xz, ocispec.MediaTypeImageLayer) }), "layer"},
		"fewer-layers": {image(func(f *fixture) { f.m.Layers = f.m.Layers[:1] }), "describes 2 layers"},
		"foreign":      {image(func(f *fixture) { f.m.Layers[0].URLs = []string{"http://x"} }), "foreign layer"},
		"not-sent": {image(func(f *fixture) {
			d := f.m.Layers[0].Digest
			f.m.Layers[0].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
			delete(f.blobs, d)
		}), "foreign layer"},
	} {
		t.Run(name, func(t *testing.T) {
			// Blobs that have just come; blobs of an image that is here.
			for _, there := range []bool{false, true} {
				h := start(t, &Server{})
				if there && name != "not-sent" {
					h.push(t, "other", "v1", newFixture(t, "b", thisArch()))
				}
				h.push(t, "a/"+name, "v1", c.f)
				h.unfit(t, "a/"+name, "v1", c.f.manifest, c.why)
				for d, b := range c.f.blobs {
					if got := h.do(t, "GET", "/v2/a/"+name+"/blobs/"+d.String(), nil).want(t, 200); got.body != string(b) {
						t.Errorf("blob %s came back as %q", d, got.body)
					}
				}
				if _, err := h.store.Prune(false, nil); err != nil {
					t.Error(err)
				}
				h.unfit(t, "a/"+name, "v1", c.f.manifest, c.why)
				if err := h.store.Tag("a/"+name+":v1", "b:v2"); err != nil {
					t.Error(err)
				}
				h.do(t, "DELETE", "/v2/a/"+name+"/manifests/"+c.f.descriptor().Digest.String(), nil).want(t, 202)
				h.unfit(t, "b", "v2", c.f.manifest, c.why)
				h.do(t, "DELETE", "/v2/b/manifests/v2", nil).want(t, 202)
				h.do(t, "GET", "/v2/b/manifests/v2", nil).want(t, 404)
				if there && name != "not-sent" {
					h.do(t, "DELETE", "/v2/other/manifests/v1", nil).want(t, 202)
				}
				empty(t, h.store)
			}
		})
	}
}

// TestPullOfAnArtifactSaysSo: also a tiffin elsewhere says what it is.
func TestPullOfAnArtifactSaysSo(t *testing.T) {
	h := start(t, &Server{})
	h.push(t, "helm", "v1", artifact(t, "application/vnd.cncf.helm.config.v1+json", `{"name":"c"}`, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", gz(nil)))
	_, err := new(registry.Client).Pull(context.Background(), newStore(t), ref(t, h.host+"/helm:v1"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "this is no image, but application/vnd.cncf.helm.config.v1+json") {
		t.Error(err)
	}
}

// TestIndexesThatLeadToNoImageAreKept, with and without a subject, and by digest.
func TestIndexesThatLeadToNoImageAreKept(t *testing.T) {
	h := start(t, &Server{})
	one := artifact(t, ocispec.MediaTypeEmptyJSON, "{}", "text/plain", []byte("hello"))
	h.push(t, "x", one.descriptor().Digest.String(), one)
	wrong := newFixture(t, "b", thisArch())
	slices.Reverse(wrong.m.Layers)
	wrong.seal(t)
	h.push(t, "x", wrong.descriptor().Digest.String(), wrong)
	missing := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("missing"), Size: 7}
	var about ocispec.Index
	if err := json.Unmarshal(index(t), &about); err != nil {
		t.Fatal(err)
	}
	about.Subject, about.ArtifactType = &missing, sbom
	nested := index(t, one.descriptor())
	put := func(reference string, b []byte) reply {
		return h.do(t, "PUT", "/v2/x/manifests/"+reference, b, "Content-Type", ocispec.MediaTypeImageIndex)
	}
	for tag, c := range map[string]struct {
		ix  []byte
		why string
	}{
		"empty": {index(t), "has no image for"}, "artifacts": {nested, "its config is of type"}, "about": {mustJSON(t, about), "has no image for"},
		"wrong":   {index(t, wrong.descriptor()), "is not the one that"},
		"nested1": {index(t, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(nested), Size: int64(len(nested))}), "its config is of type"},
	} {
		if tag == "nested1" {
			put(digest.FromBytes(nested).String(), nested).want(t, 201)
		}
		put(tag, c.ix).want(t, 201)
		h.unfit(t, "x", tag, c.ix, c.why)
	}
	all := referrers(t, h.repository(t, "x"), missing, sbom)
	if !slices.Equal(digests(all...), []digest.Digest{digest.FromBytes(mustJSON(t, about))}) {
		t.Errorf("about what is missing: %v", all)
	}
	if imgs, err := h.store.List(); err != nil || len(imgs) != 5 || slices.ContainsFunc(imgs, func(i *image.Image) bool { return i.Unfit == "" }) {
		t.Errorf("%v: %+v", err, imgs)
	}
	if _, err := h.store.Prune(true, nil); err != nil {
		t.Fatal(err)
	}
	empty(t, h.store)
}

// TestHostileIndexesAreCheap: each names the one before twice, so that there are 2^64 ways through
// them, more than anybody lives to go, and a media type is as long as a manifest may be.
func TestHostileIndexesAreCheap(t *testing.T) {
	h := start(t, &Server{})
	b := index(t)
	for range 64 {
		h.do(t, "PUT", "/v2/x/manifests/"+digest.FromBytes(b).String(), b, "Content-Type", ocispec.MediaTypeImageIndex).want(t, 201)
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(b), Size: int64(len(b))}
		b = index(t, d, d)
	}
	h.do(t, "PUT", "/v2/x/manifests/v1", b, "Content-Type", ocispec.MediaTypeImageIndex).want(t, 201)
	long := artifact(t, "application/"+strings.Repeat("x", 3<<20), "{}", "text/plain", []byte("hello"))
	for _, tag := range []string{"l1", "l2", "l3", "l4", "l5", "l6"} {
		h.push(t, "x", tag, long)
	}
	if _, err := h.store.List(); err != nil {
		t.Error(err)
	}
	if _, err := h.store.Prune(true, nil); err != nil {
		t.Error(err)
	}
	empty(t, h.store)
}

// TestReferrersAreOfARepository: what one user says about an image is not said in another's
// repository, though both have the image; and goes from one without the other.
func TestReferrersAreOfARepository(t *testing.T) {
	h, as := room(t)
	f := newFixture(t, "a", thisArch())
	subject := f.descriptor()
	h.pushAs(t, as("teacher"), "course/lab", "v1", f)
	h.pushAs(t, as("anna"), "anna/lab", "v1", f)
	said := artifact(t, ocispec.MediaTypeEmptyJSON, "{}", ocispec.MediaTypeEmptyJSON, []byte("{}"))
	said.m.Subject, said.m.ArtifactType = &subject, signature
	said.seal(t)
	d := digest.FromBytes(said.manifest).String()
	listed := func(repo, user string) bool {
		t.Helper()
		return strings.Contains(h.do(t, "GET", "/v2/"+repo+"/referrers/"+subject.Digest.String(), nil, as(user)...).want(t, 200).body, d)
	}
	if got := h.pushAs(t, as("anna"), "course/lab", d, said); slices.Max(got) != 403 {
		t.Errorf("anna attaches to the course's image: %v", got)
	}
	if got := h.pushAs(t, as("anna"), "anna/lab", d, said); slices.Max(got) != 201 {
		t.Errorf("anna attaches to hers: %v", got)
	}
	if !listed("anna/lab", "guest") || listed("course/lab", "guest") {
		t.Error("what anna says about her image is said about the course's, or not about hers")
	}
	h.do(t, "DELETE", "/v2/course/lab/manifests/"+d, nil, as("teacher")...).want(t, 403, "DENIED") // it is not there
	if got := h.pushAs(t, as("teacher"), "course/lab", d, said); slices.Max(got) != 201 {
		t.Errorf("the teacher attaches: %v", got)
	}
	if !listed("course/lab", "guest") {
		t.Error("what the teacher says is not listed")
	}
	h.do(t, "DELETE", "/v2/anna/lab/manifests/"+d, nil, as("anna")...).want(t, 202)
	if listed("anna/lab", "guest") || !listed("course/lab", "guest") {
		t.Error("a deletion in one repository is one in the other, or none")
	}
	h.do(t, "DELETE", "/v2/course/lab/manifests/"+d, nil, as("teacher")...).want(t, 202)
	h.do(t, "GET", "/v2/course/lab/manifests/"+d, nil, as("teacher")...).want(t, 404)
}
