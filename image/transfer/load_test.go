package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
)

var packings = []struct {
	name string
	pack func(testing.TB, []byte) []byte
}{{"plain", asIs}, {"gzip", gz}, {"gzip members", gzMembers}, {"zstd", zst}}

func TestEveryFormOfArchiveGivesTheSameImage(t *testing.T) {
	var want []string
	for _, p := range packings {
		f := newFixture(t, p.pack, []string{"docker.io/library/thing:v1"}, layerTar(t, "one"), layerTar(t, "two"))
		forms := map[string]func(s *image.Store) ([]Loaded, error){
			"layout directory": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, inDir(t, f.layout(t)), nil, nil)
			},
			"layout archive": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, inFile(t, archive(t, f.layout(t))), nil, nil)
			},
			"docker archive": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, inFile(t, archive(t, f.docker(t))), nil, nil)
			},
			"both at once": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, inFile(t, archive(t, append(f.layout(t), f.docker(t)...))), nil, nil)
			},
			"stream": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, "", bytes.NewReader(archive(t, f.docker(t))), nil)
			},
			"file as a stream": func(s *image.Store) ([]Loaded, error) {
				in, err := os.Open(inFile(t, archive(t, f.layout(t))))
				if err != nil {
					t.Fatal(err)
				}
				return Load(context.Background(), s, "", in, nil)
			},
			"archive in gzip": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, inFile(t, gz(t, archive(t, f.docker(t)))), nil, nil)
			},
			"stream in zstd": func(s *image.Store) ([]Loaded, error) {
				return Load(context.Background(), s, "", bytes.NewReader(zst(t, archive(t, f.layout(t)))), nil)
			},
		}
		for form, load := range forms {
			t.Run(p.name+"/"+form, func(t *testing.T) {
				s := newStore(t)
				got, err := load(s)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != 1 || got[0] != (Loaded{"thing:v1", f.id()}) {
					t.Errorf("loaded %v", got)
				}
				img := resolve(t, s, "thing:v1")
				for i, l := range img.Layers {
					if l.Digest != digest.FromBytes(f.blobs[i]) || l.DiffID != digest.FromBytes(f.tars[i]) {
						t.Errorf("layer %d is %+v", i, l)
					}
				}
				if !strings.Contains(form, "docker") && !strings.Contains(form, "stream") && form != "archive in gzip" &&
					img.Manifest.Digest != digest.FromBytes(f.manifest(t)) {
					t.Errorf("the manifest's digest has changed to %s", img.Manifest.Digest)
				}
				if want == nil {
					want = paths(t, s, img)
				}
				if got := paths(t, s, img); !slices.Equal(got, want) || len(got) != 8 {
					t.Errorf("merged tree %q, want %q", got, want)
				}
				sound(t, s)
			})
		}
	}
}

func TestAnArchiveMayNameAnImageSeveralTimesOrNotAtAll(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, gz, []string{"a:1", "b", "quay.io/x/y:z"}, layerTar(t, "one"))
	got := load(t, s, inFile(t, archive(t, f.docker(t))))
	if len(got) != 3 || got[1].Ref != "b:latest" || got[2].Ref != "quay.io/x/y:z" {
		t.Errorf("loaded %v", got)
	}
	if img := resolve(t, s, "a:1"); !slices.Equal(img.Names, []string{"a:1", "b:latest", "quay.io/x/y:z"}) {
		t.Errorf("names %v", img.Names)
	}
	f = newFixture(t, gz, nil, layerTar(t, "nameless"))
	if got = load(t, s, inFile(t, archive(t, f.layout(t)))); len(got) != 1 || got[0] != (Loaded{"", f.id()}) {
		t.Errorf("loaded %v", got)
	}
	if img := resolve(t, s, f.id().Encoded()[:12]); len(img.Names) != 0 {
		t.Errorf("names %v", img.Names)
	}
	sound(t, s)
}

func TestContainerdsNameWinsOverTheRefName(t *testing.T) {
	f := newFixture(t, gz, []string{"v2"}, layerTar(t, "one"))
	files := f.layout(t)
	files[len(files)-1].data = []byte(strings.Replace(string(files[len(files)-1].data),
		`"org.opencontainers`, `"io.containerd.image.name":"docker.io/team/app:v2","org.opencontainers`, 1))
	if got := load(t, newStore(t), inFile(t, archive(t, files))); got[0].Ref != "team/app:v2" {
		t.Errorf("loaded %v", got)
	}
}

func TestLoadingAgainChangesNothing(t *testing.T) {
	for _, form := range []func(*fixture, testing.TB) []file{(*fixture).layout, (*fixture).docker} {
		s := newStore(t)
		f := newFixture(t, asIs, []string{"x"}, layerTar(t, "one"), layerTar(t, "two"))
		name := inFile(t, archive(t, form(f, t)))
		load(t, s, name)
		before := listing(t, s)
		load(t, s, name)
		if after := listing(t, s); !slices.Equal(before, after) {
			t.Errorf("before %q\nafter %q", before, after)
		}
		sound(t, s)
	}
}

