package image_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/errs"
	"tiffin/internal/test/imagetest"
)

// twoImages share their lowest layer.
func twoImages(t *testing.T) (s *image.Store, empty []string, one, two *image.Image) {
	s = imagetest.NewStore(t)
	empty = imagetest.Listing(t, s)
	base := imagetest.LayerTar(t, "base")
	for _, n := range []string{"one", "two"} {
		f := imagetest.New(t, imagetest.Gzip, []string{n}, base, imagetest.LayerTar(t, n))
		imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
	}
	return s, empty, imagetest.Resolve(t, s, "one"), imagetest.Resolve(t, s, "two")
}

func TestRemoveDeletesOnlyWhatNothingElseNeeds(t *testing.T) {
	s, empty, one, two := twoImages(t)
	if err := s.Tag("one", "also:1"); err != nil {
		t.Fatal(err)
	}
	if done := imagetest.Remove(t, s, "also:1", false); len(done) != 1 || done[0].Untagged != "also:1" {
		t.Errorf("removing one of two names: %v", done)
	}
	done := imagetest.Remove(t, s, "one", false)
	want := []image.Removed{{Untagged: "one:latest"}, {Deleted: one.ID}, {Deleted: one.Layers[1].DiffID}}
	if !slices.Equal(done, want) {
		t.Errorf("removed %v, want %v", done, want)
	}
	if _, err := s.Mountable(two); err != nil {
		t.Error(err)
	}
	imagetest.Sound(t, s)
	imagetest.Remove(t, s, two.ID.Encoded()[:12], false)
	if after := imagetest.Listing(t, s); !slices.Equal(stripIndex(empty), stripIndex(after)) {
		t.Errorf("left behind: %q", after)
	}
}

// stripIndex leaves out index.json, whose size differs when it has been
// rewritten, and what is kept in reserve for that.
func stripIndex(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(l string) bool {
		return strings.HasPrefix(l, "/index.json") || strings.HasPrefix(l, "/"+store.ReserveName)
	})
}

func TestRemovingAnIDWithSeveralNamesNeedsForce(t *testing.T) {
	s, _, one, _ := twoImages(t)
	if err := s.Tag("one", "also:1"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Remove(one.ID.String(), false)
	if err == nil || errs.HintOf(err) == "" {
		t.Errorf("without force: %v", err)
	}
	if done := imagetest.Remove(t, s, one.ID.String(), true); len(done) != 4 {
		t.Errorf("with force: %v", done)
	}
	imagetest.Sound(t, s)
}

func TestAnImageThatAContainerNeedsStays(t *testing.T) {
	s, _, one, _ := twoImages(t)
	s.Uses = func() (map[digest.Digest]bool, error) { return map[digest.Digest]bool{one.ID: true}, nil }
	before := imagetest.Listing(t, s)
	if _, err := s.Remove("one", false); !errors.Is(err, image.ErrInUse) || errs.HintOf(err) == "" {
		t.Errorf("remove: %v", err)
	}
	if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	if done := imagetest.Remove(t, s, "one", true); len(done) != 1 || done[0].Untagged != "one:latest" {
		t.Errorf("with force: %v", done)
	}
	if p, err := s.Prune(true, nil); err != nil || len(p.Removed) != 3 {
		t.Errorf("prune: %+v %v", p, err)
	}
	img := imagetest.Resolve(t, s, one.ID.String())
	if _, err := s.Mountable(img); err != nil || len(img.Names) != 0 {
		t.Errorf("%v %v", img.Names, err)
	}
	imagetest.Sound(t, s)
	s.Uses = func() (map[digest.Digest]bool, error) { return nil, errors.New("cannot tell") }
	if _, err := s.Prune(true, nil); err == nil {
		t.Error("pruned without knowing what is needed")
	}
}

func TestPruneDeletesNamelessImagesAndGarbage(t *testing.T) {
	s, _, _, two := twoImages(t)
	if err := s.Tag("one", "two"); err != nil { // two loses its name
		t.Fatal(err)
	}
	for _, p := range []string{"blobs/sha256/" + strings.Repeat("0", 64), "unions/" + strings.Repeat("1", 64)} {
		if err := os.WriteFile(s.Path(p), make([]byte, 10000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Prune(false, nil)
	if err != nil || p.Reclaimed < 20000 || !slices.Contains(p.Removed, image.Removed{Deleted: two.ID}) {
		t.Errorf("%+v %v", p, err)
	}
	if imagetest.Resolve(t, s, "two").ID != imagetest.Resolve(t, s, "one").ID {
		t.Error("a named image is gone")
	}
	imagetest.Sound(t, s)
	if p, err = s.Prune(true, func(img *image.Image) bool { return true }); err != nil || len(p.Removed) != 0 {
		t.Errorf("nothing was to be pruned: %+v %v", p, err)
	}
	if p, err = s.Prune(true, nil); err != nil || len(p.Removed) != 5 { // two names, the ID, two layers
		t.Errorf("%+v %v", p, err)
	}
	imagetest.Sound(t, s)
}

func TestNothingIsDeletedWhileAnImageCannotBeRead(t *testing.T) {
	s, _, one, two := twoImages(t)
	imagetest.Spoil(t, s.BlobPath(two.ID), imagetest.Flip)
	_, err := s.Remove("one", false)
	if !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), "nothing was deleted") {
		t.Errorf("remove: %v", err)
	}
	for _, l := range one.Layers {
		if _, err := os.Stat(s.BlobPath(l.Digest)); err != nil {
			t.Error(err)
		}
	}
	imagetest.Remove(t, s, "two", false) // the damaged one can be removed
	if _, err := s.Prune(false, nil); err != nil {
		t.Error(err)
	}
	imagetest.Sound(t, s)
}

func TestWhatIsNotThereIsSaidWithWhatWasMeant(t *testing.T) {
	s, _, one, _ := twoImages(t)
	if err := s.Tag("one", "debian:12"); err != nil {
		t.Fatal(err)
	}
	for ref, hint := range map[string]string{
		"oen": "did you mean one:latest", "debian": "did you mean debian:12", "dbian:12": "debian:12", "completely/else": "tiffin images", "abcdef": "tiffin images",
	} {
		_, err := s.Resolve(ref)
		if !errors.Is(err, image.ErrNotFound) || !strings.Contains(errs.HintOf(err), hint) || !strings.Contains(err.Error(), ref) {
			t.Errorf("%s: %v, hint %q", ref, err, errs.HintOf(err))
		}
	}
	for _, ref := range []string{one.ID.String(), one.ID.Encoded(), one.ID.Encoded()[:4], "sha256:" + one.ID.Encoded()[:7], "one@" + one.Manifest.Digest.String(),
		"one:gone@" + one.Manifest.Digest.String(), "docker.io/library/one"} {
		if img, err := s.Resolve(ref); err != nil || img.ID != one.ID {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := s.Resolve("Two"); err == nil || !strings.Contains(err.Error(), "lower case") {
		t.Errorf("an invalid name: %v", err)
	}
	if err := s.Tag("one", "x@"+one.Manifest.Digest.String()); err == nil {
		t.Error("a digest was given to an image as a name")
	}
}
