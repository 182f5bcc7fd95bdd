// That a blob inflates to a diff ID is compared as a pair, on all ways into the store: to know the
// blob and to know the diff ID is not to know that.
package transfer_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
)

// mismatched is the image of f with its layers' diff IDs the wrong way round.
func mismatched(t testing.TB, f *imagetest.Fixture, name string) *imagetest.Fixture {
	t.Helper()
	var cfg ocispec.Image
	if err := oci.Unmarshal(f.Config, &cfg); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(cfg.RootFS.DiffIDs)
	bad := *f
	bad.Names, bad.Config = []string{name}, imagetest.JSON(t, cfg)
	return &bad
}

// TestABlobIsNotAnotherLayer brings an image whose config lies into a store that knows all its
// blobs and all its diff IDs.
func TestABlobIsNotAnotherLayer(t *testing.T) {
	ways := map[string]func(*testing.T, *image.Store, *imagetest.Fixture) error{
		"layout": func(t *testing.T, s *image.Store, f *imagetest.Fixture) error {
			_, err := transfer.Load(context.Background(), s, imagetest.InDir(t, f.Layout(t)), nil, nil)
			return err
		},
		"docker-archive": func(t *testing.T, s *image.Store, f *imagetest.Fixture) error {
			_, err := transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, f.Docker(t))), nil, nil)
			return err
		},
		"copy, which is as pull": func(t *testing.T, s *image.Store, f *imagetest.Fixture) error {
			src, err := transfer.FromFile(context.Background(), s, imagetest.InDir(t, f.Layout(t)), "", nil)
			if err != nil {
				return err
			}
			defer src.Close()
			_, err = transfer.Take(context.Background(), s, src, nameOf(t, f), nil)
			return err
		},
	}
	for name, bring := range ways {
		for _, lost := range []bool{false, true} {
			s, good, _ := imagetest.StoreWith(t, imagetest.Gzip, "good:1")
			if lost { // derived files may be deleted at any time
				os.RemoveAll(s.Path("layers"))
			}
			bad := mismatched(t, good, "bad:1")
			if err := bring(t, s, bad); err == nil || !strings.Contains(err.Error(), "not the one that its image's config names") {
				t.Errorf("%s, derived files lost: %v: %v", name, lost, err)
			}
			if _, err := s.Resolve("bad:1"); err == nil {
				t.Errorf("%s, derived files lost: %v: bad:1 is there", name, lost)
			}
			if err := bring(t, s, good); err != nil {
				t.Errorf("%s, derived files lost: %v: the good one: %v", name, lost, err)
			}
			imagetest.Sound(t, s)
		}
	}
}

// TestWhatIsKnownIsNotInflatedAgain: what has been found out about blobs is remembered, and found
// out again when it was deleted.
func TestWhatIsKnownIsNotInflatedAgain(t *testing.T) {
	s, f, img := imagetest.StoreWith(t, imagetest.Gzip, "good:1")
	l := img.Layers[0]
	other := oci.Layer{Digest: l.Digest, DiffID: img.Layers[1].DiffID}
	for range 2 {
		if !s.Inflates(l) || s.Inflates(other) {
			t.Error("the store does not know what its blobs inflate to")
		}
		os.RemoveAll(s.LayerDir(l.DiffID))
		if s.Inflates(l) {
			t.Error("the record is not among the derived files")
		}
		imagetest.Load(t, s, imagetest.InDir(t, f.Layout(t)))
	}
}

// TestWhatLeavesIsWhatItSays: an image that is copied from one place to another without passing
// through the store is compared with its config as well.
func TestWhatLeavesIsWhatItSays(t *testing.T) {
	s := imagetest.NewStore(t)
	for _, pack := range []func(testing.TB, []byte) []byte{imagetest.Gzip, imagetest.Zstd, imagetest.AsIs} {
		good := imagetest.New(t, pack, []string{"good:1"}, imagetest.LayerTar(t, "one"), imagetest.LayerTar(t, "two"))
		for _, f := range []*imagetest.Fixture{good, mismatched(t, good, "bad:1")} {
			src, err := transfer.FromFile(context.Background(), s, imagetest.InDir(t, f.Layout(t)), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			err = transfer.WriteArchive(context.Background(), io.Discard, src, "", nil)
			if (err == nil) != (f == good) {
				t.Errorf("%s: %v", f.Names, err)
			}
		}
	}
}

func nameOf(t testing.TB, f *imagetest.Fixture) reference.Reference {
	t.Helper()
	r, err := reference.Parse(f.Names[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAnImageIsCopiedFromBesideABadOne: of a layout only what the name stands for is looked at.
func TestAnImageIsCopiedFromBesideABadOne(t *testing.T) {
	s := imagetest.NewStore(t)
	dir := imagetest.InDir(t, imagetest.New(t, imagetest.Gzip, []string{"good:1"}, imagetest.LayerTar(t, "x")).Layout(t))
	imagetest.Spoil(t, filepath.Join(dir, "index.json"), func(b []byte) []byte {
		bad := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"sha256:` + strings.Repeat("0", 64) +
			`","annotations":{"org.opencontainers.image.ref.name":"bad:1"}},`
		return bytes.Replace(b, []byte(`"manifests":[`), []byte(`"manifests":[`+bad), 1)
	})
	for name, ok := range map[string]bool{"good:1": true, "bad:1": false, "": false, "none:1": false} {
		img, err := transfer.FromFile(context.Background(), s, dir, name, nil)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil {
			img.Close()
		}
	}
}
