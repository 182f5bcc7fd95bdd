package server

import (
	"context"
	"errors"
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
	"tiffin/internal/test/must"
)

// has checks which statuses HEAD of all blobs of a fixture has.
func (h *served) has(t *testing.T, status int, bs ...digest.Digest) {
	t.Helper()
	for _, d := range bs {
		h.do(t, "HEAD", "/v2/x/blobs/"+d.String(), nil).want(t, status)
	}
}

// empty checks that a store has no images nor anything of one.
func empty(t *testing.T, s *image.Store) {
	t.Helper()
	for _, dir := range []string{"blobs/sha256", "layers", "unions", "referrers", "tmp"} {
		if left, _ := os.ReadDir(filepath.Join(s.Root(), dir)); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

func TestDeleteManifests(t *testing.T) {
	h := start(t, &Server{})
	f, other := newFixture(t, "a", thisArch()), newFixture(t, "a", "riscv64") // of one lower layer
	d := digest.FromBytes(f.manifest).String()
	for _, v := range []string{"v1", "v2", "v3"} {
		h.push(t, "x", v, f)
	}
	h.push(t, "y", "v1", f)
	h.push(t, "z", "v1", other)

	h.do(t, "DELETE", "/v2/x/manifests/v1", nil).want(t, 202)
	h.do(t, "DELETE", "/v2/x/manifests/v1", nil).want(t, 404, "MANIFEST_UNKNOWN")
	h.do(t, "GET", "/v2/x/tags/list", nil).want(t, 200, `"tags":["v2","v3"]`)
	h.do(t, "DELETE", "/v2/z/manifests/"+d, nil).want(t, 405, "it is x:v2, x:v3, y:v1") // it has no tag there
	h.do(t, "DELETE", "/v2/x/manifests/"+d, nil).want(t, 202)
	h.do(t, "GET", "/v2/x/tags/list", nil).want(t, 404, "NAME_UNKNOWN")
	h.do(t, "GET", "/v2/y/manifests/v1", nil).want(t, 200)
	h.do(t, "DELETE", "/v2/y/manifests/v1", nil).want(t, 202) // the last name
	h.do(t, "GET", "/v2/y/manifests/"+d, nil).want(t, 404)
	h.has(t, 404, f.m.Config.Digest, f.m.Layers[1].Digest)
	h.has(t, 200, other.m.Config.Digest, other.m.Layers[0].Digest, other.m.Layers[1].Digest)
	if other.m.Layers[0].Digest != f.m.Layers[0].Digest {
		t.Fatal("the images have no layer in common")
	}
	sound(t, h.store)
	h.do(t, "DELETE", "/v2/z/manifests/"+digest.FromBytes(other.manifest).String(), nil).want(t, 202)
	empty(t, h.store)
	h.push(t, "x", "v1", f) // and comes again
	h.do(t, "GET", "/v2/x/manifests/v1", nil).want(t, 200)
}

// What a container was made from loses its names only.
func TestDeleteWhatIsInUse(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	h.store.Uses = func() (map[digest.Digest]bool, error) { return map[digest.Digest]bool{f.m.Config.Digest: true}, nil }
	d := digest.FromBytes(f.manifest).String()
	h.do(t, "DELETE", "/v2/x/manifests/"+d, nil).want(t, 202)
	h.do(t, "GET", "/v2/x/manifests/v1", nil).want(t, 404)
	h.do(t, "GET", "/v2/x/manifests/"+d, nil).want(t, 200)
	h.store.Uses = nil
	h.do(t, "DELETE", "/v2/x/manifests/"+d, nil).want(t, 202) // without a name it is in no repository, or in all
	empty(t, h.store)
}

func TestDeletePartsOfAnIndex(t *testing.T) {
	h, one, two := start(t, &Server{}), newFixture(t, "a", thisArch()), newFixture(t, "b", "riscv64")
	skopeo := must.Tool(t, "skopeo")
	output(t, skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "--all", "--preserve-digests", layout(t, one, two), "docker://"+h.host+"/x:all")
	h.do(t, "DELETE", "/v2/x/manifests/"+digest.FromBytes(two.manifest).String(), nil).want(t, 405, "an image here needs it")
	h.blobs(t, "x", two.manifest) // waits for nothing: it is here
	h.do(t, "DELETE", "/v2/x/manifests/"+digest.FromBytes(two.manifest).String(), nil).want(t, 405, "an image here needs it")
	h.do(t, "DELETE", "/v2/x/blobs/"+two.m.Layers[0].Digest.String(), nil).want(t, 405, "delete the manifest")
	h.has(t, 200, two.m.Layers[0].Digest)
	output(t, skopeo, "delete", "--tls-verify=false", "docker://"+h.host+"/x:all")
	h.do(t, "GET", "/v2/x/tags/list", nil).want(t, 404)
	empty(t, h.store)
}

// What buildkit attests comes before the index that it is part of.
func TestDeleteWhatWaitsForAnIndex(t *testing.T) {
	h := start(t, &Server{})
	a := &fixture{blobs: map[digest.Digest][]byte{}}
	a.m.SchemaVersion, a.m.MediaType, a.m.Config = 2, ocispec.MediaTypeImageManifest, ocispec.DescriptorEmptyJSON
	a.m.Layers = []ocispec.Descriptor{ocispec.DescriptorEmptyJSON}
	a.m.Config.MediaType = "application/vnd.example.attestation"
	a.seal(t)
	h.blobs(t, "x", ocispec.DescriptorEmptyJSON.Data)
	at := "/v2/x/manifests/" + a.descriptor().Digest.String()
	h.putManifest(t, "x", a.descriptor().Digest.String(), a).want(t, 201)
	h.do(t, "GET", at, nil).want(t, 200)
	h.do(t, "DELETE", at, nil).want(t, 202)
	h.do(t, "GET", at, nil).want(t, 404)
	h.do(t, "DELETE", at, nil).want(t, 404)
	empty(t, h.store)
}

func TestDeleteBlobs(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	var all []digest.Digest
	for d, b := range f.blobs {
		h.blobs(t, "x", b)
		all = append(all, d)
	}
	for _, d := range all {
		h.do(t, "DELETE", "/v2/x/blobs/"+d.String(), nil).want(t, 202)
		h.do(t, "DELETE", "/v2/x/blobs/"+d.String(), nil).want(t, 404, "BLOB_UNKNOWN")
	}
	h.has(t, 404, all...)
	h.putManifest(t, "x", "v1", f).want(t, 400, "MANIFEST_BLOB_UNKNOWN")
}

func TestSkopeoDeletes(t *testing.T) {
	skopeo := must.Tool(t, "skopeo")
	p, err := ReadPasswords(htpasswd(t, "anna", "open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	h, f := start(t, &Server{Auth: p}), newFixture(t, "a", thisArch())
	for _, tag := range []string{"one", "two"} {
		output(t, skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds", "anna:open sesame", layout(t, f), "docker://"+h.host+"/anna/x:"+tag)
	}
	h.do(t, "DELETE", "/v2/anna/x/manifests/one", nil).want(t, 401)
	if _, err := h.store.Resolve("anna/x:one"); err != nil {
		t.Fatal(err)
	}
	// It asks for the digest that the tag stands for, and deletes that.
	output(t, skopeo, "delete", "--creds", "anna:open sesame", "--tls-verify=false", "docker://"+h.host+"/anna/x:one")
	empty(t, h.store)
}

// Who pulls while the image is deleted and pushed again gets all of it, or is
// told that it is not there; and the store stays sound.
func TestDeleteWhileOthersPull(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	ref, err := reference.Parse(h.host + "/x:v1")
	if err != nil {
		t.Fatal(err)
	}
	var pullers sync.WaitGroup
	var mu sync.Mutex
	got, refused, tried := 0, 0, make(chan bool)
	for range 4 {
		s := newStore(t)
		pullers.Go(func() {
			for range 12 {
				p, err := new(registry.Client).Pull(context.Background(), s, ref, nil, nil)
				mu.Lock()
				switch {
				case err == nil && p.Digest == digest.FromBytes(f.manifest):
					got++
				case err != nil && strings.Contains(err.Error(), "no such image"):
					refused++
				case err != nil && (strings.Contains(err.Error(), "not found") || strings.Contains(err.Error(), "is not in the registry") || errors.Is(err, image.ErrNotFound)):
					refused++
				default:
					t.Errorf("neither pulled nor refused: %+v, %v", p, err)
				}
				mu.Unlock()
				tried <- true
				if _, err := s.Remove(ref.Familiar(), true); err != nil && !errors.Is(err, image.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	go func() { pullers.Wait(); close(tried) }()
	for range tried { // while the other three go on
		h.do(t, "DELETE", "/v2/x/manifests/v1", nil).want(t, 202)
		h.push(t, "x", "v1", f)
	}
	sound(t, h.store)
	if t.Logf("%d pulls, %d refused", got, refused); got == 0 {
		t.Error("nobody got the image")
	}
	if tags, err := tags(h.store, reference.Reference{Domain: "docker.io", Path: "library/x"}); err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("%v: %v", tags, err)
	}
}
