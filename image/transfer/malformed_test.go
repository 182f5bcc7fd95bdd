package transfer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"
)

// refuse loads b and wants one clear error and the store as it was. It returns
// the error's text.
func refuse(t *testing.T, s *image.Store, what string, b []byte) string {
	t.Helper()
	before := imagetest.Listing(t, s)
	_, err := transfer.Load(context.Background(), s, imagetest.InFile(t, b), nil, nil)
	if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
		t.Fatalf("%s: the store has changed\nbefore %q\nafter %q", what, before, after)
	}
	if err == nil {
		t.Fatalf("%s: accepted", what)
	}
	imagetest.Clear(t, what, err)
	return err.Error()
}

// TestAWholeIndexIsBounded: one that is small lists the same large manifest again and again.
func TestAWholeIndexIsBounded(t *testing.T) {
	part := []byte(`{"schemaVersion":2,"manifests":[]` + strings.Repeat(" ", 2<<20) + "}")
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(part), Size: int64(len(part))}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: slices.Repeat([]ocispec.Descriptor{d}, 1000)})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	src := transfer.Blobs(func(d digest.Digest) (io.ReadCloser, int64, error) {
		b := part
		if d == digest.FromBytes(index) {
			b = index
		}
		sent += len(b)
		return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	})
	_, err = transfer.Whole(context.Background(), src, "", ocispec.Descriptor{Digest: digest.FromBytes(index), Size: -1})
	if err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("an index of 2 GiB: %v", err)
	}
	if sent > 80<<20 {
		t.Errorf("%d bytes were asked for", sent)
	}
}

func TestTruncatedArchivesAreRefused(t *testing.T) {
	for packing, pack := range imagetest.Packings {
		f := imagetest.New(t, pack, []string{"x"}, imagetest.LayerTar(t, "one"), imagetest.LayerTar(t, "two"))
		for form, files := range map[string][]imagetest.File{"layout": f.Layout(t), "docker": f.Docker(t)} {
			b := imagetest.Archive(t, files)
			// The last 1024 bytes are the end mark, which may be missing, and
			// before that is the padding of the last file.
			for n := 0; n < len(b)-1024-512; n += 1 + len(b)/30 {
				refuse(t, imagetest.NewStore(t), fmt.Sprintf("%s %s cut to %d of %d bytes", packing, form, n, len(b)), b[:n])
			}
		}
	}
}

func TestTruncatedLayersAreRefused(t *testing.T) {
	whole := imagetest.LayerTar(t, "one")
	for packing, pack := range imagetest.Packings {
		packed := pack(t, whole)
		for n := 0; n < len(packed)-1024; n += 1 + len(packed)/20 {
			s := imagetest.NewStore(t)
			before := imagetest.Listing(t, s)
			_, err := s.Import(context.Background(), bytes.NewReader(packed[:n]), image.ImportOptions{Ref: "x"})
			if err == nil && n > 0 {
				t.Errorf("%s cut to %d of %d bytes: accepted", packing, n, len(packed))
			} else if err != nil {
				imagetest.Clear(t, packing, err)
				if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
					t.Errorf("%s: the store has changed", packing)
				}
			}
		}
	}
}

func TestFlippedBitsAreFoundOrHarmless(t *testing.T) {
	for packing, pack := range imagetest.Packings {
		f := imagetest.New(t, pack, []string{"x"}, imagetest.LayerTar(t, "one"))
		whole := imagetest.Archive(t, f.Layout(t))
		rnd := rand.New(rand.NewPCG(5, 6))
		for range 60 {
			b := bytes.Clone(whole)
			at := rnd.IntN(len(b) - 1024)
			b[at] ^= 1 << rnd.IntN(8)
			s := imagetest.NewStore(t)
			before := imagetest.Listing(t, s)
			_, err := transfer.Load(context.Background(), s, imagetest.InFile(t, b), nil, nil)
			if err != nil {
				imagetest.Clear(t, fmt.Sprintf("%s, byte %d", packing, at), err)
				if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
					t.Fatalf("%s, byte %d: %v, but the store has changed", packing, at, err)
				}
				continue
			}
			// A time in the archive, or the name of the image: never the content.
			imgs, err := s.List()
			if err != nil || len(imgs) != 1 || imgs[0].ID != f.ID() {
				t.Errorf("%s, byte %d: another image was loaded: %v %v", packing, at, imgs, err)
			}
			imagetest.Sound(t, s)
		}
	}
}

