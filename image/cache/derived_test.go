package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
	"tiffin/internal/test/imagetest"
)

func none([]byte) []byte { return nil }

func TestMissingAndDamagedDerivedFilesAreRebuilt(t *testing.T) {
	for packing, pack := range imagetest.Packings {
		s, _, img := imagetest.StoreWith(t, pack, "x")
		other := imagetest.New(t, pack, []string{"other"}, imagetest.LayerTar(t, "three")).Put(t, s)
		want := imagetest.Paths(t, s, img)
		m, err := s.Mountable(img)
		if err != nil {
			t.Fatal(err)
		}
		union := m.UnionPath
		for what, damage := range map[string]func(){
			"no layers and unions": func() { os.RemoveAll(s.Path("layers")); os.RemoveAll(s.Path("unions")) },
			"no flat.tar":          func() { os.Remove(m.FlatPaths[0]) },
			"short flat.tar":       func() { imagetest.Spoil(t, m.FlatPaths[1], imagetest.Half) },
			"empty flat.tar":       func() { imagetest.Spoil(t, m.FlatPaths[1], none) },
			"no index":             func() { os.Remove(m.IndexPaths[0]) },
			"short index":          func() { imagetest.Spoil(t, m.IndexPaths[0], imagetest.Half) },
			"empty index":          func() { imagetest.Spoil(t, m.IndexPaths[1], none) },
			"index of another machine": func() {
				imagetest.Spoil(t, m.IndexPaths[1], func(b []byte) []byte { b[12] ^= 0xff; return b })
			},
			"the index of another layer": func() { swap(t, m.IndexPaths[0], m.IndexPaths[1]) },
			"another layer": func() {
				swap(t, filepath.Dir(m.IndexPaths[0]), filepath.Dir(m.IndexPaths[1]))
			},
			"the union of another image": func() {
				m, err := s.Mountable(other)
				if err != nil {
					t.Fatal(err)
				}
				swap(t, m.UnionPath, union)
			},
			"no union":    func() { os.Remove(m.UnionPath) },
			"short union": func() { imagetest.Spoil(t, m.UnionPath, imagetest.Half) },
			"short index and wrong flat.tar": func() {
				imagetest.Spoil(t, m.IndexPaths[0], imagetest.Half)
				imagetest.Spoil(t, m.FlatPaths[0], imagetest.Flip)
			},
			"a boot later": func() {
				os.WriteFile(filepath.Join(s.LayerDir(img.Layers[0].DiffID), store.UnsyncedName), []byte("another"), 0o600)
			},
			"a boot later, and it was not written": func() {
				os.WriteFile(filepath.Join(s.LayerDir(img.Layers[0].DiffID), store.UnsyncedName), []byte("another"), 0o600)
				imagetest.Spoil(t, m.FlatPaths[0], imagetest.Flip)
			},
		} {
			damage()
			if os.MkdirAll(s.Path("layers"), 0o700) != nil || os.MkdirAll(s.Path("unions"), 0o700) != nil {
				t.Fatal("cannot restore the directories")
			}
			imagetest.Paths(t, s, other)
			if got := imagetest.Paths(t, s, img); !slices.Equal(got, want) {
				t.Errorf("%s, %s: tree %q, want %q", packing, what, got, want)
			}
			imagetest.Sound(t, s)
		}
	}
}

func TestAnIndexDamagedInsideIsRepairedOnDemand(t *testing.T) {
	s, _, img := imagetest.StoreWith(t, imagetest.Gzip, "x")
	m, err := s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Spoil(t, m.UnionPath, imagetest.Flip)
	imagetest.Spoil(t, m.IndexPaths[0], imagetest.Flip)
	swap(t, m.BlockPaths[0], m.BlockPaths[1]) // the tarballs have the same size
	if m, err = s.Mountable(img); err != nil {
		t.Fatal(err)
	}
	if _, err := layer.OpenIndex(m.UnionPath); !errors.Is(err, layer.ErrCorrupt) {
		t.Fatalf("the damage is not found: %v", err)
	}
	if _, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths); !errors.Is(err, layer.ErrCorrupt) {
		t.Fatalf("the codes of another layer are believed: %v", err)
	}
	if m, err = s.Repair(context.Background(), img); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(m.IndexPaths, m.UnionPath) {
		if _, err := layer.OpenIndex(p); err != nil {
			t.Error(err)
		}
	}
	if _, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths); err != nil {
		t.Error(err)
	}
	imagetest.Sound(t, s)
}

