// Resolve finds the image that a person means by a name or an ID.

package image

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Resolve finds an image by what a person types: a name (NAME, NAME:TAG,
// NAME@DIGEST), a whole ID, or the beginning of one. A name wins over an ID
// that begins the same. A built-in image is made when it is first asked for.
// Errors wrap ErrNotFound, oci.ErrDamaged, or ErrPulling if it is not all here yet.
func (s *Store) Resolve(ref string) (*Image, error) {
	if lz := s.LazyOf(ref); lz != nil {
		return nil, s.Pulling(lz)
	}
	ix, err := s.ReadIndex()
	if err != nil {
		return nil, err
	}
	d, err := s.lookup(ix, ref)
	if img, err := s.MakeBuiltin(ref, d); img != nil || err != nil {
		return img, err
	}
	if errors.Is(err, ErrNotFound) {
		if img, ferr := s.resolveAdditional(ref); img != nil || ferr != nil {
			return img, ferr
		}
	}
	if err != nil {
		return nil, err
	}
	img, err := s.image(ix, *d)
	if errors.Is(err, ErrNoImage) {
		err = fmt.Errorf("%s %w", ref, err)
	}
	return img, err
}

// Descriptor is what index.json has of a name, also where Resolve says that it is not an image.
func (s *Store) Descriptor(ref string) (ocispec.Descriptor, error) {
	if _, err := s.Resolve(ref); err != nil && !errors.Is(err, ErrNoImage) { // makes a built-in one
		return ocispec.Descriptor{}, err
	}
	ix, err := s.ReadIndex()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := s.lookup(ix, ref)
	if errors.Is(err, ErrNotFound) {
		if _, _, theirs := s.lookupAdditional(ref); theirs != nil {
			return *theirs, nil
		}
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return *d, nil
}

// lookup finds the descriptor that ref means.
func (s *Store) lookup(ix *store.Index, ref string) (*ocispec.Descriptor, error) {
	r, nameErr := reference.Parse(ref)
	if nameErr == nil {
		if d := ix.FindAny(r); d != nil {
			return d, nil
		}
	}
	if hex := strings.TrimPrefix(ref, "sha256:"); hex != "" && len(hex) <= 64 && reference.IsHex(hex) {
		d, err := s.lookupID(ix, hex)
		if d != nil || err != nil {
			return d, err
		}
	} else if nameErr != nil {
		return nil, nameErr
	}
	return nil, s.notFound(ix, ref)
}

// lookupID finds the one image whose ID, or else whose manifest digest, starts
// with the hexadecimal digits.
func (s *Store) lookupID(ix *store.Index, hex string) (*ocispec.Descriptor, error) {
	found := map[digest.Digest]*ocispec.Descriptor{}
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		id := d.Digest
		if store.WhyUnfit(*d) == "" {
			m, err := s.Manifest(*d)
			if err != nil {
				continue // a damaged image has no ID to be found by
			}
			id = m.Config.Digest
		}
		if strings.HasPrefix(id.Encoded(), hex) || len(hex) == 64 && d.Digest.Encoded() == hex {
			found[id] = d
		}
	}
	if len(found) > 1 {
		return nil, errs.Hint(fmt.Errorf("%s is the beginning of %d image IDs", hex, len(found)), "give more digits, see tiffin images --no-trunc")
	}
	for _, d := range found {
		return d, nil
	}
	return nil, nil
}

// notFound says that there is no such image, and what was perhaps meant.
func (s *Store) notFound(ix *store.Index, ref string) error {
	err := fmt.Errorf("%w: %s", ErrNotFound, ref)
	best, dist := "", 3
	for _, d := range ix.Manifests {
		r, ok := store.NameOf(d)
		if !ok {
			continue
		}
		for _, name := range []string{r.Familiar(), r.FamiliarName()} {
			if n := editDistance(name, ref); n < dist {
				best, dist = r.Familiar(), n
			}
		}
		if r.FamiliarName() == ref && best == "" {
			best = r.Familiar() // the repository is there, with another tag
		}
	}
	if best != "" {
		return errs.Hint(err, fmt.Sprintf("did you mean %s? tiffin images lists what is there", best))
	}
	return errs.Hint(err, "tiffin images lists what is there; tiffin pull fetches from a registry, tiffin load -i FILE takes what docker save or podman save wrote")
}

// editDistance is Levenshtein's, for names short enough to be typed.
func editDistance(a, b string) int {
	if len(a) > 255 || len(b) > 255 {
		return 255
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diag+cost)
		}
	}
	return row[len(b)]
}

