package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"
)

// stamps are all files of a directory with what changes when they do: with the
// times of status changes, which nobody can set.
func stamps(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		all = append(all, fmt.Sprintf("%s %o %d %d.%09d", path, st.Mode, st.Size, st.Ctim.Sec, st.Ctim.Nsec))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// further is a store with an image and an empty one that finds it there. In the
// end, nothing must have changed in the first, but for what damage does.
func further(t *testing.T, damage func(theirs *image.Store, img *image.Image)) (own, theirs *image.Store, img *image.Image, warned *[]string) {
	t.Helper()
	theirs, _, img = imagetest.StoreWith(t, imagetest.Gzip, "course/lab:1")
	if damage != nil {
		damage(theirs, img)
	}
	before := stamps(t, theirs.Root())
	t.Cleanup(func() {
		if after := stamps(t, theirs.Root()); !slices.Equal(before, after) {
			t.Errorf("the additional store has changed:\n%q\n%q", before, after)
		}
	})
	t.Setenv("TIFFIN_IMAGE_PATH", filepath.Join(t.TempDir(), "not there")+":"+theirs.Root())
	own, warned = imagetest.NewStore(t), new([]string)
	own.Warn = func(err error) { *warned = append(*warned, err.Error()) }
	return own, theirs, img, warned
}

// has lists the files of a kind that a store has of its own.
func has(t testing.TB, s *image.Store, pattern string) (names []string) {
	t.Helper()
	names, err := filepath.Glob(s.Path(pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFurtherStoresAreUsedInPlace(t *testing.T) {
	own, theirs, want, warned := further(t, nil)
	for _, ref := range []string{"course/lab:1", want.ID.String(), want.ID.Encoded()[:8]} {
		img := imagetest.Resolve(t, own, ref)
		if img.ID != want.ID || img.Store != theirs.Root() || !slices.Equal(img.Names, want.Names) {
			t.Errorf("%s: %+v", ref, img)
		}
	}
	img := imagetest.Resolve(t, own, "course/lab:1")
	m, err := own.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range m.FlatPaths {
		if !strings.HasPrefix(path, theirs.Root()+"/") {
			t.Errorf("%s has been made here", path)
		}
	}
	// What a stranger has written about the tarballs is not believed.
	for _, path := range append(append([]string{m.UnionPath}, m.IndexPaths...), m.BlockPaths...) {
		if !strings.HasPrefix(path, own.Root()+"/") {
			t.Errorf("%s is not made here", path)
		}
	}
	if names := append(has(t, own, "blobs/sha256/*"), has(t, own, "layers/*/flat.tar")...); len(names) > 0 {
		t.Errorf("copied: %q", names)
	}
	if got := imagetest.Paths(t, own, img); !slices.Equal(got, imagetest.Paths(t, theirs, want)) {
		t.Errorf("another tree: %q", got)
	}
	if len(*warned) != 1 || !strings.Contains((*warned)[0], "not there") {
		t.Errorf("warnings: %q", *warned)
	}
	imgs, err := own.List()
	if err != nil || len(imgs) != 1 || imgs[0].Store != theirs.Root() {
		t.Errorf("List: %v: %+v", err, imgs)
	}
	if _, err := own.Remove("course/lab:1", true); err == nil || !strings.Contains(err.Error(), theirs.Root()) {
		t.Errorf("Remove: %v", err)
	}
	if h := own.History(img); len(h) == 0 || h[0].Size == 0 {
		t.Errorf("History: %+v", h)
	}
	if x := own.Inspect(img); !strings.HasPrefix(x.Layers[0].Blob, theirs.Root()) {
		t.Errorf("Inspect: %+v", x.Layers)
	}
	// An image of that name here comes first.
	other := imagetest.New(t, imagetest.Gzip, []string{"course/lab:1"}, tartest.Of(t, tartest.File("mine", "x")))
	imagetest.Load(t, own, imagetest.InFile(t, imagetest.Archive(t, other.Layout(t))))
	if img := imagetest.Resolve(t, own, "course/lab:1"); img.ID != other.ID() || img.Store != "" {
		t.Errorf("%+v", img)
	}
	if imgs, err := own.List(); err != nil || len(imgs) != 1 {
		t.Errorf("List: %v: %+v", err, imgs)
	}
}

// Each who is done looks at once which file it has got: if two had done the work, the second would
// have put its files in the place of those of the first.
func TestManyWhoBeginAtOnceIndexAnImageOnce(t *testing.T) {
	own, _, _, _ := further(t, nil)
	img := imagetest.Resolve(t, own, "course/lab:1")
	const many = 16
	got := make([]os.FileInfo, many)
	var g errgroup.Group
	for i := range many {
		g.Go(func() error {
			m, err := own.Mountable(img)
			if err == nil {
				got[i], err = os.Stat(m.IndexPaths[0])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, f := range got {
		if !os.SameFile(f, got[0]) {
			t.Fatal("the image was indexed more than once")
		}
	}
}

func TestWhatIsMissingInAFurtherStoreIsMadeHere(t *testing.T) {
	each := func(name string, do func(path string) error) func(*image.Store, *image.Image) {
		return func(s *image.Store, _ *image.Image) {
			for _, path := range has(t, s, name) {
				if err := do(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(*image.Store, *image.Image)
		made   string // what is made here of each layer, or of the stack
	}{
		{"union", each("unions/*", os.Remove), "unions/*"},
		{"index", each("layers/*/index", os.Remove), "layers/*/index"},
		{"damaged index", each("layers/*/index", func(p string) error { return flipByte(p, -9) }), "layers/*/index"},
		{"flat.tar", each("layers/*/flat.tar", os.Remove), "layers/*/flat.tar"},
		{"of another boot", each("layers/*/unsynced", func(p string) error { return os.WriteFile(p, []byte("another"), 0o600) }), "layers/*/blocks"},
		{"truncated", each("layers/*/flat.tar", func(p string) error { return os.Truncate(p, 100) }), "layers/*/flat.tar"},
	} {
		t.Run(c.name, func(t *testing.T) {
			own, _, _, _ := further(t, c.damage)
			img := imagetest.Resolve(t, own, "course/lab:1")
			// As the runner does: what only reading a table shows is repaired.
			if _, err := own.Stack(img); err != nil {
				t.Fatal(err)
			}
			n := len(img.Layers)
			if c.made == "unions/*" {
				n = 1
			}
			if got := has(t, own, c.made); len(got) != n {
				t.Errorf("made here: %q", got)
			}
			if got := has(t, own, "layers/*/flat.tar"); c.made != "layers/*/flat.tar" && len(got) > 0 {
				t.Errorf("copied: %q", got)
			}
			before := stamps(t, own.Root())
			m, err := own.Mountable(img)
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range img.Layers {
				imagetest.WantDigest(t, m.FlatPaths[i], l.DiffID)
			}
			if after := stamps(t, own.Root()); !slices.Equal(before, after) {
				t.Errorf("made again:\n%q\n%q", before, after)
			}
			// A container keeps what was made for its image; nobody, nothing.
			own.Uses = func() (map[digest.Digest]bool, error) { return map[digest.Digest]bool{img.ID: true}, nil }
			if _, err := own.Prune(true, nil); err != nil || len(has(t, own, c.made)) != n {
				t.Errorf("prune with a container: %v: %q", err, has(t, own, c.made))
			}
			own.Uses = nil
			if _, err := own.Prune(true, nil); err != nil || len(has(t, own, c.made)) != 0 {
				t.Errorf("prune: %v: %q", err, has(t, own, c.made))
			}
		})
	}
}

// flipByte changes a byte, counted from the end if at is negative.
func flipByte(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[(len(b)+at)%len(b)] ^= 1
	return os.WriteFile(path, b, 0o600)
}

func TestCommitAndTagOnTopOfAFurtherStore(t *testing.T) {
	own, theirs, base, _ := further(t, nil)
	img, err := own.CommitLayer(context.Background(), imagetest.Resolve(t, own, "course/lab:1"), func(w io.Writer) error {
		_, err := w.Write(tartest.Of(t, tartest.File("answer", "42")))
		return err
	}, image.CommitOptions{Ref: "mine:1"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(has(t, own, "blobs/sha256/*")); n != 3 { // layer, config, manifest
		t.Errorf("%d blobs here", n)
	}
	if n := len(has(t, own, "layers/*/flat.tar")); n != 1 {
		t.Errorf("%d layers here", n)
	}
	if got := imagetest.Paths(t, own, img); !slices.Contains(got, "/answer") || len(got) != len(imagetest.Paths(t, theirs, base))+1 {
		t.Errorf("%q", got)
	}
	// Save and push read from both stores; the whole of it is an image alone.
	var saved bytes.Buffer
	if err := transfer.Save(context.Background(), own, &saved, []string{"mine:1"}, nil); err != nil {
		t.Fatal(err)
	}
	p, err := transfer.FromStore(own, img)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range p.Blobs() {
		r, err := p.Open(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != d.Size {
			t.Errorf("%s: %d bytes: %v", d.Digest, n, err)
		}
		r.Close()
	}
	file := imagetest.InFile(t, saved.Bytes())
	if err := own.Tag("course/lab:1", "again:2"); err != nil {
		t.Fatal(err)
	}
	if got := imagetest.Resolve(t, own, "again:2"); got.ID != base.ID || got.Store != "" || len(has(t, own, "layers/*/flat.tar")) != 1 {
		t.Errorf("%+v", got)
	}
	// Without the other store, the own one knows what it has, and says what is missing.
	t.Setenv("TIFFIN_IMAGE_PATH", "")
	alone, err := image.Open(own.Root())
	if err != nil {
		t.Fatal(err)
	}
	if imgs, err := alone.List(); err != nil || len(imgs) != 2 {
		t.Errorf("%v: %+v", err, imgs)
	}
	if _, err := alone.Mountable(imagetest.Resolve(t, alone, "mine:1")); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("Mountable: %v", err)
	}
	if _, err := alone.Prune(false, nil); err != nil {
		t.Error(err)
	}
	if len(has(t, own, "blobs/sha256/*")) != 5 || len(has(t, own, "layers/*/flat.tar")) != 1 {
		t.Error("prune has deleted what is needed")
	}
	imagetest.Load(t, alone, file)
	whole := imagetest.Resolve(t, alone, "mine:1")
	if whole.ID != img.ID || !slices.Equal(imagetest.Paths(t, alone, whole), imagetest.Paths(t, own, img)) {
		t.Errorf("%+v", whole)
	}
	imagetest.Remove(t, alone, "mine:1", false)
	imagetest.Remove(t, alone, "again:2", false)
	if names := append(has(t, own, "blobs/sha256/*"), has(t, own, "layers/*")...); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

func TestWhatComesIntoASharedStoreIsReadable(t *testing.T) {
	for mode, want := range map[os.FileMode][2]os.FileMode{0o700: {0o600, 0o700}, 0o755: {0o644, 0o755}, 0o750: {0o640, 0o750}} {
		s, _, _ := imagetest.StoreWith(t, imagetest.Gzip, "first")
		if err := os.Chmod(s.Root(), mode); err != nil {
			t.Fatal(err)
		}
		f := imagetest.New(t, imagetest.Gzip, []string{"second"}, imagetest.LayerTar(t, "second"))
		imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
		layer := s.LayerDir(imagetest.Resolve(t, s, "second").Layers[0].DiffID)
		files := append(has(t, s, "blobs/sha256/"+digest.FromBytes(f.Config).Encoded()), s.Path("index.json"), layer, layer+"/flat.tar", layer+"/index")
		for _, path := range append(files, s.UnionPath(cache.ChainID(imagetest.Resolve(t, s, "second").Config.RootFS.DiffIDs))) {
			w := want[0]
			if path == layer {
				w = want[1]
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != w {
				t.Errorf("in a store of mode %o: %s has %o, not %o: %v", mode, path, st.Mode().Perm(), w, err)
			}
		}
	}
}
