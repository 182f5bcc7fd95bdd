package lazy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/test/tartest"
)

// source is a registry with one image, of one layer.
type source struct {
	blobs    map[digest.Digest][]byte
	manifest []byte
	layer    digest.Digest // of the last one
	hold     chan struct{} // closed: whole layers are sent
	silent   chan struct{} // not nil: nothing is sent of them, and then it is closed

	mu      sync.Mutex
	asked   []string      // ranges of the layer
	refuses error         // not nil: none is sent
	slow    chan struct{} // not nil: their bytes come when it is closed
	breaks  int           // so many more are not sent to their end
}

func newSource(t *testing.T, layers ...*made) *source {
	t.Helper()
	s := &source{blobs: map[digest.Digest][]byte{}, hold: make(chan struct{})}
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: oci.ThisMachine().Architecture}}
	cfg.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		s.blobs[l.desc.Digest], s.layer = l.blob, l.desc.Digest
		z, done, err := decompress(l.blob)
		if err != nil {
			t.Fatal(err)
		}
		diffID, err := digest.FromReader(z)
		done()
		if err != nil {
			t.Fatal(err)
		}
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, diffID)
		d := l.desc
		d.MediaType = ocispec.MediaTypeImageLayerGzip
		m.Layers = append(m.Layers, d)
	}
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.blobs[digest.FromBytes(config)] = config
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	if s.manifest, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *source) Manifest(context.Context, string) (string, []byte, error) {
	return ocispec.MediaTypeImageManifest, s.manifest, nil
}

func (s *source) Blob(ctx context.Context, d ocispec.Descriptor, from transfer.Position) (io.ReadCloser, string, error) {
	if d.MediaType == ocispec.MediaTypeImageLayerGzip {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
	b := s.blobs[d.Digest][from.Offset:]
	if s.silent != nil && d.MediaType == ocispec.MediaTypeImageLayerGzip {
		close(s.silent)
		return io.NopCloser(silence{ctx}), "", nil
	}
	return io.NopCloser(bytes.NewReader(b)), "", nil
}

// slow is a connection on which bytes come at last.
type slow struct {
	come chan struct{}
	io.Reader
}

func (s *slow) Read(b []byte) (int, error) {
	<-s.come
	return s.Reader.Read(b)
}

// silence is a connection on which nothing comes.
type silence struct{ context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.Done()
	return 0, s.Err()
}

func (s *source) Range(_ context.Context, d ocispec.Descriptor, from, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprint(from, "+", n))
	if s.refuses != nil {
		return nil, s.refuses
	}
	if s.breaks--; s.breaks >= 0 {
		return io.NopCloser(bytes.NewReader(s.blobs[d.Digest][from : from+n-1])), nil
	}
	if s.slow != nil {
		return io.NopCloser(&slow{s.slow, bytes.NewReader(s.blobs[d.Digest][from : from+n])}), nil
	}
	return io.NopCloser(bytes.NewReader(s.blobs[d.Digest][from : from+n])), nil
}

func (s *source) ranges() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// pulling is an image that is being pulled as host/app:v1.
type pulling struct {
	t    *testing.T
	s    *image.Store
	from *source
	id   digest.Digest // of the manifest
	done chan error
}

func begin(t *testing.T) *pulling {
	t.Helper()
	tarball := tartest.Of(t, tartest.Dir("etc/"), tartest.File("etc/menu", "rice\n"), tartest.File("pot", strings.Repeat("dal ", 100_000)))
	p := &pulling{t: t, from: newSource(t, asEstargz(t, tarball))}
	var err error
	if p.s, err = image.Open(filepath.Join(t.TempDir(), "store")); err != nil {
		t.Fatal(err)
	}
	p.again()
	return p
}

// again begins to pull it, once more.
func (p *pulling) again() {
	p.t.Helper()
	b, err := Begin(context.Background(), p.s, p.from, ref(p.t, "host/app:v1"), nil, false)
	if err != nil {
		p.t.Fatal(err)
	}
	p.id = b.Manifest
}

