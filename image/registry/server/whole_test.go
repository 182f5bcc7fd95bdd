package server

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/registry"
	"tiffin/image/transfer"
)

// TestIndexesGoAsAWhole from a registry to another, to a layout and back, out of the store and into
// an archive and back, with what they list for other machines, attestations included; and what is
// no image goes too.
func TestIndexesGoAsAWhole(t *testing.T) {
	from, to := start(t, &Server{}), start(t, &Server{})
	one, two := newFixture(t, "a", thisArch()), newFixture(t, "b", "riscv64")
	said := artifact(t, ocispec.MediaTypeImageConfig, "{}", "application/vnd.in-toto+json", []byte(`{"_type":"x"}`))
	foreign := artifact(t, "application/x", "{}", "application/vnd.oci.image.layer.nondistributable.v1.tar", nil)
	var list []ocispec.Descriptor
	for _, f := range []*fixture{one, two, said, foreign} {
		d := f.descriptor()
		if f == two {
			d.Platform = &ocispec.Platform{OS: "linux", Architecture: "riscv64"}
		}
		list = append(list, d)
		from.push(t, "x", d.Digest.String(), f)
	}
	nested := index(t, list[1:]...)
	from.do(t, "PUT", "/v2/x/manifests/"+digest.FromBytes(nested).String(), nested, "Content-Type", ocispec.MediaTypeImageIndex).want(t, 201)
	top := index(t, list[0], ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(nested), Size: int64(len(nested))})
	from.do(t, "PUT", "/v2/x/manifests/v1", top, "Content-Type", ocispec.MediaTypeImageIndex).want(t, 201)
	from.push(t, "helm", "v1", said)

	ctx, c := context.Background(), new(registry.Client)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(name string) {
		t.Helper()
		if got := to.do(t, "GET", "/v2/"+name+"/manifests/v1", nil).want(t, 200); got.body != string(top) {
			t.Errorf("%s: another index came: %s", name, got.body)
		}
		for _, f := range []*fixture{one, two, said} {
			to.do(t, "GET", "/v2/"+name+"/manifests/"+f.descriptor().Digest.String(), nil).want(t, 200)
			for d := range f.blobs {
				to.do(t, "HEAD", "/v2/"+name+"/blobs/"+d.String(), nil).want(t, 200)
			}
		}
		if _, err := to.store.Prune(true, nil); err != nil {
			t.Error(err)
		}
		empty(t, to.store)
	}
	send := func(img *transfer.Image, err error, name string) {
		t.Helper()
		fail(err)
		defer img.Close()
		_, err = c.Send(ctx, img, ref(t, to.host+"/"+name+":v1"), nil, nil)
		fail(err)
	}
	img, err := c.Whole(ctx, ref(t, from.host+"/x:v1"))
	send(img, err, "by/registry")
	arrived("by/registry")

	dir := filepath.Join(t.TempDir(), "layout")
	fail(transfer.WriteLayout(ctx, dir, "v1", img, nil))
	img, err = transfer.WholeOfFile(ctx, from.store, dir, "v1", nil)
	send(img, err, "by/layout")
	arrived("by/layout")

	var archive bytes.Buffer
	fail(transfer.SaveAll(ctx, from.store, &archive, []string{"x:v1"}, nil))
	file := filepath.Join(t.TempDir(), "archive")
	fail(os.WriteFile(file, archive.Bytes(), 0o600))
	img, err = transfer.WholeOfFile(ctx, from.store, file, "", nil)
	send(img, err, "by/archive")
	arrived("by/archive")
	if loaded, err := transfer.Load(ctx, to.store, file, nil, nil); err != nil || len(loaded) != 1 || loaded[0].ID != one.m.Config.Digest {
		t.Errorf("load: %+v, %v", loaded, err)
	}

	for _, name := range []string{"x:v1", "helm:v1"} {
		fail(from.store.Tag(name, to.host+"/pushed/"+name))
		_, err = c.PushAll(ctx, from.store, ref(t, to.host+"/pushed/"+name), nil)
		fail(err)
	}
	if got := to.do(t, "GET", "/v2/pushed/helm/manifests/v1", nil).want(t, 200); got.body != string(said.manifest) {
		t.Error("another artifact came")
	}
	arrived("pushed/x")

	s, _ := tiffinPull(t, from.host+"/x:v1")
	if _, err := c.PushAll(ctx, s, ref(t, from.host+"/x:v1"), nil); err == nil {
		t.Error("a pull has all of it, or a push does not")
	}
}
