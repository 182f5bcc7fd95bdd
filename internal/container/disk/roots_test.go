package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImagesOfContainersInAnotherPlaceAreNeeded(t *testing.T) {
	images, far := filepath.Join(newSet(t).root, "[a"), filepath.Join(t.TempDir(), "far") // no pattern
	c, lock, err := At(images, far).Create(Config{ImageID: "sha256:1"})
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if c.Root() != images {
		t.Errorf("its image is looked for in %s", c.Root())
	}
	for name, s := range map[string]*Set{"here": In(images), "there": At(images, far), "in a third place": At(images, t.TempDir())} {
		if uses, err := s.Uses(); err != nil || !uses["sha256:1"] {
			t.Errorf("seen from %s: %v, %v", name, uses, err)
		}
	}
	if err := os.Rename(far, far+"-unmounted"); err != nil {
		t.Fatal(err)
	}
	if uses, err := In(images).Uses(); err == nil {
		t.Errorf("a place that is not there needs nothing: %v", uses)
	}
}

func TestADiskThatWouldLoseFilesIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "root"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckNames(dir, "root"); err != nil {
		t.Error(err)
	}
	// As a disk shows it that does not tell the two names apart.
	if err := os.Link(filepath.Join(dir, "root"), filepath.Join(dir, "ROOT")); err != nil {
		t.Fatal(err)
	}
	if err := CheckNames(dir, "root"); err == nil || !strings.Contains(err.Error(), "case") {
		t.Error(err)
	}
}

func TestWhatVanishedInAnotherPlaceIsSwept(t *testing.T) {
	s := At(newSet(t).root, t.TempDir())
	left := filepath.Join(s.root, "tmp", strings.Repeat("a", 64))
	if err := os.MkdirAll(filepath.Join(left, "upper", "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Sweep(nil)
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
}