func ref(t *testing.T, name string) reference.Reference {
	t.Helper()
	r, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOneRegistryWithoutTLSDoesNotSpeakForAnother: the same image is pulled from both.
func TestOneRegistryWithoutTLSDoesNotSpeakForAnother(t *testing.T) {
	p := begin(t)
	for _, pull := range []struct {
		name     string
		insecure bool
	}{{"lab:5000/app:v1", true}, {"host/app:v1", false}} {
		if _, err := Begin(context.Background(), p.s, p.from, ref(t, pull.name), nil, pull.insecure); err != nil {
			t.Fatal(err)
		}
		err := Fill(p.s, p.id, func(_ context.Context, r reference.Reference, insecure bool) (transfer.Source, error) {
			if r.Familiar() != pull.name || insecure != pull.insecure {
				t.Errorf("it connects to %s, %v instead of %v", r.Familiar(), insecure, pull)
			}
			return nil, io.ErrUnexpectedEOF
		})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	}
}

// fill starts the program that fetches the rest.
func (p *pulling) fill() {
	p.done = make(chan error, 1)
	go func() {
		p.done <- Fill(p.s, p.id, func(context.Context, reference.Reference, bool) (transfer.Source, error) { return p.from, nil })
	}()
}

// flat opens the layer.
func (p *pulling) flat() (*layer.Index, *layer.Flat) {
	p.t.Helper()
	img, err := p.s.ResolveLazy("host/app:v1")
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := p.s.Mountable(img)
	if err != nil {
		p.t.Fatal(err)
	}
	x, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		p.t.Fatal(err)
	}
	flats, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { flats[0].Close() })
	return x, flats[0]
}

