package image

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sort"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/errs"
)

// Media types of docker's schema 2, which have the same fields as OCI's.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Resolve finds an image by what a person types: a name (NAME, NAME:TAG,
// NAME@DIGEST), a whole ID, or the beginning of one. A name wins over an ID
// that begins the same. A built-in image is made when it is first asked for.
// Errors wrap ErrNotFound or ErrDamaged.
func (s *Store) Resolve(ref string) (*Image, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	d, err := s.lookup(ix, ref)
	if b, ok := s.builtinFor(ref, d); ok {
		return s.materialise(b)
	}
	if errors.Is(err, ErrNotFound) {
		if img, ferr := s.resolveFurther(ref); img != nil || ferr != nil {
			return img, ferr
		}
	}
	if err != nil {
		return nil, err
	}
	return s.image(ix, *d)
}

// lookup finds the descriptor that ref means.
func (s *Store) lookup(ix *refIndex, ref string) (*ocispec.Descriptor, error) {
	r, nameErr := parseRef(ref)
	if nameErr == nil {
		if d := ix.findAny(r); d != nil {
			return d, nil
		}
	}
	if hex := strings.TrimPrefix(ref, "sha256:"); hex != "" && len(hex) <= 64 && isHex(hex) {
		d, err := s.lookupID(ix, hex)
		if d != nil || err != nil {
			return d, err
		}
	} else if nameErr != nil {
		_, err := ParseRef(ref)
		return nil, err
	}
	return nil, s.notFound(ix, ref)
}

// findAny is find, but a digest decides alone: NAME:TAG@DIGEST is the image of
// that repository with that digest, whatever the tag is today.
func (ix *refIndex) findAny(r Ref) *ocispec.Descriptor {
	if d := ix.find(r); d != nil || r.Digest == "" {
		return d
	}
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		// Or the digest is that of the index which a pull followed to it.
		if n, ok := descriptorName(*d); ok && n.Name() == r.Name() && (d.Digest == r.Digest || n.Digest == r.Digest) {
			return d
		}
	}
	return nil
}

