package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/image/reference"
	"tiffin/internal/errs"
)

// opens are the two ways to a store: the caller's own, and one of TIFFIN_IMAGE_PATH.
var opens = map[string]func(string) (*Store, error){"own": Open, "additional": OpenReadOnly}

// newStore makes a store with one name in it.
func newStore(t *testing.T) (dir string, name reference.Reference) {
	dir = t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if name, err = reference.Parse("kept:1"); err != nil {
		t.Fatal(err)
	}
	err = s.Update(func(ix *Index) error {
		ix.Set(name, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("kept"), Size: 4}, nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, name
}

func TestAStoreOfThisFormatOrBeforeIsRead(t *testing.T) {
	dir, name := newStore(t)
	file := filepath.Join(dir, formatName)
	if b, err := os.ReadFile(file); string(b) != "1\n" {
		t.Errorf("a new store has the version %q, %v", b, err)
	}
	for _, version := range []string{"with its version", "from before there was one"} {
		for who, open := range opens {
			s, err := open(dir)
			if err != nil {
				t.Fatalf("%s, %s: %v", who, version, err)
			}
			if ix, err := s.ReadIndex(); err != nil || ix.Find(name) == nil {
				t.Errorf("%s, %s: %v, and %s is lost", who, version, err, name)
			}
		}
		os.Remove(file)
	}
}

func TestAStoreOfALaterFormatIsRefused(t *testing.T) {
	dir, _ := newStore(t)
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, formatName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(dir, "lock")) // which Open would make again
	for _, c := range []struct{ version, says, hint string }{
		{"2\n", "the store " + dir + " was written by a later tiffin: its format is 2, and this one reads up to 1", "install that tiffin again"},
		{"18446744073709551615", "was written by a later tiffin", "TIFFIN_ROOT"},
		{"18446744073709551616", "which is none", "echo 1 > " + dir + "/format"},
		{"0", `has "0", which is none`, "echo 1"},
		{"", `has "", which is none`, "echo 1"},
		{"-1", "which is none", "echo 1"},
		{"1\n\n", "which is none", "echo 1"},
		{"\x1b[2J", `has "\x1b[2J", which is none`, "echo 1"},
		{strings.Repeat("1", 21), "more than the 20 bytes allowed", ""},
	} {
		write(c.version)
		for who, open := range opens {
			_, err := open(dir)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(errs.HintOf(err), c.hint) {
				t.Errorf("%s, %.30q: %v, hint: %s", who, c.version, err, errs.HintOf(err))
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
		t.Error("a store that was refused has been changed")
	}
}

// A stranger's store may have anything there. A fifo would keep open(2) waiting.
func TestAFormatThatIsNoFileIsRefused(t *testing.T) {
	dir, _ := newStore(t)
	file := filepath.Join(dir, formatName)
	for what, put := range map[string]func() error{
		"fifo":      func() error { return unix.Mkfifo(file, 0o600) },
		"directory": func() error { return os.Mkdir(file, 0o700) },
		"link":      func() error { return os.Symlink("index.json", file) },
	} {
		os.Remove(file)
		if err := put(); err != nil {
			t.Fatal(err)
		}
		for who, open := range opens {
			if _, err := open(dir); err == nil || !strings.Contains(err.Error(), "read the version of the store") {
				t.Errorf("%s, %s: %v", who, what, err)
			}
		}
	}
}