func TestTheSameImagePackedDifferentlyReplacesItself(t *testing.T) {
	s := newStore(t)
	for _, p := range packings {
		f := newFixture(t, p.pack, []string{"x"}, layerTar(t, "one"))
		load(t, s, inFile(t, archive(t, f.layout(t))))
		imgs, err := s.List()
		if err != nil || len(imgs) != 1 || imgs[0].Layers[0].Digest != digest.FromBytes(f.blobs[0]) {
			t.Errorf("%s: %d images, %v", p.name, len(imgs), err)
		}
		sound(t, s)
	}
}

func TestANewImageUnderAnOldNameLeavesTheOldOneNameless(t *testing.T) {
	s, old, _ := loadFixture(t, gz, "x")
	f := newFixture(t, gz, []string{"x"}, layerTar(t, "three"))
	load(t, s, inFile(t, archive(t, f.layout(t))))
	if resolve(t, s, "x").ID != f.id() || len(resolve(t, s, old.id().String()).Names) != 0 {
		t.Error("the name is not the new image's alone")
	}
	sound(t, s)
}

func TestLayersOfOldDockerArchivesMayBeLinks(t *testing.T) {
	one := layerTar(t, "one")
	f := newFixture(t, asIs, []string{"x"}, one, one, one)
	files := f.docker(t)
	files = slices.DeleteFunc(files, func(f file) bool { return f.name == "layer1/layer.tar" || f.name == "layer2/layer.tar" })
	b := archive(t, files,
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "layer1/layer.tar", Linkname: "../layer0/layer.tar"},
		&tar.Header{Typeflag: tar.TypeLink, Name: "layer2/layer.tar", Linkname: "layer0/layer.tar"})
	s := newStore(t)
	load(t, s, inFile(t, b))
	if n := len(resolve(t, s, "x").Layers); n != 3 {
		t.Errorf("%d layers", n)
	}
	sound(t, s)
}

// nested is a layout whose index.json leads to an index of platforms.
func nested(t *testing.T, f *fixture, platforms ...ocispec.Platform) []file {
	files := f.layout(t)
	var ix ocispec.Index
	if err := oci.Unmarshal(files[len(files)-1].data, &ix); err != nil {
		t.Fatal(err)
	}
	inner := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, p := range platforms {
		d := ix.Manifests[0]
		d.Annotations, d.Platform = nil, &p
		if p.Architecture != runtime.GOARCH {
			d.Digest = digest.FromString(p.Architecture) // is not there
		}
		inner.Manifests = append(inner.Manifests, d)
	}
	b := mustJSON(t, inner)
	ix.Manifests[0].Digest, ix.Manifests[0].Size, ix.Manifests[0].MediaType = digest.FromBytes(b), int64(len(b)), inner.MediaType
	files[len(files)-1].data = mustJSON(t, ix)
	return append(files, blobFile(b))
}

func TestOfSeveralPlatformsThisMachinesIsLoaded(t *testing.T) {
	f := newFixture(t, gz, []string{"x"}, layerTar(t, "one"))
	s := newStore(t)
	load(t, s, inDir(t, nested(t, f, ocispec.Platform{OS: "linux", Architecture: "s390x"},
		ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, ocispec.Platform{OS: "unknown", Architecture: "unknown"})))
	if resolve(t, s, "x").ID != f.id() {
		t.Error("another image was loaded")
	}
	sound(t, s)
	_, err := Load(context.Background(), s, inDir(t, nested(t, f, ocispec.Platform{OS: "linux", Architecture: "s390x"})), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("an image for another machine: %v", err)
	}
}

func TestALayoutWithSymbolicLinksReadsNothingOutside(t *testing.T) {
	f := newFixture(t, gz, []string{"x"}, layerTar(t, "one"))
	dir := inDir(t, f.layout(t))
	blob := filepath.Join(dir, blobName(digest.FromBytes(f.blobs[0])))
	outside := inFile(t, f.blobs[0])
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, blob); err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	if _, err := Load(context.Background(), s, dir, nil, nil); err == nil {
		t.Error("a blob that is a link to the outside was read")
	}
}

func TestImportMakesAnImageOfARootFileSystem(t *testing.T) {
	for _, p := range packings {
		s := newStore(t)
		img, err := s.Import(context.Background(), bytes.NewReader(p.pack(t, layerTar(t, "one"))), image.ImportOptions{
			Ref: "mine:1", Message: "imported", Changes: []string{`CMD ["tool"]`, "ENV A=b"}})
		if err != nil {
			t.Fatal(err)
		}
		h := s.History(img)
		if img.Names[0] != "mine:1" || img.Config.Config.Cmd[0] != "tool" || len(h) != 1 || h[0].Comment != "imported" || h[0].Size != 13312 {
			t.Errorf("%s: %+v, history %+v", p.name, img, h)
		}
		if img.Created.Unix() != 1700000000 {
			t.Errorf("%s: SOURCE_DATE_EPOCH is not honoured: %v", p.name, img.Created)
		}
		sound(t, s)
	}
}
