package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/store"
	tt "tiffin/internal/test/tartest"
)

// twoLayers takes two layers into a new store.
func twoLayers(t *testing.T) (*Cache, []oci.Layer) {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	c := New(s)
	st, err := s.Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var layers []oci.Layer
	for _, tar := range [][]byte{tt.Of(t, tt.File("a", "lower"), tt.File("b", "lower")), tt.Of(t, tt.File("a", "upper"))} {
		l, err := ingest.Layer(context.Background(), st, bytes.NewReader(tar), oci.Layer{}, ingest.Options{KeepBlob: true})
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	if err := errors.Join(c.Merge(st, layers), st.Publish(nil)); err != nil {
		t.Fatal(err)
	}
	return c, layers
}

// contents reads a and b of the image through its derived files.
func contents(m *Mountable) (string, error) {
	x, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		return "", err
	}
	flats, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths)
	if err != nil {
		return "", err
	}
	var readers []io.ReaderAt
	for _, f := range flats {
		defer f.Close()
		readers = append(readers, f)
	}
	all := ""
	for _, name := range []string{"a", "b"} {
		i, ok := x.Find(name)
		if !ok {
			return "", errors.New(name + " is missing")
		}
		b, err := io.ReadAll(x.Reader(i, readers))
		if err != nil {
			return "", err
		}
		all += string(b) + " "
	}
	return all, nil
}

// TestWhateverStandsInTheirPlaceDerivedFilesAreMadeAgain: nothing that is found there keeps anybody
// waiting, is shown, or stays.
func TestWhateverStandsInTheirPlaceDerivedFilesAreMadeAgain(t *testing.T) {
	c, layers := twoLayers(t)
	m, err := c.Prepare(layers)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("secret"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, put := range map[string]func(path string) error{
		"nothing":      func(string) error { return nil },
		"an empty one": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"another's": func(path string) error {
			return os.WriteFile(path, []byte("tiffinIX and more, as long as it is"), 0o600)
		},
		"a fifo":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a link":   func(path string) error { return os.Symlink(secret, path) },
		"a circle": func(path string) error { return os.Symlink(path, path) },
	} {
		for _, path := range []string{m.FlatPaths[0], m.IndexPaths[1], m.BlockPaths[1], m.UnionPath} {
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
			again, err := c.Prepare(layers)
			if err != nil {
				t.Errorf("%s for %s: %v", what, path, err)
				continue
			}
			if got, err := contents(again); err != nil || got != "upper lower " {
				t.Errorf("%s for %s: %q %v", what, path, got, err)
			}
		}
	}
}

// TestATableThatLiesIsMadeAgain: one whose checksum is right, but not what it says.
func TestATableThatLiesIsMadeAgain(t *testing.T) {
	c, layers := twoLayers(t)
	m, err := c.Prepare(layers)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{m.UnionPath, m.IndexPaths[0]} {
		lie := layer.NewTree(layer.NewDir(0o755))
		lie.Put(0, "../a", lie.Add(&layer.Node{Mode: unix.S_IFREG | 0o644}))
		if err := lie.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		if _, err := layer.OpenIndex(path); !errors.Is(err, layer.ErrCorrupt) {
			t.Fatalf("%s: %v", path, err)
		}
		again, err := c.RebuildAll(context.Background(), layers)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := contents(again); err != nil || got != "upper lower " {
			t.Errorf("%s: %q %v", path, got, err)
		}
	}
}

// What the owner of a store is told to type, a shell takes for what is meant.
func TestAStoreOfAnyNameCanBeOpenedToOthers(t *testing.T) {
	for _, name := range []string{"images", "our images", "it's $HOME;(x)\\*", "Küche_2.a-b"} {
		root := filepath.Join(t.TempDir(), name)
		if _, err := store.Open(root); err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(allowReading(root), " with ")
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		if st, err := os.Stat(filepath.Join(root, "index.json")); err != nil || st.Mode().Perm() != 0o644 {
			t.Errorf("%s: it is %v, %v", line, st.Mode(), err)
		}
	}
}
