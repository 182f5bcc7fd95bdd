// An index is copied with all that it lists, for all machines, byte by byte.

package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// An index of a stranger's makes this program fetch and keep no more than maxParts documents of
// partSize bytes, where a larger one counts as several.
const (
	maxParts = 1024
	partSize = 64 << 10
)

// Whole finds what the reference stands for, or if that is "" the descriptor, with all that it
// lists. The parts are not looked into: attestations and artifacts are parts like others.
func Whole(ctx context.Context, src Source, ref string, want ocispec.Descriptor) (*Image, error) {
	left := maxParts
	return whole(ctx, src, ref, want, 4, &left) // an index in an index in an index is enough
}

func whole(ctx context.Context, src Source, ref string, want ocispec.Descriptor, depth int, left *int) (*Image, error) {
	if depth == 0 {
		return nil, fmt.Errorf("image index %s is nested too deeply", want.Digest)
	}
	b, err := document(ctx, src, cmp.Or(ref, want.Digest.String()), want)
	if err != nil {
		return nil, err
	}
	if *left -= 1 + len(b)/partSize; *left < 0 {
		return nil, fmt.Errorf("image index: it lists more than %d manifests, or more than %d MiB of them", maxParts, maxParts*partSize>>20)
	}
	m, err := oci.ParseDocument(b)
	if err != nil {
		return nil, err
	}
	img := &Image{Document: m, src: src, raw: true, close: func() {}}
	if m.Manifests == nil {
		return img, m.CheckImage()
	}
	for _, d := range m.Manifests {
		if !reference.ValidDigest(d.Digest) {
			return nil, fmt.Errorf("image index %s: %q is no sha256 digest", m.Digest, d.Digest)
		}
		part, err := whole(ctx, src, "", d, depth-1, left)
		if err != nil {
			return nil, err
		}
		img.Parts = append(img.Parts, part)
	}
	return img, nil
}

// TakeWhole brings what Whole has found into the store, blob by blob, and gives it a name. No layer
// is looked into: that is done when an image of it is run.
func TakeWhole(ctx context.Context, s *image.Store, img *Image, r reference.Reference, p ingest.Progress) error {
	if err := takeWhole(ctx, s, img, r, p); err != nil {
		return store.DiskError(fmt.Errorf("copy %s: %w", r.Familiar(), err))
	}
	return nil
}

func takeWhole(ctx context.Context, s *image.Store, img *Image, r reference.Reference, p ingest.Progress) error {
	st, err := s.Stage()
	if err != nil {
		return err
	}
	defer st.Close()
	for _, part := range img.all() {
		for _, d := range part.Blobs() {
			_ = s.TakeBlob(st, d.Digest) // perhaps it is here, and whole
			if err := layoutBlob(ctx, st.BlobPath(d.Digest), d, part, p); err != nil {
				return err
			}
		}
		if _, err := st.PutBlob(part.Document.Bytes); err != nil {
			return err
		}
	}
	var superseded []ocispec.Descriptor
	err = s.Publish(st, func(ix *store.Index) error {
		superseded = replace(s, ix, r, store.Unfit(img.Document.Descriptor(), img.unfit()))
		return nil
	})
	if err == nil {
		s.Discard(superseded)
	}
	return err
}

// NewIndex is an index whose parts have been found.
func NewIndex(b []byte, parts []*Image) (*Image, error) {
	m, err := oci.ParseDocument(b)
	if err != nil {
		return nil, err
	}
	return &Image{Document: m, Parts: parts, raw: true, close: func() {}}, nil
}

// all are the parts of an index, each before what lists it, and then the image or index itself.
func (img *Image) all() (all []*Image) {
	for _, part := range img.Parts {
		for _, p := range part.all() {
			if !slices.ContainsFunc(all, func(a *Image) bool { return a.Document.Digest == p.Document.Digest }) {
				all = append(all, p)
			}
		}
	}
	return append(all, img)
}

// here is the part of an index that runs on this machine, or the first image; nil if there is none.
func (img *Image) here() *Image {
	if img.Document.Manifests == nil {
		return img
	}
	d, err := oci.ThisMachine().Prefer(img.Document.Manifests)
	i := slices.IndexFunc(img.Parts, func(p *Image) bool { return p.Document.Digest == d.Digest })
	if err != nil || i < 0 {
		return nil
	}
	return img.Parts[i].here()
}

// WholeOfStore is Whole for a name of the store. Of an index that was pulled, the store has only
// one machine's part, which is an error.
func WholeOfStore(ctx context.Context, s *image.Store, ref string) (*Image, error) {
	d, err := s.Descriptor(ref)
	if err != nil {
		return nil, err
	}
	img, err := Whole(ctx, storeBlobs(s), "", ocispec.Descriptor{Digest: store.Top(d), Size: -1})
	if errors.Is(err, oci.ErrDamaged) && store.Top(d) != d.Digest {
		err = errs.Hint(fmt.Errorf("%s is here for one machine only", ref), "tiffin pull --all fetches all that the registry has")
	}
	return img, err
}

// WholeOfFile is Whole for what has the name in an OCI layout or an archive of one, or for the only
// one there.
func WholeOfFile(ctx context.Context, s *image.Store, file, name string, p ingest.Progress) (*Image, error) {
	return findInFile(ctx, s, file, p, func(in files) (*Image, error) {
		var ix ocispec.Index
		if err := readJSON(in, "index.json", &ix); err != nil {
			return nil, err
		}
		d, err := named(ix.Manifests, name)
		if err != nil {
			return nil, err
		}
		d.Annotations = nil
		return Whole(ctx, layout(in), "", d)
	})
}

// named finds the descriptor with a name in index.json.
func named(all []ocispec.Descriptor, name string) (ocispec.Descriptor, error) {
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	if i := slices.IndexFunc(all, hasName(name)); i >= 0 {
		return all[i], nil
	}
	if name == "" {
		return ocispec.Descriptor{}, fmt.Errorf("there are %d images in it: say which one, as in oci:DIR:NAME", len(all))
	}
	return ocispec.Descriptor{}, fmt.Errorf("there is no %s in it", name)
}

// hasName tells of a descriptor in index.json whether it has that name; none has "".
func hasName(name string) func(ocispec.Descriptor) bool {
	want, err := reference.Parse(name)
	return func(d ocispec.Descriptor) bool {
		r, ok := store.NameOf(d)
		return name != "" && (d.Annotations[ocispec.AnnotationRefName] == name || ok && err == nil && want == r)
	}
}

// storeBlobs is the store as a source.
func storeBlobs(s *image.Store) Blobs {
	return func(d digest.Digest) (io.ReadCloser, int64, error) {
		f, err := s.OpenBlob(d)
		if err != nil {
			return nil, 0, oci.Damaged(d, "is missing")
		}
		st, err := f.Stat()
		return f, st.Size(), err
	}
}
