package transfer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/stargz"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"
)

const sizeNote = "io.containers.estargz.uncompressed-size"

// converted is what EStargz makes of an image, and what it had to say. The store must not change.
func converted(t *testing.T, s *image.Store, img *transfer.Image) (out *transfer.Image, notes []string) {
	t.Helper()
	st, err := s.Stage()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		st.Close()
		if _, err := os.Stat(st.Dir); err == nil {
			t.Errorf("%s stays", st.Dir)
		}
	})
	listing := func() []string {
		return slices.DeleteFunc(imagetest.Listing(t, s), func(line string) bool { return strings.HasPrefix(line, "/tmp/") })
	}
	before := listing()
	if out, err = transfer.EStargz(context.Background(), s, st, img, nil, func(n string) { notes = append(notes, n) }); err != nil {
		t.Fatal(err)
	}
	if after := listing(); !slices.Equal(after, before) {
		t.Errorf("the store was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	// What the layers were inflated to has gone.
	if left, err := os.ReadDir(st.Path("layers")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	return out, notes
}

// fromStore is an image of the store, as push reads it.
func fromStore(t *testing.T, s *image.Store, name string) *transfer.Image {
	t.Helper()
	img, err := transfer.FromStore(s, imagetest.Resolve(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// blobOf is a blob of an image, as it is sent.
func blobOf(t *testing.T, img *transfer.Image, d ocispec.Descriptor) []byte {
	t.Helper()
	r, err := img.Open(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkConverted compares all that manifest and config say of the layers with the layers, and
// returns the tarballs.
func checkConverted(t *testing.T, img *transfer.Image) (tars [][]byte) {
	t.Helper()
	var cfg ocispec.Image
	if err := json.Unmarshal(blobOf(t, img, img.Document.Config), &cfg); err != nil {
		t.Fatal(err)
	}
	for i, d := range img.Document.Layers {
		b := blobOf(t, img, d)
		if err := stargz.Verify(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), digest.Digest(d.Annotations[stargz.TOCDigest])); err != nil {
			t.Errorf("layer %d: %v", i, err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		tarball, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if got := strconv.Itoa(len(tarball)); d.Annotations[sizeNote] != got || digest.FromBytes(tarball) != cfg.RootFS.DiffIDs[i] || d.MediaType != ocispec.MediaTypeImageLayerGzip {
			t.Errorf("layer %d has %s bytes and digest %s: %+v, config %s", i, got, digest.FromBytes(tarball), d, cfg.RootFS.DiffIDs[i])
		}
		tars = append(tars, tarball)
	}
	return tars
}

// TestEStargz: of layers in each compression, and whether they have been looked into or not.
func TestEStargz(t *testing.T) {
	var first digest.Digest
	for name, pack := range imagetest.Packings {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lost %v", name, lost), func(t *testing.T) {
				s, f, _ := imagetest.StoreWith(t, pack, "x:1")
				if lost {
					if err := os.RemoveAll(s.Path("layers")); err != nil {
						t.Fatal(err)
					}
				}
				src := fromStore(t, s, "x:1")
				img, notes := converted(t, s, src)
				if len(notes) > 0 || img.Document.Digest == src.Document.Digest || img.Document.MediaType != ocispec.MediaTypeImageManifest {
					t.Errorf("%q, %+v", notes, img.Document)
				}
				for i, tarball := range checkConverted(t, img) {
					lines := tartest.List(t, tarball)
					for _, line := range tartest.List(t, f.Tars[i]) {
						if !slices.Contains(lines, line) && !strings.HasPrefix(line, "h") && !strings.Contains(line, "bin/tool") {
							t.Errorf("layer %d has not %q, but %q", i, line, lines)
						}
					}
				}
				// All but the diff IDs is as before.
				if was, is := string(src.Config), string(img.Config); !strings.Contains(is, `"Env":["A=1"]`) || len(was) != len(is) {
					t.Errorf("the config was\n%s\nand is\n%s", was, is)
				}
				// The compression of what it was made of does not matter.
				if first == "" {
					first = img.Document.Layers[0].Digest
				}
				if img.Document.Layers[0].Digest != first {
					t.Errorf("another blob: %s, not %s", img.Document.Layers[0].Digest, first)
				}
			})
		}
	}
}

// TestEStargzAgain: what has that form already stays, if it does have it.
func TestEStargzAgain(t *testing.T) {
	s, _, _ := imagetest.StoreWith(t, imagetest.Zstd, "x:1")
	img, _ := converted(t, s, fromStore(t, s, "x:1"))
	dir := filepath.Join(t.TempDir(), "layout")
	if err := transfer.WriteLayout(context.Background(), dir, "y:1", img, nil); err != nil {
		t.Fatal(err)
	}
	other := imagetest.NewStore(t)
	imagetest.Load(t, other, dir)
	src := fromStore(t, other, "y:1")
	if again, notes := converted(t, other, src); again != src || len(notes) > 0 {
		t.Errorf("%s became %s: %q", src.Document.Digest, again.Document.Digest, notes)
	}
	// A manifest that claims a table with another digest is not believed.
	manifest := src.Document.Bytes
	for i, l := range src.Document.Layers {
		manifest = bytes.ReplaceAll(manifest, []byte(l.Annotations[stargz.TOCDigest]), []byte(digest.FromString(fmt.Sprint(i))))
	}
	put(t, other, "lie:1", manifest)
	again, notes := converted(t, other, fromStore(t, other, "lie:1"))
	if again.Document.Digest != src.Document.Digest || len(notes) != 2 || !strings.Contains(notes[0], "is written again: its table of contents has digest") {
		t.Errorf("%s, not %s: %q", again.Document.Digest, src.Document.Digest, notes)
	}
}

// put gives a name to a manifest, whose blobs the store has.
func put(t *testing.T, s *image.Store, name string, manifest []byte, more ...[]byte) {
	t.Helper()
	r, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	files := []imagetest.File{{Name: "oci-layout", Data: []byte(store.LayoutMarker)}}
	for _, b := range append(more, manifest) {
		files = append(files, imagetest.BlobFile(b))
	}
	blobs, err := filepath.Glob(s.Path("blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		data, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, imagetest.BlobFile(data))
	}
	files = append(files, imagetest.File{Name: "index.json", Data: fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[%s]}`, described(t, manifest, `"annotations":{"org.opencontainers.image.ref.name":"v"}`))})
	img, err := transfer.WholeOfFile(context.Background(), s, imagetest.InDir(t, files), "v", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if err := transfer.TakeWhole(context.Background(), s, img, r, nil); err != nil {
		t.Fatal(err)
	}
}

// described is the descriptor of a document, with more in it.
func described(t *testing.T, document []byte, more string) string {
	t.Helper()
	var d struct{ MediaType string }
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,%s}`, d.MediaType, digest.FromBytes(document), len(document), more)
}

// TestEStargzOfDocker: docker's types become OCI's, and what was said of the old bytes goes. What
// is not known here stays.
func TestEStargzOfDocker(t *testing.T) {
	s, f, _ := imagetest.StoreWith(t, imagetest.Gzip, "x:1")
	m := string(f.Manifest(t))
	for from, to := range map[string]string{
		ocispec.MediaTypeImageManifest: "application/vnd.docker.distribution.manifest.v2+json", ocispec.MediaTypeImageConfig: "application/vnd.docker.container.image.v1+json",
		ocispec.MediaTypeImageLayerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
		`"layers":[{`: `"more":{"a<b":12345678901234567890},"layers":[{"annotations":{"keep":"1","io.github.containers.zstd-chunked.manifest-checksum":"x",` +
			`"io.containers.estargz.uncompressed-size":"1"},`,
	} {
		m = strings.ReplaceAll(m, from, to)
	}
	put(t, s, "docker:1", []byte(m))
	img, _ := converted(t, s, fromStore(t, s, "docker:1"))
	checkConverted(t, img)
	if got := string(img.Document.Bytes); strings.Contains(got, "docker") || strings.Contains(got, "zstd") || !strings.Contains(got, "12345678901234567890") ||
		!strings.Contains(got, `"keep":"1"`) || strings.Contains(got, `size":"1"`) {
		t.Error(got)
	}
}

// TestEStargzOfAnOddConfig: names that encoding/json reads as the same do not survive.
func TestEStargzOfAnOddConfig(t *testing.T) {
	s, f, _ := imagetest.StoreWith(t, imagetest.Gzip, "x:1")
	odd := *f
	odd.Config = bytes.Replace(f.Config, []byte(`"config":`), []byte(`"RootFS":null,"rootfs":{"Diff_IDs":["sha256:0"]},"config":`), 1)
	odd.Config = append(bytes.TrimSuffix(odd.Config, []byte("}")), `,"rootFS":null}`...)
	put(t, s, "odd:1", odd.Manifest(t), odd.Config)
	img, notes := converted(t, s, fromStore(t, s, "odd:1"))
	checkConverted(t, img)
	if got := string(img.Config); len(notes) > 0 || strings.Count(strings.ToLower(got), `"rootfs"`) != 1 || strings.Count(strings.ToLower(got), `"diff_ids"`) != 1 {
		t.Errorf("%q: %s", notes, got)
	}
}

// TestEStargzOfAnIndex: each image for Linux is written, and all else stays.
func TestEStargzOfAnIndex(t *testing.T) {
	s, f, _ := imagetest.StoreWith(t, imagetest.Gzip, "x:1")
	other := func(from, to string) (config, manifest []byte) {
		g := *f
		g.Config = bytes.ReplaceAll(f.Config, []byte(from), []byte(to))
		return g.Config, g.Manifest(t)
	}
	arm, armManifest := other(`"architecture":"`+runtime.GOARCH, `"architecture":"mips`)
	win, winManifest := other(`"os":"linux"`, `"os":"windows"`)
	odd, oddManifest := other(`"diff_ids":["`, `"diff_ids":["`+digest.FromString("more").String()+`","`)
	said := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json",` +
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`)
	inner := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, described(t, armManifest, `"platform":{"os":"linux","architecture":"mips"}`))
	attests := `"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"` + digest.FromBytes(f.Manifest(t)).String() + `"}`
	top := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[%s,%s,%s,%s,%s],"annotations":{"a":"b"}}`,
		described(t, f.Manifest(t), `"platform":{"os":"linux"}`), described(t, inner, `"annotations":{}`), described(t, winManifest, `"platform":{"os":"windows"}`),
		described(t, oddManifest, `"annotations":{}`), described(t, said, attests))
	put(t, s, "all:1", top, f.Manifest(t), arm, armManifest, win, winManifest, odd, oddManifest, said, inner, []byte("{}"))
	src, err := transfer.WholeOfStore(context.Background(), s, "all:1")
	if err != nil {
		t.Fatal(err)
	}
	img, notes := converted(t, s, src)
	for i, says := range []string{"it is for windows", "describes 3 layers", "the attestation " + digest.FromBytes(said).String() + " is pushed as it is"} {
		if len(notes) != 3 || !strings.Contains(notes[i], says) {
			t.Fatalf("%d: %q", i, notes)
		}
	}
	list := img.Document.Manifests
	if img.Document.MediaType != ocispec.MediaTypeImageIndex || img.Document.Annotations["a"] != "b" || len(list) != 5 || list[0].Platform.OS != "linux" {
		t.Errorf("%s", img.Document.Bytes)
	}
	for i, part := range img.Parts {
		stays := i > 1
		if d := part.Document.Descriptor(); d.Digest != list[i].Digest || d.Size != list[i].Size || d.MediaType != list[i].MediaType || stays != (d.Digest == src.Parts[i].Document.Digest) {
			t.Errorf("%d: %+v, and the index says %+v", i, d, list[i])
		}
	}
	checkConverted(t, img.Parts[0])
	checkConverted(t, img.Parts[1].Parts[0])
	if a, b := img.Parts[0].Document.Layers, img.Parts[1].Parts[0].Document.Layers; a[0].Digest != b[0].Digest {
		t.Error("one layer became two")
	}
}

// TestEStargzOfImpliedDirectories: where each layer is shown by itself, a directory has its mode
// also in a layer that has no entry for it. In another image the same layer is another one then.
func TestEStargzOfImpliedDirectories(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s := imagetest.NewStore(t)
		var blobs []digest.Digest
		for _, mode := range []int64{0o700, 0o1777} {
			name := fmt.Sprintf("m%o:1", mode)
			imagetest.New(t, imagetest.Gzip, []string{name}, tartest.Of(t, tartest.Dir("d", tartest.Mode(mode), tartest.Owner(1, 2)), tartest.File("d/old", "")),
				tartest.Of(t, tartest.File("other", "")), tartest.Of(t, tartest.File("d/new", "x"))).Put(t, s)
			if lost {
				if err := os.RemoveAll(s.Path("layers")); err != nil {
					t.Fatal(err)
				}
			}
			img, notes := converted(t, s, fromStore(t, s, name))
			tars := checkConverted(t, img)
			want := map[int64]string{0o700: "drwx------ 1:2 0 d/", 0o1777: "drwxrwxrwt 1:2 0 d/"}[mode]
			if lines := tartest.List(t, tars[2]); !slices.Contains(lines, want) || len(notes) > 0 {
				t.Errorf("%q, not %q: %q", lines, want, notes)
			}
			blobs = append(blobs, img.Document.Layers[2].Digest)
		}
		if blobs[0] == blobs[1] {
			t.Errorf("%q", blobs)
		}
	}
}

// TestEStargzOfWhatCannot: an odd layer stays, beside others that are written; an artifact is
// refused; a damaged blob is an error.
func TestEStargzOfWhatCannot(t *testing.T) {
	s := imagetest.NewStore(t)
	f := imagetest.New(t, imagetest.Gzip, []string{"odd:1"}, imagetest.LayerTar(t, "one"), tartest.Of(t, tartest.File("\xff", "x")),
		tartest.Of(t, tartest.File("stargz.index.json", "x")), tartest.Of(t, tartest.Sparse10("s", 2<<30, []tartest.Piece{{Off: 0, Data: "x"}})))
	f.Put(t, s)
	src := fromStore(t, s, "odd:1")
	img, notes := converted(t, s, src)
	for i, says := range []string{"is not UTF-8", "/stargz.index.json is left out", "its files have 2GiB"} {
		if len(notes) != 3 || !strings.Contains(notes[i], says) {
			t.Fatalf("%d: %q", i, notes)
		}
	}
	for i, stays := range []bool{false, true, false, true} {
		if got := img.Document.Layers[i].Digest == src.Document.Layers[i].Digest; got != stays {
			t.Errorf("layer %d stays: %v", i, got)
		}
		blobOf(t, img, img.Document.Layers[i])
	}
	put(t, s, "chart:1", []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",`+
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`), []byte("{}"))
	chart, err := transfer.WholeOfStore(context.Background(), s, "chart:1")
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := transfer.EStargz(context.Background(), s, st, chart, nil, nil); err == nil || !strings.Contains(err.Error(), "this is no image, but application/vnd.cncf.helm") {
		t.Errorf("a chart: %v", err)
	}
	imagetest.Spoil(t, s.BlobPath(digest.FromBytes(f.Blobs[0])), imagetest.Flip)
	if err := os.RemoveAll(s.Path("layers")); err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.EStargz(context.Background(), s, st, src, nil, func(string) {}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged layer: %v", err)
	}
}
