package transfer_test

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
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
)

func TestEveryFormOfArchiveGivesTheSameImage(t *testing.T) {
	var want []string
	for packing, pack := range imagetest.Packings {
		f := imagetest.New(t, pack, []string{"docker.io/library/thing:v1"}, imagetest.LayerTar(t, "one"), imagetest.LayerTar(t, "two"))
		forms := map[string]func(s *image.Store) ([]transfer.Loaded, error){
			"layout directory": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, imagetest.InDir(t, f.Layout(t)), nil, nil)
			},
			"layout archive": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))), nil, nil)
			},
			"docker archive": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, f.Docker(t))), nil, nil)
			},
			"both at once": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, append(f.Layout(t), f.Docker(t)...))), nil, nil)
			},
			"stream": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, "", bytes.NewReader(imagetest.Archive(t, f.Docker(t))), nil)
			},
			"file as a stream": func(s *image.Store) ([]transfer.Loaded, error) {
				in, err := os.Open(imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
				if err != nil {
					t.Fatal(err)
				}
				return transfer.Load(context.Background(), s, "", in, nil)
			},
			"archive in gzip": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Gzip(t, imagetest.Archive(t, f.Docker(t)))), nil, nil)
			},
			"stream in zstd": func(s *image.Store) ([]transfer.Loaded, error) {
				return transfer.Load(context.Background(), s, "", bytes.NewReader(imagetest.Zstd(t, imagetest.Archive(t, f.Layout(t)))), nil)
			},
		}
		for form, load := range forms {
			t.Run(packing+"/"+form, func(t *testing.T) {
				s := imagetest.NewStore(t)
				got, err := load(s)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != 1 || got[0] != (transfer.Loaded{"thing:v1", f.ID()}) {
					t.Errorf("loaded %v", got)
				}
				img := imagetest.Resolve(t, s, "thing:v1")
				for i, l := range img.Layers {
					if l.Digest != digest.FromBytes(f.Blobs[i]) || l.DiffID != digest.FromBytes(f.Tars[i]) {
						t.Errorf("layer %d is %+v", i, l)
					}
				}
				if !strings.Contains(form, "docker") && !strings.Contains(form, "stream") && form != "archive in gzip" &&
					img.Manifest.Digest != digest.FromBytes(f.Manifest(t)) {
					t.Errorf("the manifest's digest has changed to %s", img.Manifest.Digest)
				}
				if want == nil {
					want = imagetest.Paths(t, s, img)
				}
				if got := imagetest.Paths(t, s, img); !slices.Equal(got, want) || len(got) != 8 {
					t.Errorf("merged tree %q, want %q", got, want)
				}
				imagetest.Sound(t, s)
			})
		}
	}
}

func TestAnArchiveMayNameAnImageSeveralTimesOrNotAtAll(t *testing.T) {
	s := imagetest.NewStore(t)
	f := imagetest.New(t, imagetest.Gzip, []string{"a:1", "b", "quay.io/x/y:z"}, imagetest.LayerTar(t, "one"))
	got := imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Docker(t))))
	if len(got) != 3 || got[1].Ref != "b:latest" || got[2].Ref != "quay.io/x/y:z" {
		t.Errorf("loaded %v", got)
	}
	if img := imagetest.Resolve(t, s, "a:1"); !slices.Equal(img.Names, []string{"a:1", "b:latest", "quay.io/x/y:z"}) {
		t.Errorf("names %v", img.Names)
	}
	f = imagetest.New(t, imagetest.Gzip, nil, imagetest.LayerTar(t, "nameless"))
	if got = imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t)))); len(got) != 1 || got[0] != (transfer.Loaded{"", f.ID()}) {
		t.Errorf("loaded %v", got)
	}
	if img := imagetest.Resolve(t, s, f.ID().Encoded()[:12]); len(img.Names) != 0 {
		t.Errorf("names %v", img.Names)
	}
	imagetest.Sound(t, s)
}

func TestContainerdsNameWinsOverTheRefName(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"v2"}, imagetest.LayerTar(t, "one"))
	files := f.Layout(t)
	files[len(files)-1].Data = []byte(strings.Replace(string(files[len(files)-1].Data),
		`"org.opencontainers`, `"io.containerd.image.name":"docker.io/team/app:v2","org.opencontainers`, 1))
	if got := imagetest.Load(t, imagetest.NewStore(t), imagetest.InFile(t, imagetest.Archive(t, files))); got[0].Ref != "team/app:v2" {
		t.Errorf("loaded %v", got)
	}
}

