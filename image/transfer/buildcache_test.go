// Caches of builds that strangers have written.

package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/test/tartest"
)

func openStore(t *testing.T) *image.Store {
	s, err := image.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func partsOf(below []oci.Layer, what string) []store.BuildPart {
	return []store.BuildPart{{Name: "below", Value: image.Chain(below).String()}, {Name: "what", Value: what}}
}

// made is a store with two steps, one on top of the other.
func made(t *testing.T) (s *image.Store, records []*store.BuildRecord, stack []oci.Layer) {
	s = openStore(t)
	for _, what := range []string{"one", "two"} {
		r, err := s.AddLayer(context.Background(), stack, partsOf(stack, what), what, func(w io.Writer) error {
			_, err := w.Write(tartest.Of(t, tartest.File(what, what)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		records, stack = append(records, r), append(stack, r.Layer)
	}
	return s, records, stack
}

// TestCacheGivesLayers: the second step is taken only on top of the first.
func TestCacheGivesLayers(t *testing.T) {
	ctx := context.Background()
	s, records, stack := made(t)
	img, err := NewBuildCache(s, records)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ReadBuildCache(ctx, img)
	if err != nil {
		t.Fatal(err)
	}
	to := openStore(t)
	if r, err := c.Take(ctx, to, nil, partsOf(nil, "two"), "two"); r != nil || err != nil {
		t.Errorf("a step on another stack: %v, %v", r, err)
	}
	for i, what := range []string{"one", "two"} {
		parts := partsOf(stack[:i], what)
		r, err := c.Take(ctx, to, stack[:i], parts, what)
		if err != nil || r.Layer != stack[i] || r.Chain != image.Chain(stack[:i+1]) || !r.Made.Equal(records[i].Made) {
			t.Fatalf("%s: %+v, %v", what, r, err)
		}
		if to.FindLayer(stack[:i], parts) == nil {
			t.Errorf("%s is not there", what)
		}
	}
}

// TestCacheOfAStranger: nothing of it is in the store afterwards.
func TestCacheOfAStranger(t *testing.T) {
	s, records, stack := made(t)
	key := func(i int) digest.Digest { return store.BuildKey(records[i].Parts) }
	entry := func(key, diffID, layer digest.Digest) cachedStep { return cachedStep{key, diffID, layer, time.Time{}} }
	one, two := stack[0], stack[1]
	for _, x := range []struct {
		name, want string
		change     func(m *ocispec.Manifest, list *stepList, text *[]byte)
	}{
		{"another key", "", func(_ *ocispec.Manifest, l *stepList, _ *[]byte) {
			l.Steps = []cachedStep{entry(digest.FromString("x"), one.DiffID, one.Digest)}
		}},
		{"wrong diff ID", "not the one that its image's config names", func(_ *ocispec.Manifest, l *stepList, _ *[]byte) {
			l.Steps = []cachedStep{entry(key(0), two.DiffID, one.Digest)}
		}},
		{"a layer that is not in the manifest", "no layer", func(_ *ocispec.Manifest, l *stepList, _ *[]byte) {
			l.Steps = []cachedStep{entry(key(0), one.DiffID, digest.FromString("x"))}
		}},
		{"foreign", "foreign layer", func(m *ocispec.Manifest, _ *stepList, _ *[]byte) {
			for i := range m.Layers {
				m.Layers[i].URLs = []string{"http://127.0.0.1/"}
			}
		}},
		{"wrong size", "", func(m *ocispec.Manifest, _ *stepList, _ *[]byte) {
			for i := range m.Layers[1:] {
				m.Layers[1+i].Size = -1
			}
		}},
		{"a step twice", "none, or twice", func(_ *ocispec.Manifest, l *stepList, _ *[]byte) {
			l.Steps = append(l.Steps, l.Steps[0])
		}},
		{"a path for a digest", "none, or twice", func(_ *ocispec.Manifest, l *stepList, _ *[]byte) {
			l.Steps[0].Layer = "sha256:../../x"
		}},
		{"many steps", "more than the 2048 allowed", func(_ *ocispec.Manifest, l *stepList, text *[]byte) {
			*text = []byte(`{"steps":[{}` + strings.Repeat(",{}", maxSteps) + "]}")
		}},
		{"giant", "more than the 1048576 allowed", func(_ *ocispec.Manifest, l *stepList, text *[]byte) {
			*text = []byte(`{"steps":[]` + strings.Repeat(" ", maxList) + "}")
		}},
		{"deep", "nested", func(_ *ocispec.Manifest, l *stepList, text *[]byte) {
			*text = []byte(strings.Repeat("[", 1000))
		}},
		{"cut off", "damaged", func(_ *ocispec.Manifest, l *stepList, text *[]byte) {
			*text = nil
		}},
		{"another kind", "no cache of tiffin's", func(m *ocispec.Manifest, _ *stepList, _ *[]byte) { m.ArtifactType = "application/x" }},
	} {
		img, err := NewBuildCache(s, records[:1])
		if err != nil {
			t.Fatal(err)
		}
		err = takeChanged(t, s, img, x.change, records[0].Parts)
		if x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// takeChanged changes a cache, and takes a step of it that must not come.
func takeChanged(t *testing.T, s *image.Store, img *Image, change func(*ocispec.Manifest, *stepList, *[]byte), parts []store.BuildPart) error {
	ctx := context.Background()
	m := img.Document.Manifest
	b, err := oci.ReadBlob(m.Layers[0].Digest, func(digest.Digest) (io.ReadCloser, error) { return img.Open(ctx, m.Layers[0]) })
	var list stepList
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("unchanged")
	change(&m, &list, &text)
	if string(text) == "unchanged" {
		if text, err = json.Marshal(list); err != nil {
			t.Fatal(err)
		}
	}
	m.Layers[0].Size = int64(len(text))
	if m.Layers[0].Digest = digest.FromBytes(text); text == nil {
		m.Layers[0].Digest, m.Layers[0].Size = digest.FromString("x"), 1
	}
	doc, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	src := memory{blobName(digest.FromBytes(doc)): doc, blobName(m.Layers[0].Digest): text}
	for _, l := range m.Layers[1:] {
		f, err := s.OpenBlob(l.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if src[blobName(l.Digest)], err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	found, err := Whole(ctx, layout(src), "", ocispec.Descriptor{Digest: digest.FromBytes(doc), Size: int64(len(doc))})
	if err != nil {
		t.Fatal(err)
	}
	to := openStore(t)
	c, err := ReadBuildCache(ctx, found)
	if err != nil {
		return err
	}
	r, err := c.Take(ctx, to, nil, parts, "x")
	if all, _ := to.Builds(); r != nil || len(all) > 0 {
		t.Errorf("it was taken: %+v", r)
	}
	return err
}

// FuzzSteps parses anything as the list of a cache.
func FuzzSteps(f *testing.F) {
	d := digest.FromString("x")
	f.Add(fmt.Appendf(nil, `{"steps":[{"key":%q,"diffID":%q,"layer":%q,"made":"2026-01-02T03:04:05Z"}]}`, d, d, d))
	f.Add([]byte(`{"steps":[{"key":"sha256:../x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		steps, err := parseSteps(b)
		for key, s := range steps {
			if err != nil || key != s.Key || s.Key.Validate() != nil || s.DiffID.Validate() != nil || s.Layer.Validate() != nil {
				t.Errorf("%v: accepted %+v", err, s)
			}
		}
	})
}
