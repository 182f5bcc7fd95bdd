package lazy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/internal/test/tartest"
)

// names are those of the image that is being pulled.
func (p *pulling) names() []string {
	p.t.Helper()
	img, err := p.s.ResolveLazy(p.id.String())
	if err != nil || img.Lazy() == "" {
		p.t.Fatalf("%+v, %v", img, err)
	}
	return img.Names
}

// imported is an ordinary image of that name.
func (p *pulling) imported(name string) *image.Image {
	p.t.Helper()
	img, err := p.s.Import(context.Background(), bytes.NewReader(tartest.Of(p.t, tartest.File("x", "x"))), image.ImportOptions{Ref: name})
	if err != nil {
		p.t.Fatal(err)
	}
	return img
}

func (p *pulling) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// TestAnotherNameWhileItIsPulled is the image's at once, as docker's are; nothing else is there of
// it before all of it is, and then it is as a tag of any image.
func TestAnotherNameWhileItIsPulled(t *testing.T) {
	p := begin(t)
	old := p.imported("lunch:1")
	p.must(p.s.Tag("host/app:v1", "lunch:1"))
	p.must(p.s.Tag("lunch:1", "lunch:2"))
	if got := p.names(); !slices.Equal(got, []string{"host/app:v1", "lunch:1", "lunch:2"}) {
		t.Errorf("its names are %q", got)
	}
	for _, name := range []string{"lunch:1", "lunch:2"} {
		if _, err := p.s.Resolve(name); !errors.Is(err, image.ErrPulling) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := p.s.Resolve(old.ID.String()); err != nil || len(got.Names) > 0 {
		t.Errorf("what was lunch:1 is %+v, %v", got, err)
	}
	if b, err := os.ReadFile(p.s.Path("index.json")); err != nil || bytes.Contains(b, []byte(p.id)) || bytes.Contains(b, []byte("lunch")) {
		t.Errorf("other programs see it: %s, %v", b, err)
	}
	// Where it comes from does not depend on its names.
	if done, err := p.s.Remove("host/app:v1", false); err != nil || len(done) != 1 || done[0].Untagged != "host/app:v1" {
		t.Errorf("%v, %v", done, err)
	}
	connected := ""
	p.done = make(chan error, 1)
	go func() {
		p.done <- Fill(p.s, p.id, func(_ context.Context, r reference.Reference, _ bool) (transfer.Source, error) {
			connected = r.Familiar()
			return p.from, nil
		})
	}()
	close(p.from.hold)
	if err := <-p.done; err != nil || connected != "host/app:v1" {
		t.Fatalf("%v, from %s", err, connected)
	}
	for _, name := range []string{"lunch:1", "lunch:2", p.id.String()} {
		img, err := p.s.Resolve(name)
		if err != nil || img.Lazy() != "" || !slices.Equal(img.Names, []string{"lunch:1", "lunch:2"}) || img.Manifest.Digest != p.id {
			t.Errorf("%s is %+v, %v", name, img, err)
		}
	}
}

// TestANameThatIsTaken from an image that is being pulled does not come back to it.
func TestANameThatIsTaken(t *testing.T) {
	p := begin(t)
	other := p.imported("soup")
	p.must(p.s.Tag("host/app:v1", "lunch:1"))
	p.must(p.s.Tag("soup", "lunch:1"))
	if got, err := p.s.ResolveLazy("lunch:1"); err != nil || got.ID != other.ID {
		t.Errorf("it is %+v, %v", got, err)
	}
	p.imported("host/app:v1") // index.json alone says so
	for _, name := range []string{"lunch:1", "host/app:v1"} {
		if _, err := p.s.Remove(name, false); err != nil {
			t.Error(err)
		}
		if got, err := p.s.ResolveLazy(name); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s is %+v again, %v", name, got, err)
		}
	}
	if got := p.names(); len(got) > 0 {
		t.Errorf("it has the names %q", got)
	}
}

// TestRemovingAnImageThatIsPulled asks what it asks of every image.
func TestRemovingAnImageThatIsPulled(t *testing.T) {
	p := begin(t)
	img, err := p.s.ResolveLazy("host/app:v1")
	p.must(err)
	p.must(p.s.Tag("host/app:v1", "lunch:1"))
	if _, err := p.s.Remove(img.ID.String(), false); err == nil || !strings.Contains(err.Error(), "has 2 names") {
		t.Errorf("by its ID: %v", err)
	}
	p.s.Uses = func() (map[digest.Digest]bool, error) { return map[digest.Digest]bool{img.ID: true}, nil }
	inTheWay := filepath.Join(p.s.LazyDir(p.id), image.LazyPullName+".new") // as a full disk is
	p.must(os.Mkdir(inTheWay, 0o700))
	if done, err := p.s.Remove("lunch:1", false); err == nil || len(done) > 0 {
		t.Errorf("a name that cannot be taken away: %v, %v", done, err)
	}
	p.must(os.Remove(inTheWay))
	if done, err := p.s.Remove("host/app@"+p.id.String(), false); err != nil || len(done) != 1 || done[0].Untagged != "host/app:v1" {
		t.Errorf("one of two names: %v, %v", done, err)
	}
	if _, err := p.s.Remove("lunch:1", false); !errors.Is(err, image.ErrInUse) {
		t.Errorf("the last name: %v", err)
	}
	if done, err := p.s.Remove("lunch:1", true); err != nil || len(done) != 1 || done[0].Untagged != "lunch:1" {
		t.Errorf("with force: %v, %v", done, err)
	}
	if got := p.names(); len(got) > 0 {
		t.Errorf("it has the names %q", got)
	}
	p.fill() // for the container
	close(p.from.hold)
	p.must(<-p.done)
	if got, err := p.s.Resolve(img.ID.String()); err != nil || len(got.Names) > 0 {
		t.Errorf("it is %+v, %v", got, err)
	}
}