func TestLoadingAgainChangesNothing(t *testing.T) {
	for _, form := range []func(*imagetest.Fixture, testing.TB) []imagetest.File{(*imagetest.Fixture).Layout, (*imagetest.Fixture).Docker} {
		s := imagetest.NewStore(t)
		f := imagetest.New(t, imagetest.AsIs, []string{"x"}, imagetest.LayerTar(t, "one"), imagetest.LayerTar(t, "two"))
		name := imagetest.InFile(t, imagetest.Archive(t, form(f, t)))
		imagetest.Load(t, s, name)
		before := imagetest.Listing(t, s)
		imagetest.Load(t, s, name)
		if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
			t.Errorf("before %q\nafter %q", before, after)
		}
		imagetest.Sound(t, s)
	}
}

func TestTheSameImagePackedDifferentlyReplacesItself(t *testing.T) {
	s := imagetest.NewStore(t)
	for packing, pack := range imagetest.Packings {
		f := imagetest.New(t, pack, []string{"x"}, imagetest.LayerTar(t, "one"))
		imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
		imgs, err := s.List()
		if err != nil || len(imgs) != 1 || imgs[0].Layers[0].Digest != digest.FromBytes(f.Blobs[0]) {
			t.Errorf("%s: %d images, %v", packing, len(imgs), err)
		}
		imagetest.Sound(t, s)
	}
}

func TestANewImageUnderAnOldNameLeavesTheOldOneNameless(t *testing.T) {
	s, old, _ := imagetest.StoreWith(t, imagetest.Gzip, "x")
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "three"))
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
	if imagetest.Resolve(t, s, "x").ID != f.ID() || len(imagetest.Resolve(t, s, old.ID().String()).Names) != 0 {
		t.Error("the name is not the new image's alone")
	}
	imagetest.Sound(t, s)
}

func TestLayersOfOldDockerArchivesMayBeLinks(t *testing.T) {
	one := imagetest.LayerTar(t, "one")
	f := imagetest.New(t, imagetest.AsIs, []string{"x"}, one, one, one)
	files := f.Docker(t)
	files = slices.DeleteFunc(files, func(f imagetest.File) bool { return f.Name == "layer1/layer.tar" || f.Name == "layer2/layer.tar" })
	b := imagetest.Archive(t, files,
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "layer1/layer.tar", Linkname: "../layer0/layer.tar"},
		&tar.Header{Typeflag: tar.TypeLink, Name: "layer2/layer.tar", Linkname: "layer0/layer.tar"})
	s := imagetest.NewStore(t)
	imagetest.Load(t, s, imagetest.InFile(t, b))
	if n := len(imagetest.Resolve(t, s, "x").Layers); n != 3 {
		t.Errorf("%d layers", n)
	}
	imagetest.Sound(t, s)
}

// nested is a layout whose index.json leads to an index of platforms.
func nested(t *testing.T, f *imagetest.Fixture, platforms ...ocispec.Platform) []imagetest.File {
	files := f.Layout(t)
	var ix ocispec.Index
	if err := oci.Unmarshal(files[len(files)-1].Data, &ix); err != nil {
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
	b := imagetest.JSON(t, inner)
	ix.Manifests[0].Digest, ix.Manifests[0].Size, ix.Manifests[0].MediaType = digest.FromBytes(b), int64(len(b)), inner.MediaType
	files[len(files)-1].Data = imagetest.JSON(t, ix)
	return append(files, imagetest.BlobFile(b))
}

func TestOfSeveralPlatformsThisMachinesIsLoaded(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	s := imagetest.NewStore(t)
	imagetest.Load(t, s, imagetest.InDir(t, nested(t, f, ocispec.Platform{OS: "linux", Architecture: "s390x"},
		ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, ocispec.Platform{OS: "unknown", Architecture: "unknown"})))
	if imagetest.Resolve(t, s, "x").ID != f.ID() {
		t.Error("another image was loaded")
	}
	imagetest.Sound(t, s)
	_, err := transfer.Load(context.Background(), s, imagetest.InDir(t, nested(t, f, ocispec.Platform{OS: "linux", Architecture: "s390x"})), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("an image for another machine: %v", err)
	}
}

func TestALayoutWithSymbolicLinksReadsNothingOutside(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	dir := imagetest.InDir(t, f.Layout(t))
	blob := filepath.Join(dir, imagetest.BlobName(digest.FromBytes(f.Blobs[0])))
	outside := imagetest.InFile(t, f.Blobs[0])
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, blob); err != nil {
		t.Fatal(err)
	}
	s := imagetest.NewStore(t)
	if _, err := transfer.Load(context.Background(), s, dir, nil, nil); err == nil {
		t.Error("a blob that is a link to the outside was read")
	}
}