// lookupID finds the one image whose ID, or else whose manifest digest, starts
// with the hexadecimal digits.
func (s *Store) lookupID(ix *refIndex, hex string) (*ocispec.Descriptor, error) {
	found := map[digest.Digest]*ocispec.Descriptor{}
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		m, _, err := s.manifest(*d)
		if err != nil {
			continue // a damaged image has no ID to be found by
		}
		if strings.HasPrefix(m.Config.Digest.Encoded(), hex) || len(hex) == 64 && d.Digest.Encoded() == hex {
			found[m.Config.Digest] = d
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
func (s *Store) notFound(ix *refIndex, ref string) error {
	err := fmt.Errorf("%w: %s", ErrNotFound, ref)
	best, dist := "", 3
	for _, d := range ix.Manifests {
		r, ok := descriptorName(d)
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

// readBlob reads a JSON blob and checks that its bytes have its digest.
func (s *Store) readBlob(d digest.Digest) ([]byte, error) {
	if !validDigest(d) {
		return nil, fmt.Errorf("%q is no sha256 digest", d)
	}
	b, err := readFileMax(s.findBlob(d), maxJSON)
	if errors.Is(err, os.ErrNotExist) {
		return nil, damagedBlob(d, "is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	if got := digest.FromBytes(b); got != d {
		return nil, damagedBlob(d, fmt.Sprintf("its content has digest %s", got))
	}
	return b, nil
}

func damagedBlob(d digest.Digest, why string) error {
	return errs.Hint(fmt.Errorf("blob %s is %w: %s", d, ErrDamaged, why), "load or pull the image again: that replaces the blob; if it was in another store, TIFFIN_IMAGE_PATH has to name that")
}

// manifest reads the manifest that d leads to: through an index, the one for
// this machine, or else the first, so that an image for other machines can be
// listed and handed on.
func (s *Store) manifest(d ocispec.Descriptor) (*ocispec.Manifest, ocispec.Descriptor, error) {
	return followManifest(d, true, func(d ocispec.Descriptor) ([]byte, error) { return s.readBlob(d.Digest) })
}

// followManifest reads blobs with read, from an index down to a manifest; foreign
// allows one for another machine.
func followManifest(d ocispec.Descriptor, foreign bool, read func(ocispec.Descriptor) ([]byte, error)) (*ocispec.Manifest, ocispec.Descriptor, error) {
	for range 4 { // an index in an index in an index is enough
		b, err := read(d)
		if err != nil {
			return nil, d, err
		}
		var both struct {
			ocispec.Manifest
			Manifests []ocispec.Descriptor `json:"manifests"`
		}
		if err := unmarshal(b, &both); err != nil {
			return nil, d, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if both.Manifests == nil {
			return &both.Manifest, d, checkManifest(d.Digest, &both.Manifest)
		}
		i := slices.IndexFunc(both.Manifests, forThisMachine)
		if i < 0 && foreign {
			i = slices.IndexFunc(both.Manifests, forSomeMachine)
		}
		if i < 0 {
			return nil, d, fmt.Errorf("image index %s has no image for linux/%s, only for %s", d.Digest, runtime.GOARCH, platforms(both.Manifests))
		}
		d = both.Manifests[i]
	}
	return nil, d, fmt.Errorf("image index %s: indexes nested too deeply", d.Digest)
}

func forThisMachine(d ocispec.Descriptor) bool {
	return d.Platform == nil || d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH
}

// forSomeMachine leaves out what is no image, such as buildkit's attestations.
func forSomeMachine(d ocispec.Descriptor) bool {
	return d.Platform == nil || d.Platform.OS != "unknown"
}

func platforms(ds []ocispec.Descriptor) string {
	var names []string
	for _, d := range ds {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			names = append(names, d.Platform.OS+"/"+d.Platform.Architecture)
		}
	}
	sort.Strings(names)
	if names = slices.Compact(names); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "nothing known"
}

// checkManifest refuses what is no image, and digests that are no file names.
func checkManifest(d digest.Digest, m *ocispec.Manifest) error {
	if !validDigest(m.Config.Digest) {
		return fmt.Errorf("manifest %s is not an image's: config digest %q", d, m.Config.Digest)
	}
	if m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest && m.MediaType != dockerManifest {
		return fmt.Errorf("manifest %s is of type %s, which is no image", d, m.MediaType)
	}
	if len(m.Layers) > maxLayers {
		return fmt.Errorf("manifest %s has %d layers, more than the %d allowed", d, len(m.Layers), maxLayers)
	}
	for _, l := range m.Layers {
		if !validDigest(l.Digest) {
			return fmt.Errorf("manifest %s: %q is no sha256 digest of a layer", d, l.Digest)
		}
	}
	return nil
}

// maxLayers is docker's limit on layers; the index numbers them in 16 bits.
const maxLayers = 1024

// parseConfig reads an image's config and checks it against its manifest.
func parseConfig(b []byte, m *ocispec.Manifest) (ocispec.Image, error) {
	var c ocispec.Image
	if err := unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("image config %s: %w", m.Config.Digest, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return c, fmt.Errorf("image config %s describes %d layers, but its manifest has %d", m.Config.Digest, len(c.RootFS.DiffIDs), len(m.Layers))
	}
	for _, d := range c.RootFS.DiffIDs {
		if !validDigest(d) {
			return c, fmt.Errorf("image config %s: %q is no sha256 digest of a layer", m.Config.Digest, d)
		}
	}
	return c, nil
}

// image reads what the descriptor leads to.
func (s *Store) image(ix *refIndex, d ocispec.Descriptor) (*Image, error) {
	m, md, err := s.manifest(d)
	if err != nil {
		return nil, err
	}
	b, err := s.readBlob(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(b, m)
	if err != nil {
		return nil, err
	}
	md.Annotations = nil
	img := &Image{ID: m.Config.Digest, Manifest: md, Config: c, Store: ix.from}
	if c.Created != nil {
		img.Created = *c.Created
	}
	for i, l := range m.Layers {
		ly := Layer{DiffID: c.RootFS.DiffIDs[i], Digest: l.Digest, Size: l.Size, MediaType: l.MediaType}
		img.Layers = append(img.Layers, ly)
		img.Size += s.layerSize(ly)
	}
	for _, other := range ix.Manifests {
		if r, ok := descriptorName(other); ok && other.Digest == d.Digest {
			img.Names = append(img.Names, r.Familiar())
			img.Builtin = img.Builtin || other.Annotations[annotationBuiltin] != ""
		}
	}
	sort.Strings(img.Names)
	return img, nil
}

// layerSize is the size of a layer uncompressed, if that is known.
func (s *Store) layerSize(l Layer) int64 {
	if st, err := os.Stat(s.find(s.flatPath(l.DiffID))); err == nil {
		return st.Size()
	}
	return l.Size
}

// List returns all images, newest first, those of further stores too. Damaged
// ones are left out and named in the error, which may come together with a list.
func (s *Store) List() ([]*Image, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	imgs, err := s.list(ix)
	imgs = append(imgs, s.listFurther(ix)...)
	slices.SortStableFunc(imgs, func(a, b *Image) int { return b.Created.Compare(a.Created) })
	return imgs, err
}

// list returns the images of an index.
func (s *Store) list(ix *refIndex) ([]*Image, error) {
	var imgs []*Image
	var damaged []error
	seen := map[digest.Digest]bool{}
	for _, d := range ix.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		img, err := s.image(ix, d)
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		imgs = append(imgs, img)
	}
	return imgs, errors.Join(damaged...)
}
