package registry

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/stargz"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
)

// TestPushEStargz: to Debian's registry and back, of another name, twice, and all blobs have what
// the manifest says.
func TestPushEStargz(t *testing.T) {
	host, ctx := startRegistry(t, ""), context.Background()
	s, f, name := pulledFixture(t)
	to := host + "/lazy/app:v1"
	opt := PushOptions{From: name, EStargz: true}
	first, err := new(Client).Push(ctx, s, ref(t, to), opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.Of != digest.FromBytes(f.manifest) || first.Digest == first.Of || len(first.Layers) != 3 || !first.Layers[0].Sent {
		t.Errorf("%+v", first)
	}
	opt.All = true // the fixture has no index
	second, err := new(Client).Push(ctx, s, ref(t, to), opt, nil)
	if err != nil || second.Digest != first.Digest || slices.ContainsFunc(second.Layers, func(l PushedLayer) bool { return l.Sent }) {
		t.Errorf("%v: %+v", err, second)
	}
	if left, err := filepath.Glob(s.Path("tmp/*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	back := newStore(t)
	if p, err := new(Client).Pull(ctx, back, ref(t, to), nil, nil); err != nil || p.Digest != first.Digest {
		t.Fatalf("%v: %+v", err, p)
	}
	img, err := back.Resolve(to)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range img.Layers {
		if !strings.HasSuffix(l.MediaType, "+gzip") || l.Digest != first.Layers[i].Digest {
			t.Errorf("%+v", l)
		}
	}
	paths := imagetest.Paths(t, back, img)
	for _, want := range []string{"/file-0", "/file-1", "/file-2", "/stargz.index.json"} {
		if !slices.Contains(paths, want) {
			t.Errorf("no %s in %q", want, paths)
		}
	}
}

// TestPushEStargzOfAnIndex: an index arrives whole, with the images that it lists now.
func TestPushEStargzOfAnIndex(t *testing.T) {
	host, ctx, c := startRegistry(t, ""), context.Background(), new(Client)
	s, _, name := pulledFixture(t)
	other := imagetest.New(t, imagetest.Gzip, []string{"other:1"}, imagetest.LayerTar(t, "other"))
	other.Put(t, s)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := NewList()
	for from, to := range map[string]string{name: host + "/x:one", "other:1": host + "/x:other"} {
		_, err := c.Push(ctx, s, ref(t, to), PushOptions{From: from}, nil)
		fail(err)
		fail(l.Add(ctx, c, ref(t, to)))
	}
	_, err := l.Push(ctx, c, ref(t, host+"/all:v1"), nil)
	fail(err)
	whole, err := c.Whole(ctx, ref(t, host+"/all:v1"))
	fail(err)
	fail(transfer.TakeWhole(ctx, s, whole, ref(t, "all:v1"), nil))
	pushed, err := c.Push(ctx, s, ref(t, host+"/lazy:v1"), PushOptions{From: "all:v1", All: true, EStargz: true}, nil)
	fail(err)
	there, err := c.Whole(ctx, ref(t, host+"/lazy:v1"))
	fail(err)
	if there.Document.Digest != pushed.Digest || pushed.Of != whole.Document.Digest || pushed.Digest == pushed.Of || len(there.Parts) != 2 || len(pushed.Layers) != 4 {
		t.Errorf("%+v: %s", pushed, there.Document.Bytes)
	}
	back := newStore(t)
	fail(transfer.TakeWhole(ctx, back, there, ref(t, "lazy:v1"), nil)) // all blobs are there
	for i, part := range there.Parts {
		for _, d := range part.Document.Layers {
			if d.Annotations[stargz.TOCDigest] == "" || part.Document.Digest == whole.Parts[i].Document.Digest {
				t.Errorf("part %d is not eStargz: %s", i, part.Document.Bytes)
			}
		}
	}
}
