package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
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
		_, err = c.Push(ctx, from.store, ref(t, to.host+"/pushed/"+name), registry.PushOptions{All: true}, nil)
		fail(err)
	}
	if got := to.do(t, "GET", "/v2/pushed/helm/manifests/v1", nil).want(t, 200); got.body != string(said.manifest) {
		t.Error("another artifact came")
	}
	arrived("pushed/x")

	s, _ := tiffinPull(t, from.host+"/x:v1")
	if _, err := c.Push(ctx, s, ref(t, from.host+"/x:v1"), registry.PushOptions{All: true}, nil); err == nil {
		t.Error("a pull has all of it, or a push does not")
	}
}

// TestManifestLists: an index is put together of images in two repositories, annotated, and pushed
// with both into a third.
func TestManifestLists(t *testing.T) {
	h, s, ctx, c := start(t, &Server{}), newStore(t), context.Background(), new(registry.Client)
	one, two := newFixture(t, "a", "amd64"), newFixture(t, "b", "arm")
	h.push(t, "by/one", "v1", one)
	h.push(t, "by/two", "v1", two)
	name, other := ref(t, h.host+"/all:v1"), ref(t, h.host+"/by/two:v1")
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := registry.NewList()
	fail(l.Add(ctx, c, ref(t, h.host+"/by/one:v1")))
	fail(l.Add(ctx, c, other))
	fail(l.Add(ctx, c, other)) // once
	fail(l.Keep(s, name))
	l, err := registry.ReadList(s, name)
	fail(err)
	fail(l.Annotate(ctx, c, other, func(p *ocispec.Platform) { p.Variant = "v7" }))
	if err := l.Annotate(ctx, c, ref(t, "x@"+digest.FromString("none").String()), nil); err == nil {
		t.Error("what is not in the list is annotated")
	}
	fail(l.Keep(s, name))
	if _, err := s.Prune(false, nil); err != nil {
		t.Error(err)
	}
	l, err = registry.ReadList(s, name)
	fail(err)
	pushed, err := l.Push(ctx, c, name, nil)
	fail(err)
	want := index(t,
		ocispec.Descriptor{MediaType: one.m.MediaType, Digest: one.descriptor().Digest, Size: one.descriptor().Size, Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}},
		ocispec.Descriptor{MediaType: two.m.MediaType, Digest: two.descriptor().Digest, Size: two.descriptor().Size, Platform: &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}})
	if got := h.do(t, "GET", "/v2/all/manifests/v1", nil).want(t, 200); got.body != string(want) || pushed.Digest != digest.FromBytes(want) {
		t.Errorf("%s\ninstead of %s", got.body, want)
	}
	if err := registry.NewList().Add(ctx, c, name); err == nil {
		t.Error("an index is part of an index")
	}
	if _, err := s.Resolve(name.Familiar()); err == nil {
		t.Error("a list that was not pulled can be run")
	}
	if _, err := s.Remove(name.Familiar(), false); err != nil {
		t.Error(err)
	}
	empty(t, s)
	tiny, _ := tiffinPull(t, h.host+"/by/one:v1")
	if _, err := registry.ReadList(tiny, ref(t, h.host+"/by/one:v1")); err == nil || errors.Is(err, image.ErrNotFound) {
		t.Errorf("an image is a list: %v", err)
	}
	strange := registry.NewList()
	strange.Manifests = append(strange.Manifests, one.descriptor())
	strange.Manifests[0].Annotations = map[string]string{"tiffin.from": h.host + "/by/one:v1"}
	fail(strange.Keep(tiny, name))
	if _, err := registry.ReadList(tiny, name); err == nil {
		t.Error("a list has a part without a platform")
	}
}
