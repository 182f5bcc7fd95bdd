package image_test

import (
	"bytes"
	"io"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/test/imagetest"
)

// withBuiltin gives a store a built-in image with that layer, and counts how
// often it is made.
func withBuiltin(s *image.Store, layer []byte) *int {
	made := new(int)
	s.BuiltinKey = "test"
	s.Builtin = func(name string) (io.ReadCloser, ocispec.ImageConfig, bool) {
		if name != "tiffin/base:latest" {
			return nil, ocispec.ImageConfig{}, false
		}
		*made++
		return io.NopCloser(bytes.NewReader(layer)), ocispec.ImageConfig{Cmd: []string{"sh"}}, true
	}
	return made
}

// another makes it look as if another tiffin had made the built-in image.
func another(t *testing.T, s *image.Store) {
	t.Helper()
	err := s.Update(func(ix *store.Index) error {
		r, _ := reference.Parse("tiffin/base")
		ix.Find(r).Annotations["tiffin.builtin"] = "another"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheBuiltInImageIsMadeOnFirstUseAndAgainForANewBinary(t *testing.T) {
	s := imagetest.NewStore(t)
	made := withBuiltin(s, imagetest.LayerTar(t, "one"))
	first := imagetest.Resolve(t, s, "tiffin/base")
	if again := imagetest.Resolve(t, s, "docker.io/tiffin/base:latest"); again.ID != first.ID || !again.Builtin || again.Config.Config.Cmd[0] != "sh" || *made != 1 {
		t.Errorf("made %d times: %+v", *made, again)
	}
	imagetest.Sound(t, s)

	another(t, s)
	if again := imagetest.Resolve(t, s, "tiffin/base"); again.ID != first.ID || *made != 2 {
		t.Errorf("the same content has another ID, or was made %d times", *made)
	}
	another(t, s)
	withBuiltin(s, imagetest.LayerTar(t, "two"))
	if second := imagetest.Resolve(t, s, "tiffin/base"); second.ID == first.ID {
		t.Error("the old binary's image is used")
	}
	if imgs, err := s.List(); err != nil || len(imgs) != 1 {
		t.Errorf("the old image is still there: %v %v", imgs, err)
	}
	imagetest.Sound(t, s)
}

func TestAnOldBuiltInImageStaysWhileAContainerNeedsIt(t *testing.T) {
	s := imagetest.NewStore(t)
	withBuiltin(s, imagetest.LayerTar(t, "one"))
	first := imagetest.Resolve(t, s, "tiffin/base")
	s.Uses = func() (map[digest.Digest]bool, error) { return map[digest.Digest]bool{first.ID: true}, nil }
	another(t, s)
	withBuiltin(s, imagetest.LayerTar(t, "two"))
	imagetest.Resolve(t, s, "tiffin/base")
	if old := imagetest.Resolve(t, s, first.ID.String()); old.Builtin || len(old.Names) != 0 {
		t.Errorf("%+v", old)
	}
	imagetest.Sound(t, s)
}

func TestTheUsersOwnImageOfThatNameIsNeverShadowed(t *testing.T) {
	s, f, _ := imagetest.StoreWith(t, imagetest.Gzip, "tiffin/base")
	made := withBuiltin(s, imagetest.LayerTar(t, "builtin"))
	if img := imagetest.Resolve(t, s, "tiffin/base"); img.ID != f.ID() || img.Builtin || *made != 0 {
		t.Errorf("%+v", img)
	}
	imagetest.Remove(t, s, "tiffin/base", false)
	if img := imagetest.Resolve(t, s, "tiffin/base"); img.ID == f.ID() || !img.Builtin {
		t.Error("the built-in image is not back")
	}
	if err := s.Tag("tiffin/base", "mine:1"); err != nil {
		t.Fatal(err)
	}
	other := imagetest.New(t, imagetest.Gzip, []string{"tiffin/base"}, imagetest.LayerTar(t, "other"))
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, other.Layout(t)))) // replaces the built-in one by request
	if img := imagetest.Resolve(t, s, "tiffin/base"); img.ID != other.ID() || img.Builtin {
		t.Error("the loaded image is shadowed")
	}
	imagetest.Sound(t, s)
}

func TestTaggingTheBuiltInImageMakesIt(t *testing.T) {
	s := imagetest.NewStore(t)
	withBuiltin(s, imagetest.LayerTar(t, "one"))
	if err := s.Tag("tiffin/base", "mine"); err != nil {
		t.Fatal(err)
	}
	if img := imagetest.Resolve(t, s, "mine"); len(img.Names) != 2 {
		t.Errorf("names %v", img.Names)
	}
	imagetest.Sound(t, s)
}