// TestALayoutCannotTakeADigestForAName: whoever runs debian@sha256:… wants that and no other.
func TestALayoutCannotTakeADigestForAName(t *testing.T) {
	s := imagetest.NewStore(t)
	const other = "debian@sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
	f := imagetest.New(t, imagetest.Gzip, []string{other}, imagetest.LayerTar(t, "one"))
	got, err := transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))), nil, nil)
	if err != nil || len(got) != 1 || got[0].Ref != "" {
		t.Errorf("with the digest of something else: %+v, %v", got, err)
	}
	if img, err := s.Resolve(other); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("%s is %+v, %v", other, img, err)
	}
	f.Names = []string{"debian@" + digest.FromBytes(f.Manifest(t)).String()}
	got, err = transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))), nil, nil)
	if err != nil || len(got) != 1 || got[0].Ref != f.Names[0] {
		t.Errorf("with its own digest: %+v, %v", got, err)
	}
}

// TestSizesThatTheManifestHasWrongAreRefused: push and copy would refuse the image later.
func TestSizesThatTheManifestHasWrongAreRefused(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	right := f.Manifest(t)
	s := imagetest.NewStore(t)
	for _, present := range []bool{false, true} { // in the second round the layer is in the store
		for what, change := range map[string]func(*ocispec.Manifest){
			"layer":  func(m *ocispec.Manifest) { m.Layers[0].Size-- },
			"config": func(m *ocispec.Manifest) { m.Config.Size++ },
		} {
			var m ocispec.Manifest
			if err := json.Unmarshal(right, &m); err != nil {
				t.Fatal(err)
			}
			change(&m)
			wrong := imagetest.JSON(t, m)
			ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(wrong), Size: int64(len(wrong))}}}
			files := append(imagetest.Files("oci-layout", store.LayoutMarker, "index.json", string(imagetest.JSON(t, ix))),
				imagetest.BlobFile(f.Config), imagetest.BlobFile(wrong), imagetest.BlobFile(f.Blobs[0]))
			if msg := refuse(t, s, what, imagetest.Archive(t, files)); !strings.Contains(msg, "the manifest is wrong") {
				t.Errorf("%s, in the store already %v: %s", what, present, msg)
			}
		}
		if _, err := transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongDigestsAreNamed(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	files := f.Layout(t)
	other := imagetest.Gzip(t, imagetest.LayerTar(t, "other"))
	want := digest.FromBytes(f.Blobs[0])
	for i := range files {
		if files[i].Name == imagetest.BlobName(want) {
			files[i].Data = other
		}
	}
	s := imagetest.NewStore(t)
	msg := refuse(t, s, "a blob with other content", imagetest.Archive(t, files))
	if !strings.Contains(msg, want.String()) || !strings.Contains(msg, digest.FromBytes(other).String()) {
		t.Errorf("the digests are not both named: %s", msg)
	}

	f.Blobs[0] = other // the manifest is right now, the config is not
	for _, files := range [][]imagetest.File{f.Layout(t), f.Docker(t)} {
		msg = refuse(t, s, "a layer that the config does not name", imagetest.Archive(t, files))
		if !strings.Contains(msg, digest.FromBytes(f.Tars[0]).String()) || !strings.Contains(msg, digest.FromBytes(imagetest.LayerTar(t, "other")).String()) {
			t.Errorf("the diff IDs are not both named: %s", msg)
		}
	}

	f = imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	for _, blob := range [][]byte{f.Config, f.Manifest(t)} {
		files = f.Layout(t)
		for i := range files {
			if files[i].Name == imagetest.BlobName(digest.FromBytes(blob)) {
				files[i].Data = append(bytes.Clone(blob), ' ')
			}
		}
		if msg := refuse(t, s, "a config or manifest with other content", imagetest.Archive(t, files)); !strings.Contains(msg, digest.FromBytes(blob).String()) {
			t.Errorf("the digest is not named: %s", msg)
		}
	}
}

