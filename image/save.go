package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerEntry is one image in manifest.json of a docker-archive.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Save writes images to one archive that is an OCI layout and a docker-archive
// at once, with the blobs as they are stored: docker, podman, skopeo, umoci and
// Load all read it. An image named by ID is saved without a name. The same
// images give the same bytes: entries are sorted and have no time. A blob whose
// bytes have changed since it was stored is refused (ErrDamaged).
func (s *Store) Save(ctx context.Context, w io.Writer, refs []string, p Progress) error {
	a := &saving{s: s, ix: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex},
		blobs: map[digest.Digest]int64{}}
	for _, ref := range refs {
		if err := a.image(ref); err != nil {
			return err
		}
	}
	return a.write(ctx, w, p)
}

// saving collects what goes into an archive.
type saving struct {
	s      *Store
	ix     ocispec.Index
	docker []dockerEntry
	blobs  map[digest.Digest]int64 // sizes in bytes
}

// image adds one image and the name that it was asked for by.
func (a *saving) image(ref string) error {
	img, err := a.s.Resolve(ref)
	if err != nil {
		return err
	}
	var name *Ref
	if r, err := parseRef(ref); err == nil && r.Digest == "" && slices.Contains(img.Names, r.Familiar()) {
		name = &r
	}
	m, _, err := a.s.manifest(img.Manifest)
	if err != nil {
		return err
	}
	a.blobs[img.Manifest.Digest] = img.Manifest.Size
	for _, d := range append(m.Layers, m.Config) {
		a.blobs[d.Digest] = d.Size
	}
	d := img.Manifest
	d.Annotations = nil
	if name != nil {
		d.Annotations = map[string]string{annotationRef: name.Familiar(), annotationContainerd: name.String()}
	}
	a.ix.Manifests = append(a.ix.Manifests, d)
	a.addDocker(img, m, name)
	return nil
}

// addDocker adds the image to manifest.json, once with all its names.
func (a *saving) addDocker(img *Image, m *ocispec.Manifest, name *Ref) {
	config := blobName(m.Config.Digest)
	i := slices.IndexFunc(a.docker, func(e dockerEntry) bool { return e.Config == config })
	if i < 0 {
		e := dockerEntry{Config: config, RepoTags: []string{}, Layers: []string{}}
		for _, l := range m.Layers {
			e.Layers = append(e.Layers, blobName(l.Digest))
		}
		a.docker = append(a.docker, e)
		i = len(a.docker) - 1
	}
	if name != nil {
		a.docker[i].RepoTags = append(a.docker[i].RepoTags, name.Familiar())
	}
}

// write writes the archive: the small files that say what is in it come last,
// as from `docker save`, except that directories come before what is in them.
func (a *saving) write(ctx context.Context, w io.Writer, p Progress) error {
	tw := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
	}
	var digests []digest.Digest
	var total int64
	for d, size := range a.blobs {
		digests = append(digests, d)
		total += size
	}
	slices.Sort(digests)
	add, done := start(p, "saving", total)
	defer done()
	for _, d := range digests {
		if err := a.blob(ctx, tw, d, add); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		v    any
	}{{"index.json", a.ix}, {"manifest.json", a.docker}, {"oci-layout", json.RawMessage(layoutMarker)}} {
		b, err := json.Marshal(f.v)
		if err == nil {
			err = writeEntry(tw, f.name, b)
		}
		if err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

// epoch is the time of every entry. The zero time.Time would come out the same,
// but says less.
var epoch = time.Unix(0, 0)

func writeEntry(tw *tar.Writer, name string, b []byte) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(b)), ModTime: epoch}); err != nil {
		return err
	}
	_, err := tw.Write(b)
	return err
}

// blob copies one blob and checks its digest on the way.
func (a *saving) blob(ctx context.Context, tw *tar.Writer, d digest.Digest, add func(int64)) error {
	f, err := os.Open(a.s.findBlob(d))
	if err != nil {
		return damagedBlob(d, "is missing")
	}
	defer f.Close()
	size := a.blobs[d]
	if st, err := f.Stat(); err != nil || st.Size() != size {
		return damagedBlob(d, fmt.Sprintf("it does not have the %d bytes that its manifest says", size))
	}
	err = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join("blobs/sha256", d.Encoded()), Mode: 0o644, Size: size, ModTime: epoch})
	h := sha256.New()
	buf := make([]byte, chunkSize)
	for err == nil {
		var n int
		n, rerr := fill(f, buf)
		h.Write(buf[:n])
		add(int64(n))
		if _, err = tw.Write(buf[:n]); err != nil {
			break
		}
		if rerr == io.EOF {
			if got := sum(h); got != d {
				return damagedBlob(d, fmt.Sprintf("its content has digest %s", got))
			}
			return nil
		}
		if err = rerr; ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return diskError(fmt.Errorf("write the archive: %w", err))
}