// swap exchanges two files or directories.
func swap(t *testing.T, a, b string) {
	t.Helper()
	// renameat2(2), RENAME_EXCHANGE
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedBlobIsNamedAndRefusedAndReplacedByLoadingAgain(t *testing.T) {
	for _, change := range []func([]byte) []byte{imagetest.Flip, imagetest.Half, none} {
		s, f, img := imagetest.StoreWith(t, imagetest.Gzip, "x")
		bad := img.Layers[1].Digest
		imagetest.Spoil(t, s.BlobPath(bad), change)
		if _, err := s.Mountable(img); err != nil {
			t.Errorf("the derived files are good, but %v", err)
		}
		os.RemoveAll(s.LayerDir(img.Layers[1].DiffID))
		before := imagetest.Listing(t, s)
		_, err := s.Mountable(img)
		if !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), bad.String()) {
			t.Errorf("a damaged blob: %v", err)
		}
		if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
			t.Errorf("before %q\nafter %q", before, after)
		}
		imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
		imagetest.Sound(t, s)
	}
}

func TestADamagedManifestOrConfigIsNamed(t *testing.T) {
	s, f, img := imagetest.StoreWith(t, imagetest.Gzip, "x")
	for _, d := range []string{img.ID.String(), img.Manifest.Digest.String()} {
		p := s.Path("blobs", "sha256", strings.TrimPrefix(d, "sha256:"))
		imagetest.Spoil(t, p, imagetest.Flip)
		_, err := s.Resolve("x")
		if !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), d) {
			t.Errorf("%v does not name %s", err, d)
		}
		if imgs, err := s.List(); len(imgs) != 0 || !errors.Is(err, oci.ErrDamaged) {
			t.Errorf("List: %v, %v", imgs, err)
		}
		imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
		imagetest.Sound(t, s)
	}
	imagetest.Spoil(t, s.Path("index.json"), imagetest.Half)
	if _, err := s.Resolve("x"); err == nil || !strings.Contains(err.Error(), "index.json") {
		t.Errorf("a damaged index: %v", err)
	}
}

func TestAnImageThatIsReadyCostsNoRebuild(t *testing.T) {
	s, _, _ := imagetest.StoreWith(t, imagetest.Gzip, "x")
	before := imagetest.Listing(t, s)
	for range 3 {
		again, err := image.Open(s.Root())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Mountable(imagetest.Resolve(t, again, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
}

func TestAStoreThatMayNotBeWrittenCanBeRead(t *testing.T) {
	s, _, _ := imagetest.StoreWith(t, imagetest.Gzip, "x")
	opened, err := store.OpenReadOnly(s.Root())
	if err != nil {
		t.Fatal(err)
	}
	ro := &image.Store{Cache: cache.New(opened)}
	if _, err := ro.Mountable(imagetest.Resolve(t, ro, "x")); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"tag": ro.Tag("x", "y"),
		"rmi": func() error { _, err := ro.Remove("x", false); return err }(),
		"load": func() error {
			_, err := transfer.Load(context.Background(), ro, imagetest.InFile(t, imagetest.LayerTar(t, "x")), nil, nil)
			return err
		}(),
	} {
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
		if hint := errs.HintOf(err); !strings.Contains(hint, "TIFFIN_IMAGE_PATH="+s.Root()) {
			t.Errorf("%s: hint %q", what, hint)
		}
	}
}

func BenchmarkOpenResolveMountable(b *testing.B) {
	s, _, _ := imagetest.StoreWith(b, imagetest.Gzip, "x")
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
