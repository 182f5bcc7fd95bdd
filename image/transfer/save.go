// Images are written to an archive that docker, podman and skopeo read.

package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/reference"
	"tiffin/image/store"
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
// bytes have changed since it was stored is refused (oci.ErrDamaged).
func Save(ctx context.Context, s *image.Store, w io.Writer, refs []string, p ingest.Progress) error {
	return save(ctx, s, w, refs, false, p)
}

// SaveAll is Save, but an index goes in with all that it lists.
func SaveAll(ctx context.Context, s *image.Store, w io.Writer, refs []string, p ingest.Progress) error {
	return save(ctx, s, w, refs, true, p)
}

func save(ctx context.Context, s *image.Store, w io.Writer, refs []string, whole bool, p ingest.Progress) error {
	a := newSaving()
	for _, ref := range refs {
		d, err := s.Descriptor(ref)
		if err != nil {
			return err
		}
		var p *Image
		if whole {
			p, err = WholeOfStore(ctx, s, ref)
		} else if img, ierr := s.Resolve(ref); ierr == nil {
			p, err = FromStore(s, img)
		} else {
			err = ierr
		}
		if err != nil {
			return err
		}
		name := ""
		is, ok := store.NameOf(d)
		if r, err := reference.Parse(ref); err == nil && ok && r == is && r.Digest == "" {
			name = r.Familiar()
		}
		a.image(p, name)
	}
	return a.write(ctx, w, p)
}

// saving collects what goes into an archive.
type saving struct {
	ix     ocispec.Index
	docker []dockerEntry
	blobs  map[digest.Digest]savedBlob
}

type savedBlob struct {
	d    ocispec.Descriptor
	open func(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
}

func newSaving() *saving {
	return &saving{ix: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex},
		blobs: map[digest.Digest]savedBlob{}}
}

// image adds one image and the name that it is to have, or "". As with skopeo, the name in the
// layout need not be a whole reference.
func (a *saving) image(p *Image, name string) {
	d := p.Document.Descriptor()
	for _, part := range p.all() {
		a.blobs[part.Document.Digest] = savedBlob{part.Document.Descriptor(), func(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(part.Document.Bytes)), nil
		}}
		for _, d := range part.Blobs() {
			a.blobs[d.Digest] = savedBlob{d, part.Open}
		}
	}
	r, err := reference.Parse(name)
	switch {
	case err == nil && r.Familiar() == name:
		d.Annotations = store.Annotations(r)
	case name != "":
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	}
	a.ix.Manifests = append(a.ix.Manifests, d)
	if here := p.here(); here != nil {
		a.addDocker(&here.Document.Manifest, r, err == nil)
	}
}

// addDocker adds the image to manifest.json, once with all its names.
func (a *saving) addDocker(m *ocispec.Manifest, name reference.Reference, named bool) {
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
	if named {
		a.docker[i].RepoTags = append(a.docker[i].RepoTags, name.Familiar())
	}
}

// write writes the archive: the small files that say what is in it come last,
// as from `docker save`, except that directories come before what is in them.
func (a *saving) write(ctx context.Context, w io.Writer, p ingest.Progress) error {
	tw := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
	}
	var digests []digest.Digest
	var total int64
	for d, b := range a.blobs {
		digests = append(digests, d)
		total += b.d.Size
	}
	slices.Sort(digests)
	add, done := ingest.Start(p, "saving", total)
	defer done()
	for _, d := range digests {
		if err := a.blobs[d].write(ctx, tw, add); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		v    any
	}{{"index.json", a.ix}, {"manifest.json", a.docker}, {"oci-layout", json.RawMessage(store.LayoutMarker)}} {
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

// write copies one blob; its reader checks its digest on the way.
func (b savedBlob) write(ctx context.Context, tw *tar.Writer, add func(int64)) error {
	r, err := b.open(ctx, b.d)
	if err != nil {
		return err
	}
	defer r.Close()
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join("blobs/sha256", b.d.Digest.Encoded()), Mode: 0o644, Size: b.d.Size, ModTime: epoch}
	if err := tw.WriteHeader(h); err != nil {
		return store.DiskError(fmt.Errorf("write the archive: %w", err))
	}
	if err := ingest.Copy(ctx, tw, r, add); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}
