package lazy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

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
