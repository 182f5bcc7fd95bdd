// Stores with images in them, what is in a store, and whether it is as it has to be.

package imagetest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/test/reexec"
)

// Main is the body of a package's TestMain, and returns its exit status. It lets a test run parts
// of itself in other processes. Images are made at a time that tests know, 1700000000 s.
func Main(m *testing.M, parts reexec.Parts) int {
	os.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	return reexec.Main(m, parts)
}

// NewStore is an empty one.
func NewStore(t testing.TB) *image.Store {
	t.Helper()
	s, err := image.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Load brings the archive or layout of that name into a store.
func Load(t testing.TB, s *image.Store, name string) []transfer.Loaded {
	t.Helper()
	l, err := transfer.Load(context.Background(), s, name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Put brings an image into a store, and finds it there by its first name.
func (f *Fixture) Put(t testing.TB, s *image.Store) *image.Image {
	t.Helper()
	Load(t, s, InDir(t, f.Layout(t)))
	return Resolve(t, s, f.Names[0])
}

// StoreWith is a store with one image of two layers.
func StoreWith(t testing.TB, pack Packing, name string) (*image.Store, *Fixture, *image.Image) {
	t.Helper()
	s := NewStore(t)
	f := New(t, pack, []string{name}, LayerTar(t, "one"), LayerTar(t, "two"))
	return s, f, f.Put(t, s)
}

// Resolve finds an image that is there.
func Resolve(t testing.TB, s *image.Store, ref string) *image.Image {
	t.Helper()
	img, err := s.Resolve(ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// Remove removes an image, or a name of one, that is there.
func Remove(t testing.TB, s *image.Store, ref string, force bool) []image.Removed {
	t.Helper()
	done, err := s.Remove(ref, force)
	if err != nil {
		t.Fatalf("remove %s: %v", ref, err)
	}
	return done
}

// Spoil changes a file of a store.
func Spoil(t testing.TB, path string, change func([]byte) []byte) {
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

// Half is a change for Spoil: it cuts off the second half.
func Half(b []byte) []byte { return b[:len(b)/2] }

// Flip is a change for Spoil: it changes one bit near the end.
func Flip(b []byte) []byte { b[len(b)-7] ^= 0x10; return b }

// Listing is what is in the store: names and sizes, tmp/ included.
func Listing(t testing.TB, s *image.Store) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(s.Root(), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(p, s.Root())
		if st.Mode().IsRegular() {
			line += fmt.Sprintf(" %d", st.Size())
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Sound checks a whole store: every image has its blobs with their digests and can be mounted, the
// merged tree is that of its layers, and nothing is there that no image needs.
func Sound(t testing.TB, s *image.Store) {
	t.Helper()
	ix, err := s.ReadIndex()
	if err != nil {
		t.Fatalf("index: %v", err)
	}
	blobs, layers, unions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, d := range ix.Manifests {
		blobs[d.Digest.Encoded()], blobs[store.Top(d).Encoded()] = true, true
	}
	imgs, err := s.List()
	if err != nil {
		t.Errorf("images: %v", err)
	}
	for _, img := range imgs {
		blobs[img.Manifest.Digest.Encoded()], blobs[img.ID.Encoded()] = true, true
		unions[cache.ChainID(img.Config.RootFS.DiffIDs).Encoded()] = true
		for _, l := range img.Layers {
			blobs[l.Digest.Encoded()], layers[l.DiffID.Encoded()] = true, true
		}
		m, err := s.Mountable(img)
		if err != nil {
			t.Errorf("image %s: %v", img.ID, err)
			continue
		}
		if _, err := layer.OpenIndex(m.UnionPath); err != nil {
			t.Errorf("image %s: %v", img.ID, err)
			continue
		}
		for _, l := range img.Layers {
			WantDigest(t, s.FlatPath(l.DiffID), l.DiffID)
			WantDigest(t, s.BlobPath(l.Digest), l.Digest)
		}
	}
	for dir, known := range map[string]map[string]bool{"blobs/sha256": blobs, "layers": layers, "unions": unions, "tmp": {}} {
		names, err := os.ReadDir(s.Path(dir))
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if !known[n.Name()] {
				t.Errorf("%s/%s belongs to no image", dir, n.Name())
			}
		}
	}
}

// WantDigest checks what a file holds.
func WantDigest(t testing.TB, path string, want digest.Digest) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if got, err := store.HashFile(f); err != nil || got != want {
		t.Errorf("%s has digest %s (%v)", path, got, err)
	}
}

// Paths lists the merged tree of an image, sorted.
func Paths(t testing.TB, s *image.Store, img *image.Image) []string {
	t.Helper()
	m, err := s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	x, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range x.Len() {
		for _, n := range x.Names(uint32(i)) {
			out = append(out, strings.Clone(strings.TrimSuffix(x.Path(n.Dir), "/")+"/"+n.Name))
		}
	}
	slices.Sort(out)
	return out
}

// Peak runs f and returns by how much the heap grew at most, in bytes.
func Peak(f func()) uint64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done, top := make(chan bool), make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-done:
				top <- most
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse)
			}
		}
	}()
	f()
	done <- true
	return max(<-top, before.HeapInuse) - before.HeapInuse
}

// Clear checks the form of an error's message: one line, no full stop, not long.
func Clear(t testing.TB, what string, err error) {
	t.Helper()
	msg := err.Error()
	if strings.Contains(msg, "\n") || strings.HasSuffix(msg, ".") || len(msg) > 500 || strings.Contains(msg, "%!") {
		t.Errorf("%s: unclear error: %s", what, msg)
	}
}