func TestArchivesThatAreNoneSayWhatToDo(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	s := imagetest.NewStore(t)
	deep := strings.Repeat("[", 100000) + strings.Repeat("]", 100000)
	for what, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":               {nil, "empty"},
		"text":                  {[]byte(strings.Repeat("no tarball ", 200)), "not an image archive"},
		"zeros":                 {make([]byte, 4096), "not an image archive"},
		"a root file system":    {imagetest.LayerTar(t, "x"), "neither index.json nor manifest.json"},
		"a dir: of skopeo":      {tartest.Of(t, tartest.File("manifest.json", "{}"), tartest.File("version", "Directory Transport Version: 1.1\n")), "skopeo's own kind"},
		"bzip2":                 {[]byte("BZh91AY&SY"), "bzip2: "},
		"xz":                    {[]byte("\xfd7zXZ\x00\x00\x04"), "xz: "},
		"lz4":                   {[]byte("\x04\x22\x4d\x18"), "lz4 compression is not supported"},
		"broken gzip":           {[]byte("\x1f\x8b\x08\x00garbage garbage"), "gzip"},
		"broken zstd":           {[]byte("\x28\xb5\x2f\xfdgarbage garbage"), "zstd"},
		"an old archive":        {imagetest.Archive(t, imagetest.Files("repositories", "{}")), "before 1.10"},
		"no layers":             {imagetest.Archive(t, append(f.Docker(t)[:1], f.Docker(t)[2:]...)), "not in the archive"},
		"no config":             {imagetest.Archive(t, f.Docker(t)[1:]), "config"},
		"manifest is an object": {imagetest.Archive(t, imagetest.Files("manifest.json", "{}")), "manifest.json"},
		"manifest is empty":     {imagetest.Archive(t, imagetest.Files("manifest.json", "[]")), "no image"},
		"deep JSON":             {imagetest.Archive(t, imagetest.Files("manifest.json", deep)), "deep"},
		"deep JSON in index":    {imagetest.Archive(t, imagetest.Files("oci-layout", "", "index.json", deep)), "deep"},
		"empty index":           {imagetest.Archive(t, imagetest.Files("oci-layout", "", "index.json", `{"manifests":[]}`)), "no image"},
		"digest climbs":         {imagetest.Archive(t, imagetest.Files("oci-layout", "", "index.json", `{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}`)), "no sha256 digest"},
		"digest is empty":       {imagetest.Archive(t, imagetest.Files("oci-layout", "", "index.json", `{"manifests":[{}]}`)), "no sha256 digest"},
		"config climbs":         {imagetest.Archive(t, imagetest.Files("manifest.json", `[{"Config":"../x","Layers":[]}]`)), "config"},
		"links in a circle": {imagetest.Archive(t, imagetest.Files("manifest.json", `[{"Config":"a","Layers":[]}]`),
			&tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "b"}, &tar.Header{Typeflag: tar.TypeSymlink, Name: "b", Linkname: "a"}), "config"},
	} {
		if msg := refuse(t, s, what, c.b); !strings.Contains(msg, c.want) {
			t.Errorf("%s: %q does not say %q", what, msg, c.want)
		}
	}
	_, err := transfer.Load(context.Background(), s, imagetest.InFile(t, imagetest.LayerTar(t, "x")), nil, nil)
	if !strings.Contains(errs.HintOf(err), "tiffin import") {
		t.Errorf("the hint does not lead to import: %q", errs.HintOf(err))
	}
}

func TestAHugeManifestIsRefusedInBoundedMemory(t *testing.T) {
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	const size = 1 << 30
	if err := w.WriteHeader(&tar.Header{Name: "manifest.json", Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	s := imagetest.NewStore(t)
	name := imagetest.InFile(t, head.Bytes())
	if err := os.Truncate(name, int64(head.Len())+size+1024); err != nil { // a hole of zeros
		t.Fatal(err)
	}
	grown := imagetest.Peak(func() {
		if _, err := transfer.Load(context.Background(), s, name, nil, nil); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("a manifest.json of 1 GiB: %v", err)
		}
	})
	if grown > 64<<20 {
		t.Errorf("it took %d bytes of memory", grown)
	}
}

func TestTooManyEntriesInTheOuterArchiveAreRefused(t *testing.T) {
	var b bytes.Buffer
	h := tartest.File("x", "")
	one := bytes.Buffer{}
	if err := tartest.Write(&one, h); err != nil {
		t.Fatal(err)
	}
	for range 100_001 {
		b.Write(one.Bytes())
	}
	if msg := refuse(t, imagetest.NewStore(t), "too many entries", b.Bytes()); !strings.Contains(msg, "entries") {
		t.Error(msg)
	}
}

func TestOutsideNamesInTheArchiveMeanNothing(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	s := imagetest.NewStore(t)
	for _, prefix := range []string{"../", "/", "../../../../tmp/"} {
		files := f.Layout(t)
		for i := range files {
			files[i].Name = prefix + files[i].Name
		}
		refuse(t, s, prefix, imagetest.Archive(t, files))
	}
	files := f.Layout(t)
	for i := range files {
		files[i].Name = "./a/../" + files[i].Name
	}
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, files))) // these stay inside
	imagetest.Sound(t, s)
}

func TestTheLastOfTwoEntriesCounts(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	s := imagetest.NewStore(t)
	files := append(imagetest.Files("index.json", "garbage"), f.Layout(t)...)
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, files)))
	imagetest.Sound(t, s)
}
