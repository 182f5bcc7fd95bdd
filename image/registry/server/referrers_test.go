package server

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"tiffin/internal/test/tartest"
)

const sbom, signature = "application/vnd.example.sbom", "application/vnd.example.signature"

// repository is one of the server's as oras-go sees it.
func (h *served) repository(t *testing.T, name string) *remote.Repository {
	t.Helper()
	r, err := remote.NewRepository(h.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r.PlainHTTP = true
	return r
}

// attach has oras-go push an artifact about a subject.
func attach(t *testing.T, r *remote.Repository, subject ocispec.Descriptor, kind, content string) ocispec.Descriptor {
	t.Helper()
	ctx := context.Background()
	l, err := oras.PushBytes(ctx, r, kind, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	d, err := oras.PackManifest(ctx, r, oras.PackManifestVersion1_1, kind, oras.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{l},
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z", "about": strings.ToValidUTF8(content[:min(len(content), 80)], "?")}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// referrers are what oras-go finds about a subject.
func referrers(t *testing.T, r *remote.Repository, subject ocispec.Descriptor, kind string) (all []ocispec.Descriptor) {
	t.Helper()
	err := r.Referrers(context.Background(), subject, kind, func(page []ocispec.Descriptor) error {
		all = append(all, page...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (f *fixture) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: f.m.MediaType, Digest: digest.FromBytes(f.manifest), Size: int64(len(f.manifest))}
}

func digests(ds ...ocispec.Descriptor) (all []digest.Digest) {
	for _, d := range ds {
		all = append(all, d.Digest)
	}
	slices.Sort(all)
	return all
}

// TestBlobsThatAreNoLayers pushes what signers and scanners keep beside images, in each form that
// a layer has or could have.
func TestBlobsThatAreNoLayers(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	r, subject := h.repository(t, "x"), f.descriptor()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat(`{"name":"libc6"}`, 50_000))
	random := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	tarball := tartest.Of(t, tartest.File("f", strings.Repeat("x", 1000)))
	broken := gz(append(tarball, random...))
	all := []digest.Digest{}
	for name, b := range map[string][]byte{
		"plain": text, "gzip": gz(text), "short gzip": gz([]byte("{}")), "gzip of noise": gz(random), "zstd": z.EncodeAll(text, nil), "zstd of noise": z.EncodeAll(random, nil),
		"a tarball": gz(tartest.Of(t, tartest.File("chart.yaml", "a: b"))), "xz": []byte("\xfd7zXZ\x00 and so on"), "bzip2": []byte("BZh91AY&SY"), "zip": []byte("PK\x03\x04"),
		"a tarball cut off": broken[:len(broken)/2], "large": bytes.Repeat([]byte("{"), 17<<20), "a tarball, and more": append(gz(tarball), "more"...),
	} {
		all = append(all, attach(t, r, subject, sbom, string(b)).Digest)
		if got := h.do(t, "GET", "/v2/x/blobs/"+digest.FromBytes(b).String(), nil).want(t, 200); got.body != string(b) {
			t.Errorf("%s: %d bytes came back for %d", name, len(got.body), len(b))
		}
	}
	slices.Sort(all)
	if got := referrers(t, r, subject, ""); !slices.Equal(digests(got...), all) {
		t.Errorf("%v instead of %v", digests(got...), all)
	}
}

func TestReferrers(t *testing.T) {
	h, f, other := start(t, &Server{}), newFixture(t, "a", thisArch()), newFixture(t, "b", thisArch())
	h.push(t, "x", "v1", f)
	h.push(t, "y", "v1", other)
	r, subject := h.repository(t, "x"), f.descriptor()
	if all := referrers(t, r, subject, ""); len(all) != 0 {
		t.Errorf("before there are any: %v", all)
	}
	list, sig := attach(t, r, subject, sbom, "a list"), attach(t, r, subject, signature, "a signature")
	onList := attach(t, r, list, signature, "a signature of the list")
	if all := referrers(t, r, subject, ""); !slices.Equal(digests(all...), digests(list, sig)) {
		t.Errorf("%v", all)
	} else if i := slices.Index(digests(all...), list.Digest); all[i].ArtifactType != sbom || all[i].Annotations["about"] != "a list" || all[i].Size != list.Size {
		t.Errorf("%+v", all[i])
	}
	if all := referrers(t, r, list, ""); !slices.Equal(digests(all...), digests(onList)) {
		t.Errorf("about the list: %v", all)
	}
	// What oras-go keeps in a tag where there is no such API.
	h.do(t, "GET", "/v2/x/tags/list", nil).want(t, 200, `"tags":["v1"]`)

	got := h.do(t, "GET", "/v2/x/referrers/"+subject.Digest.String()+"?artifactType="+sbom, nil).want(t, 200)
	var ix ocispec.Index
	if err := json.Unmarshal([]byte(got.body), &ix); err != nil || !slices.Equal(digests(ix.Manifests...), digests(list)) {
		t.Errorf("only %s: %v: %s", sbom, err, got.body)
	}
	if got.Header.Get("OCI-Filters-Applied") != "artifactType" || got.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex || ix.MediaType != ocispec.MediaTypeImageIndex || ix.SchemaVersion != 2 {
		t.Errorf("%v %s", got.Header, got.body)
	}
	h.do(t, "GET", "/v2/x/referrers/"+digest.FromString("none").String(), nil).want(t, 200, `"manifests":[]`)

	// They are no images, and neither prune nor another image's end takes them.
	if imgs, err := h.store.List(); err != nil || len(imgs) != 2 {
		t.Errorf("%v: %v", err, imgs)
	}
	if _, err := h.store.Prune(false, nil); err != nil {
		t.Fatal(err)
	}
	h.do(t, "DELETE", "/v2/y/manifests/v1", nil).want(t, 202)
	for _, d := range []ocispec.Descriptor{list, sig, onList} {
		if b, err := oras.Copy(context.Background(), r, d.Digest.String(), memory.New(), "", oras.DefaultCopyOptions); err != nil {
			t.Errorf("%v: %v", b, err)
		}
	}

	if err := r.Delete(context.Background(), list); err != nil { // and what is about it
		t.Fatal(err)
	}
	if all := referrers(t, r, subject, ""); !slices.Equal(digests(all...), digests(sig)) {
		t.Errorf("after one is deleted: %v", all)
	}
	h.do(t, "GET", "/v2/x/manifests/"+onList.Digest.String(), nil).want(t, 404)
	h.do(t, "DELETE", "/v2/x/manifests/"+subject.Digest.String(), nil).want(t, 202)
	empty(t, h.store)
}

// A referrer may come before its subject, which finds it there, and may be an
// image itself.
func TestReferrersThatComeFirst(t *testing.T) {
	h, f, about := start(t, &Server{}), newFixture(t, "a", thisArch()), newFixture(t, "b", thisArch())
	r, subject := h.repository(t, "x"), f.descriptor()
	sig := attach(t, r, subject, signature, "early")
	if _, err := h.store.Prune(false, nil); err != nil {
		t.Fatal(err)
	}
	about.m.Subject = &subject
	about.seal(t)
	for _, b := range about.blobs {
		h.blobs(t, "x", b)
	}
	if got := h.putManifest(t, "x", "about", about).want(t, 201).Header.Get("OCI-Subject"); got != subject.Digest.String() {
		t.Errorf("OCI-Subject: %q", got)
	}
	h.push(t, "x", "v1", f)
	all := referrers(t, r, subject, "")
	if !slices.Equal(digests(all...), digests(sig, about.descriptor())) {
		t.Errorf("%v", all)
	}
	if all := referrers(t, r, subject, ocispec.MediaTypeImageConfig); !slices.Equal(digests(all...), digests(about.descriptor())) {
		t.Errorf("an image without artifactType is of its config's type: %v", all)
	}
	h.do(t, "DELETE", "/v2/x/manifests/about", nil).want(t, 202)
	if all := referrers(t, r, subject, ""); !slices.Equal(digests(all...), digests(sig)) {
		t.Errorf("%v", all)
	}
	h.do(t, "DELETE", "/v2/x/manifests/v1", nil).want(t, 202)
	empty(t, h.store)
}

// They go with their subject when that is pruned, too.
func TestReferrersArePruned(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	r := h.repository(t, "x")
	list := attach(t, r, f.descriptor(), sbom, "a list")
	attach(t, r, list, signature, "a signature of the list")
	if _, err := h.store.Prune(true, nil); err != nil {
		t.Fatal(err)
	}
	empty(t, h.store)
}

// One whose subject never comes is forgotten.
func TestReferrersThatWaitInVain(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	r, subject := h.repository(t, "x"), f.descriptor()
	sig := attach(t, r, subject, signature, "in vain")
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(filepath.Join(h.store.Root(), "referrers", subject.Digest.Encoded()), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Prune(false, nil); err != nil {
		t.Fatal(err)
	}
	h.do(t, "GET", "/v2/x/manifests/"+sig.Digest.String(), nil).want(t, 404)
	empty(t, h.store)
}

func TestReferrersThatAreRefused(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	subject := f.descriptor()
	a := &fixture{blobs: map[digest.Digest][]byte{}}
	a.m.SchemaVersion, a.m.MediaType, a.m.ArtifactType = 2, ocispec.MediaTypeImageManifest, signature
	a.m.Config = ocispec.DescriptorEmptyJSON
	a.m.Layers, a.m.Subject = []ocispec.Descriptor{ocispec.DescriptorEmptyJSON}, &subject
	put := func() reply {
		a.seal(t)
		return h.putManifest(t, "x", a.descriptor().Digest.String(), a)
	}
	put().want(t, 400, "MANIFEST_BLOB_UNKNOWN")
	h.blobs(t, "x", ocispec.DescriptorEmptyJSON.Data)
	a.m.Layers[0].Size++
	put().want(t, 400, "MANIFEST_INVALID")
	a.m.Layers[0].Size--
	a.m.Subject = &ocispec.Descriptor{MediaType: subject.MediaType, Digest: "sha256:../../../etc", Size: 1}
	put().want(t, 400, "is no sha256 digest")
	a.m.Subject = &subject
	put().want(t, 201)
	if all := referrers(t, h.repository(t, "x"), subject, ""); !slices.Equal(digests(all...), digests(a.descriptor())) {
		t.Errorf("%v", all)
	}
}