// image reads what the descriptor leads to.
func (s *Store) image(ix *store.Index, d ocispec.Descriptor) (*Image, error) {
	if why := store.WhyUnfit(d); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrNoImage, why)
	}
	m, err := s.Manifest(d)
	if err != nil {
		return nil, err
	}
	b, err := s.ReadBlob(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	c, err := oci.ParseConfig(b, len(m.Layers))
	if err != nil {
		return nil, err
	}
	img := &Image{ID: m.Config.Digest, Manifest: m.Descriptor(), Config: c, Store: ix.From, Digests: map[string]digest.Digest{}}
	if c.Created != nil {
		img.Created = *c.Created
	}
	for i, l := range m.Layers {
		ly := oci.Layer{DiffID: c.RootFS.DiffIDs[i], Digest: l.Digest, Size: l.Size, MediaType: l.MediaType}
		img.Layers = append(img.Layers, ly)
		img.Size += s.layerSize(img, ly)
	}
	for _, other := range ix.Manifests {
		if r, ok := store.NameOf(other); ok && other.Digest == d.Digest {
			img.Digests[r.Familiar()] = store.Top(other)
		}
		img.Builtin = img.Builtin || other.Digest == d.Digest && other.Annotations[annotationBuiltin] != ""
	}
	img.Names = Familiar(ix.Names(d.Digest))
	sort.Strings(img.Names)
	return img, nil
}

// unfit describes something that is kept but cannot be run.
func (s *Store) unfit(ix *store.Index, d ocispec.Descriptor) *Image {
	img := &Image{ID: d.Digest, Manifest: d, Unfit: store.WhyUnfit(d), Names: Familiar(ix.Names(d.Digest)), Store: ix.From}
	sort.Strings(img.Names)
	if b, err := s.ReadBlob(d.Digest); err == nil {
		if m, err := oci.ParseDocument(b); err == nil {
			for _, part := range append(m.Layers, m.Config) {
				img.Size += part.Size
			}
		}
	}
	img.Manifest.Annotations = nil
	return img
}

// layerSize is the size of an image's layer uncompressed, if that is known. Of one that pull --lazy
// fetches it is that of the files in it.
func (s *Store) layerSize(img *Image, l oci.Layer) int64 {
	if img.lazy != nil {
		if st, err := os.Stat(img.lazy.path(l.DiffID, store.FlatName)); err == nil {
			return st.Size()
		}
	}
	if st, err := os.Stat(s.Find(s.FlatPath(l.DiffID))); err == nil {
		return st.Size()
	}
	return l.Size
}

// List returns all images, newest first, those of additional stores too, those that are still being
// pulled, and what else has been pushed here. Damaged ones are left out and named in the error,
// which may come together with a list.
func (s *Store) List() ([]*Image, error) {
	ix, err := s.ReadIndex()
	if err != nil {
		return nil, err
	}
	imgs, err := s.list(ix)
	imgs = append(imgs, s.listAdditional(ix)...)
	lazies, e := s.Lazies()
	err = errors.Join(err, e)
	for _, lz := range lazies {
		imgs = append(imgs, lz.Image)
	}
	slices.SortStableFunc(imgs, func(a, b *Image) int { return b.Created.Compare(a.Created) })
	return imgs, err
}

// list returns the images of an index.
func (s *Store) list(ix *store.Index) ([]*Image, error) {
	var imgs []*Image
	var damaged []error
	seen := map[digest.Digest]bool{}
	for _, d := range ix.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		img, err := s.image(ix, d)
		if errors.Is(err, ErrNoImage) {
			img, err = s.unfit(ix, d), nil
		}
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		imgs = append(imgs, img)
	}
	return imgs, errors.Join(damaged...)
}
