package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/store"
)

// spoil changes a file of the store.
func spoil(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// As a new file: flat.tar and blob may be one.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func half(b []byte) []byte { return b[:len(b)/2] }

func flip(b []byte) []byte { b[len(b)-7] ^= 0x10; return b }

func none([]byte) []byte { return nil }

func TestMissingAndDamagedDerivedFilesAreRebuilt(t *testing.T) {
	for _, p := range packings {
		s, _, img := loadFixture(t, p.pack, "x")
		want := paths(t, s, img)
		m, err := s.Mountable(img)
		if err != nil {
			t.Fatal(err)
		}
		for what, damage := range map[string]func(){
			"no layers and unions": func() { os.RemoveAll(s.Path("layers")); os.RemoveAll(s.Path("unions")) },
			"no flat.tar":          func() { os.Remove(m.FlatPaths[0]) },
			"short flat.tar":       func() { spoil(t, m.FlatPaths[1], half) },
			"empty flat.tar":       func() { spoil(t, m.FlatPaths[1], none) },
			"no index":             func() { os.Remove(m.IndexPaths[0]) },
			"short index":          func() { spoil(t, m.IndexPaths[0], half) },
			"empty index":          func() { spoil(t, m.IndexPaths[1], none) },
			"index of another machine": func() {
				spoil(t, m.IndexPaths[1], func(b []byte) []byte { b[12] ^= 0xff; return b })
			},
			"no union":    func() { os.Remove(m.UnionPath) },
			"short union": func() { spoil(t, m.UnionPath, half) },
			"short index and wrong flat.tar": func() {
				spoil(t, m.IndexPaths[0], half)
				spoil(t, m.FlatPaths[0], flip)
			},
			"a boot later": func() {
				os.WriteFile(filepath.Join(s.LayerDir(img.Layers[0].DiffID), store.UnsyncedName), []byte("another"), 0o600)
			},
			"a boot later, and it was not written": func() {
				os.WriteFile(filepath.Join(s.LayerDir(img.Layers[0].DiffID), store.UnsyncedName), []byte("another"), 0o600)
				spoil(t, m.FlatPaths[0], flip)
			},
		} {
			damage()
			if os.MkdirAll(s.Path("layers"), 0o700) != nil || os.MkdirAll(s.Path("unions"), 0o700) != nil {
				t.Fatal("cannot restore the directories")
			}
			if got := paths(t, s, img); !slices.Equal(got, want) {
				t.Errorf("%s, %s: tree %q, want %q", p.name, what, got, want)
			}
			sound(t, s)
		}
	}
}

func TestAnIndexDamagedInsideIsRepairedOnDemand(t *testing.T) {
	s, _, img := loadFixture(t, gz, "x")
	m, err := s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, m.UnionPath, flip)
	spoil(t, m.IndexPaths[0], flip)
	if m, err = s.Mountable(img); err != nil {
		t.Fatal(err)
	}
	if _, err := layer.OpenIndex(m.UnionPath); !errors.Is(err, layer.ErrCorrupt) {
		t.Fatalf("the damage is not found: %v", err)
	}
	if m, err = s.Repair(context.Background(), img); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(m.IndexPaths, m.UnionPath) {
		if _, err := layer.OpenIndex(p); err != nil {
			t.Error(err)
		}
	}
	sound(t, s)
}

func TestADamagedBlobIsNamedAndRefusedAndReplacedByLoadingAgain(t *testing.T) {
	for _, change := range []func([]byte) []byte{flip, half, none} {
		s, f, img := loadFixture(t, gz, "x")
		bad := img.Layers[1].Digest
		spoil(t, s.BlobPath(bad), change)
		if _, err := s.Mountable(img); err != nil {
			t.Errorf("the derived files are good, but %v", err)
		}
		os.RemoveAll(s.LayerDir(img.Layers[1].DiffID))
		before := listing(t, s)
		_, err := s.Mountable(img)
		if !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), bad.String()) {
			t.Errorf("a damaged blob: %v", err)
		}
		if after := listing(t, s); !slices.Equal(before, after) {
			t.Errorf("before %q\nafter %q", before, after)
		}
		load(t, s, inFile(t, archive(t, f.layout(t))))
		sound(t, s)
	}
}

func TestADamagedManifestOrConfigIsNamed(t *testing.T) {
	s, f, img := loadFixture(t, gz, "x")
	for _, d := range []string{img.ID.String(), img.Manifest.Digest.String()} {
		p := s.Path("blobs", "sha256", strings.TrimPrefix(d, "sha256:"))
		spoil(t, p, flip)
		_, err := s.Resolve("x")
		if !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), d) {
			t.Errorf("%v does not name %s", err, d)
		}
		if imgs, err := s.List(); len(imgs) != 0 || !errors.Is(err, oci.ErrDamaged) {
			t.Errorf("List: %v, %v", imgs, err)
		}
		load(t, s, inFile(t, archive(t, f.layout(t))))
		sound(t, s)
	}
	spoil(t, s.Path("index.json"), half)
	if _, err := s.Resolve("x"); err == nil || !strings.Contains(err.Error(), "index.json") {
		t.Errorf("a damaged index: %v", err)
	}
}

func TestAnImageThatIsReadyCostsNoRebuild(t *testing.T) {
	s, _, _ := loadFixture(t, gz, "x")
	before := listing(t, s)
	for range 3 {
		again, err := image.Open(s.Root())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Mountable(resolve(t, again, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if after := listing(t, s); !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
}

func TestAStoreThatMayNotBeWrittenCanBeRead(t *testing.T) {
	s, _, _ := loadFixture(t, gz, "x")
	ro := &image.Store{Cache: cache.New(store.OpenReadOnly(s.Root()))}
	if _, err := ro.Mountable(resolve(t, ro, "x")); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"tag": ro.Tag("x", "y"),
		"rmi": func() error { _, err := ro.Remove("x", false); return err }(),
		"load": func() error {
			_, err := Load(context.Background(), ro, inFile(t, layerTar(t, "x")), nil, nil)
			return err
		}(),
	} {
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func BenchmarkOpenResolveMountable(b *testing.B) {
	s, _, _ := loadFixture(b, gz, "x")
	for b.Loop() {
		again, err := image.Open(s.Root())
		if err != nil {
			b.Fatal(err)
		}
		img, err := again.Resolve("x")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := again.Mountable(img); err != nil {
			b.Fatal(err)
		}
	}
}
