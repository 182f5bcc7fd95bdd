package transfer

import (
	"bytes"
	"io"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/store"
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
	s := newStore(t)
	made := withBuiltin(s, layerTar(t, "one"))
	first := resolve(t, s, "tiffin/base")
	if again := resolve(t, s, "docker.io/tiffin/base:latest"); again.ID != first.ID || !again.Builtin || again.Config.Config.Cmd[0] != "sh" || *made != 1 {
		t.Errorf("made %d times: %+v", *made, again)
	}
	sound(t, s)

	another(t, s)
	if again := resolve(t, s, "tiffin/base"); again.ID != first.ID || *made != 2 {
		t.Errorf("the same content has another ID, or was made %d times", *made)
	}
	another(t, s)
	withBuiltin(s, layerTar(t, "two"))
	if second := resolve(t, s, "tiffin/base"); second.ID == first.ID {
		t.Error("the old binary's image is used")
	}
	if imgs, err := s.List(); err != nil || len(imgs) != 1 {
		t.Errorf("the old image is still there: %v %v", imgs, err)
	}
	sound(t, s)
}

func TestAnOldBuiltInImageStaysWhileAContainerNeedsIt(t *testing.T) {
	s := newStore(t)
	withBuiltin(s, layerTar(t, "one"))
	first := resolve(t, s, "tiffin/base")
	s.Uses = func() (map[digest.Digest]bool, error) { return map[digest.Digest]bool{first.ID: true}, nil }
	another(t, s)
	withBuiltin(s, layerTar(t, "two"))
	resolve(t, s, "tiffin/base")
	if old := resolve(t, s, first.ID.String()); old.Builtin || len(old.Names) != 0 {
		t.Errorf("%+v", old)
	}
	sound(t, s)
}

func TestTheUsersOwnImageOfThatNameIsNeverShadowed(t *testing.T) {
	s, f, _ := loadFixture(t, gz, "tiffin/base")
	made := withBuiltin(s, layerTar(t, "builtin"))
	if img := resolve(t, s, "tiffin/base"); img.ID != f.id() || img.Builtin || *made != 0 {
		t.Errorf("%+v", img)
	}
	remove(t, s, "tiffin/base", false)
	if img := resolve(t, s, "tiffin/base"); img.ID == f.id() || !img.Builtin {
		t.Error("the built-in image is not back")
	}
	if err := s.Tag("tiffin/base", "mine:1"); err != nil {
		t.Fatal(err)
	}
	other := newFixture(t, gz, []string{"tiffin/base"}, layerTar(t, "other"))
	load(t, s, inFile(t, archive(t, other.layout(t)))) // replaces the built-in one by request
	if img := resolve(t, s, "tiffin/base"); img.ID != other.id() || img.Builtin {
		t.Error("the loaded image is shadowed")
	}
	sound(t, s)
}

func TestTaggingTheBuiltInImageMakesIt(t *testing.T) {
	s := newStore(t)
	withBuiltin(s, layerTar(t, "one"))
	if err := s.Tag("tiffin/base", "mine"); err != nil {
		t.Fatal(err)
	}
	if img := resolve(t, s, "mine"); len(img.Names) != 2 {
		t.Errorf("names %v", img.Names)
	}
	sound(t, s)
}