// TestPruneOfAnImageThatIsPulled deletes what it deletes of every image, and all that has come.
func TestPruneOfAnImageThatIsPulled(t *testing.T) {
	p := begin(t)
	img, err := p.s.ResolveLazy("host/app:v1")
	p.must(err)
	prune := func(all bool, keep func(*image.Image) bool) image.Pruned {
		t.Helper()
		p.come([]byte("bytes of an earlier try"))
		done, err := p.s.Prune(all, keep)
		p.must(err)
		return done
	}
	uses := map[digest.Digest]bool{img.ID: true}
	p.s.Uses = func() (map[digest.Digest]bool, error) { return uses, nil }
	for _, stays := range []image.Pruned{prune(false, nil), prune(true, nil)} {
		if len(stays.Removed) > 0 {
			t.Errorf("prune took %v", stays)
		}
	}
	uses = nil
	if done := prune(true, func(img *image.Image) bool { return img.Lazy() != "" }); len(done.Removed) > 0 {
		t.Errorf("prune --filter took %v", done)
	}
	if got := p.names(); len(got) != 1 {
		t.Errorf("it has the names %q", got)
	}
	done := prune(true, nil)
	if want := []image.Removed{{Untagged: "host/app:v1"}, {Deleted: img.ID}}; !slices.Equal(done.Removed, want) || done.Reclaimed < 4096 {
		t.Errorf("prune -a did %+v", done)
	}
	p.empty()
	// Without a name it goes in any case.
	p.again()
	p.imported("host/app:v1")
	if done := prune(false, nil); !slices.Equal(done.Removed, []image.Removed{{Deleted: img.ID}}) {
		t.Errorf("prune of one without a name did %+v", done)
	}
	p.empty()
	// And so does what cannot be read, which is in the way of all that prune does.
	p.again()
	p.must(os.WriteFile(filepath.Join(p.s.LazyDir(p.id), image.LazyManifestName), []byte("{}"), 0o600))
	if prune(false, nil); !strings.Contains(fmt.Sprint(p.s.Lazies()), "[] <nil>") {
		t.Error(p.s.Lazies())
	}
	p.empty()
}

// empty says that nothing of a lazy pull is there.
func (p *pulling) empty() {
	p.t.Helper()
	for _, dir := range []string{"lazy", "tmp/*/*", "partial/*"} {
		if left, _ := filepath.Glob(p.s.Path(dir)); len(left) > 0 {
			p.t.Errorf("left: %q", left)
		}
	}
}

// come has these bytes of the layer's blob here, from an earlier try.
func (p *pulling) come(b []byte) {
	p.t.Helper()
	path := p.s.Path("partial", p.from.layer.Encoded())
	p.must(os.MkdirAll(filepath.Dir(path), 0o700))
	p.must(os.WriteFile(path, b, 0o600))
}

// TestRemovingWhatHasCome of an image for which no program runs.
func TestRemovingWhatHasCome(t *testing.T) {
	p := begin(t)
	p.come([]byte("some"))
	if _, err := p.s.Remove("host/app:v1", false); err != nil {
		t.Error(err)
	}
	p.empty()
}

// TestRemovingWhatWasLeft by a program that was killed between the publication of a blob and the
// removal of its other name.
func TestRemovingWhatWasLeft(t *testing.T) {
	p := begin(t)
	p.fill()
	close(p.from.hold)
	p.must(<-p.done)
	left := p.s.Path("partial", p.from.layer.Encoded())
	p.must(os.MkdirAll(filepath.Dir(left), 0o700))
	p.must(os.Link(p.s.BlobPath(p.from.layer), left))
	if _, err := p.s.Remove("host/app:v1", false); err != nil {
		t.Error(err)
	}
	p.empty()
}

// TestALazyPullOfAnotherStore is not looked at: of a store of TIFFIN_IMAGE_PATH only what is all
// there is believed. A pipe would hold up whoever opens it.
func TestALazyPullOfAnotherStore(t *testing.T) {
	theirs := begin(t)
	for _, file := range []string{image.LazyPullName, image.LazyManifestName} {
		path := filepath.Join(theirs.s.LazyDir(theirs.id), file)
		theirs.must(os.Remove(path))
		theirs.must(unix.Mkfifo(path, 0o600))
	}
	t.Setenv("TIFFIN_IMAGE_PATH", theirs.s.Root())
	s, err := image.Open(filepath.Join(t.TempDir(), "store"))
	theirs.must(err)
	for _, name := range []string{"host/app:v1", theirs.id.String()} {
		if img, err := s.ResolveLazy(name); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s is %+v, %v", name, img, err)
		}
	}
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
	if _, err := s.Prune(true, nil); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(theirs.s.LazyDir(theirs.id), "*")); len(left) < 5 {
		t.Errorf("left of theirs: %q", left)
	}
}