func (p *pulling) read(x *layer.Index, f *layer.Flat, name string) string {
	p.t.Helper()
	i, ok := x.Find(name)
	if !ok {
		p.t.Fatalf("there is no %s", name)
	}
	b, err := io.ReadAll(x.Reader(i, []io.ReaderAt{f}))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// TestAnImageThatIsPulledIsNamed as a person names it, and is none of those that are here.
func TestAnImageThatIsPulledIsNamed(t *testing.T) {
	p := begin(t)
	p.again() // twice is once
	img, err := p.s.ResolveLazy("host/app:v1")
	if err != nil || img.Lazy() == "" {
		t.Fatalf("%+v, %v", img, err)
	}
	for _, name := range []string{"host/app:v1", "host/app@" + p.id.String(), img.ID.String(), img.ID.Encoded()[:12], p.id.Encoded()} {
		if got, err := p.s.ResolveLazy(name); err != nil || got.ID != img.ID {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := p.s.Resolve(name); !errors.Is(err, image.ErrPulling) || !strings.Contains(err.Error(), "0B of") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"host/app:v2", "host/app@" + digest.FromString("x").String(), "other/app:v1", "ffffffffffff"} {
		if _, err := p.s.ResolveLazy(name); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := p.s.List(); err != nil || len(all) != 1 || all[0].Names[0] != "host/app:v1" {
		t.Errorf("the list is %v, %v", all, err)
	}
	if ix, err := p.s.ReadIndex(); err != nil || len(ix.Manifests) > 0 {
		t.Errorf("index.json has %v, %v", ix, err)
	}
	if _, err := p.s.Prune(false, nil); err != nil {
		t.Error(err)
	}
	if _, err := p.s.ResolveLazy("host/app:v1"); err != nil {
		t.Errorf("after prune: %v", err)
	}
}

// TestAPullThatNobodyWantsAnyMore ends, and leaves nothing.
func TestAPullThatNobodyWantsAnyMore(t *testing.T) {
	p := begin(t)
	p.come(p.from.blobs[p.from.layer][:100])
	p.from.silent = make(chan struct{})
	close(p.from.hold)
	p.fill()
	x, f := p.flat()
	if got := p.read(x, f, "etc/menu"); got != "rice\n" {
		t.Errorf("read %q", got)
	}
	<-p.from.silent
	if _, err := p.s.Remove("host/app:v1", false); err != nil {
		t.Fatal(err)
	}
	if err := <-p.done; !errors.Is(err, transfer.ErrForgotten) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := p.s.ResolveLazy("host/app:v1"); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	for _, dir := range []string{"lazy", "tmp/*", "partial/*"} {
		if left, _ := filepath.Glob(p.s.Path(dir)); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// TestANameThatWasGivenAwayMeanwhile stays where it is. The image is here, and has none.
func TestANameThatWasGivenAwayMeanwhile(t *testing.T) {
	p := begin(t)
	p.fill()
	other, err := p.s.Import(context.Background(), bytes.NewReader(tartest.Of(t, tartest.File("x", "x"))), image.ImportOptions{Ref: "host/app:v1"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.s.Resolve("host/app:v1"); err != nil || got.ID != other.ID {
		t.Fatalf("the name is that of %v, %v", got, err)
	}
	close(p.from.hold)
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
	if got, err := p.s.Resolve("host/app:v1"); err != nil || got.ID != other.ID {
		t.Errorf("afterwards the name is that of %v, %v", got, err)
	}
	if got, err := p.s.Resolve(p.id.String()); err != nil || len(got.Names) > 0 || got.Lazy() != "" {
		t.Errorf("the image is %+v, %v", got, err)
	}
}

// TestALayerThatIsHereStays as long as an image is being pulled that needs it, whatever becomes of
// the image that it came with.
func TestALayerThatIsHereStays(t *testing.T) {
	p := begin(t)
	p.fill()
	close(p.from.hold)
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
	below := asEstargz(t, tartest.Of(t, tartest.Dir("etc/"), tartest.File("etc/menu", "rice\n"), tartest.File("pot", strings.Repeat("dal ", 100_000))))
	two := newSource(t, below, asEstargz(t, tartest.Of(t, tartest.File("etc/other", "chutney"))))
	b, err := Begin(context.Background(), p.s, two, ref(t, "host/app:v2"), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if b.Left != int64(len(two.blobs[p.layers("host/app:v2")[1].Digest])) {
		t.Errorf("%d bytes are to come", b.Left)
	}
	if _, err := p.s.Remove("host/app:v1", false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.s.Prune(false, nil); err != nil {
		t.Fatal(err)
	}
	img, err := p.s.ResolveLazy("host/app:v2")
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	flats, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths)
	if err != nil {
		t.Fatal(err)
	}
	if flats[0].Partial() || !flats[1].Partial() {
		t.Error("the lower layer is not here, or the upper one is")
	}
	x, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		t.Fatal(err)
	}
	i, _ := x.Find("etc/menu")
	if got, err := io.ReadAll(x.Reader(i, []io.ReaderAt{flats[0], flats[1]})); err != nil || string(got) != "rice\n" {
		t.Errorf("read %q, %v", got, err)
	}
}

// layers are those of an image that is being pulled.
func (p *pulling) layers(name string) []oci.Layer {
	p.t.Helper()
	img, err := p.s.ResolveLazy(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return img.Layers
}

// TestOneProgramFetches: a second one ends.
func TestOneProgramFetches(t *testing.T) {
	p := begin(t)
	lock, err := lockFill(p.s.LazyDir(p.id))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lockFill(p.s.LazyDir(p.id)); err == nil {
		t.Error("two have the lock")
	}
	if err := Start(p.s.Root(), p.s.LazyDir(p.id)); err != nil { // it would run this test again
		t.Error(err)
	}
	if err := Start(p.s.Root(), p.s.LazyDir(digest.FromString("gone"))); err != nil {
		t.Error(err)
	}
}

// TestADamagedDirectory is named, and hides no other image.
func TestADamagedDirectory(t *testing.T) {
	p := begin(t)
	for _, file := range []string{image.LazyPullName, image.LazyConfigName, image.LazyManifestName} {
		path := filepath.Join(p.s.LazyDir(p.id), file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append([]byte("{"), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := p.s.List(); err == nil || len(all) > 0 || !strings.Contains(err.Error(), p.s.LazyDir(p.id)) {
			t.Errorf("%s: %v, %v", file, all, err)
		}
		if _, err := p.s.ResolveLazy("host/app:v1"); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s: %v", file, err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.fill()
	close(p.from.hold)
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
	img, err := p.s.Resolve("host/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if !store.Readable(p.s.BlobPath(img.Layers[0].Digest)) {
		t.Error("its blob is not here")
	}
}
