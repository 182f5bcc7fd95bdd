// A manifest that is pushed: what it names is checked, and becomes an image.

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/image/transfer"
)

// ErrNoBlob is wrapped by errors that say that a manifest names a blob that has
// not come.
var ErrNoBlob = errors.New("no such blob")

// accepting is one PutManifest.
type accepting struct {
	s        *image.Store
	st       *store.Staging
	ref      reference.Reference
	bytes    []byte
	m        *oci.Document
	taken    []digest.Digest // out of incoming/
	referred bool            // what it is about is noted already
}

// Accepted is a manifest that has been pushed here.
type Accepted struct {
	Digest  digest.Digest
	Subject digest.Digest   // of the manifest that it is about, or ""
	Taken   []digest.Digest // blobs that have waited for it
}

// PutManifest makes an image of what has been uploaded before, and gives it the
// name r. The image can be run when it returns, and survives a power cut. Errors
// wrap ErrRefused or ErrNoBlob if the manifest is what is wrong.
func PutManifest(ctx context.Context, s *image.Store, r reference.Reference, mediaType string, b []byte) (Accepted, error) {
	a := &accepting{s: s, ref: r, bytes: b}
	if err := a.check(mediaType); err != nil {
		return Accepted{}, err
	}
	got := Accepted{Digest: digest.FromBytes(b)}
	if a.m.Subject != nil {
		got.Subject = a.m.Subject.Digest
	}
	var err error
	if a.st, err = s.Stage(); err != nil {
		return got, err
	}
	defer a.st.Close()
	if a.m.Manifests != nil {
		err = a.index(got.Digest, mediaType)
	} else {
		err = a.image(ctx)
	}
	if err == nil && got.Subject != "" {
		err = a.refer(got)
	}
	if err != nil {
		return got, store.DiskError(err)
	}
	got.Taken = a.taken
	for _, d := range a.taken {
		// Gone at once, and deleted with the staging directory.
		os.Rename(s.Incoming(d, ""), a.st.Path(d.Encoded()))
	}
	return got, nil
}

// refer notes what a manifest that is in the store is about.
func (a *accepting) refer(got Accepted) error {
	release, err := a.s.Lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer release()
	if a.referred || !store.Readable(a.s.BlobPath(got.Digest)) {
		return nil // or somebody has deleted it since
	}
	return a.s.AddReferrer(got.Subject, got.Digest)
}

// check reads the manifest, and refuses what is not one.
func (a *accepting) check(mediaType string) error {
	var err error
	if a.m, err = oci.ParseDocument(a.bytes); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	d := a.m.Digest
	switch is := a.m.Type(); {
	case a.ref.Digest != "" && a.ref.Digest != d:
		return fmt.Errorf("%w: the manifest has digest %s instead of %s", ErrRefused, d, a.ref.Digest)
	case a.m.SchemaVersion != 2:
		return fmt.Errorf("%w: it is of schema %d, and has to be of schema 2", ErrRefused, a.m.SchemaVersion)
	case is == "":
		return fmt.Errorf("%w: it is neither an image's manifest nor an index of some", ErrRefused)
	case is != mediaType:
		return fmt.Errorf("%w: it is of type %s, and not %q as its sender says", ErrRefused, is, mediaType)
	case a.m.Subject != nil && !reference.ValidDigest(a.m.Subject.Digest):
		return fmt.Errorf("%w: its subject %q is no sha256 digest", ErrRefused, a.m.Subject.Digest)
	}
	return nil
}

// image adds an image with its layers.
func (a *accepting) image(ctx context.Context) error {
	m := &a.m.Manifest
	if err := a.m.CheckImage(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	config, err := hostedJSON(a.s, m.Config.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: config %s", ErrNoBlob, m.Config.Digest)
	} else if err != nil {
		return err
	}
	if err := isImage(m); err != nil {
		switch {
		case a.ref.Digest == "":
			return err
		case a.m.Subject != nil:
			return a.artifact()
		}
		return a.attachment() // the index that it belongs to is to come
	}
	img, err := transfer.NewImage(a.m, config)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	img.Names = []reference.Reference{a.ref}
	for _, l := range img.Layers {
		err := a.layer(ctx, l)
		for try := 0; errors.Is(err, errMoved) && try < 3; try++ {
			err = a.layer(ctx, l)
		}
		if err != nil {
			return err
		}
	}
	a.taken = append(a.taken, m.Config.Digest)
	_, err = transfer.Finish(a.s, a.st, img)
	return err
}

// isImage refuses what is kept in registries beside images.
func isImage(m *ocispec.Manifest) error {
	if t := m.Config.MediaType; !oci.IsImageConfig(t) {
		return fmt.Errorf("%w: its config is of type %q: only images are kept here", ErrRefused, t)
	}
	for _, l := range m.Layers {
		if err := oci.CheckLayer(l); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	return nil
}

// errMoved says that another manifest has just taken a layer into the store.
var errMoved = errors.New("it is being moved")

// layer stages a layer that has come or that is here already. That the blob inflates to what the
// config says is known in both cases, or is found out.
func (a *accepting) layer(ctx context.Context, l oci.Layer) error {
	blob := a.s.Incoming(l.Digest, store.IncomingBlob)
	st, err := os.Stat(blob)
	fresh := err == nil
	if !fresh {
		if st, err = os.Stat(a.s.FindBlob(l.Digest)); err != nil {
			return fmt.Errorf("%w: layer %s", ErrNoBlob, l.Digest)
		}
	}
	switch {
	case st.Size() != l.Size:
		return fmt.Errorf("%w: layer %s has %d bytes, not %d", ErrRefused, l.Digest, st.Size(), l.Size)
	case fresh:
		return a.incoming(l)
	case a.s.Inflates(l) && a.s.IsDerived(l.DiffID):
		return a.s.Pin(a.st, l)
	}
	return a.inflate(ctx, l)
}

// incoming stages a layer that has come.
func (a *accepting) incoming(l oci.Layer) error {
	blob := a.s.Incoming(l.Digest, store.IncomingBlob)
	b, err := os.ReadFile(a.s.Incoming(l.Digest, store.IncomingDiffID))
	switch {
	case !store.Readable(blob):
		return fmt.Errorf("layer %s: %w", l.Digest, errMoved)
	case err != nil:
		return fmt.Errorf("%w: layer %s is no tarball, neither as it is nor uncompressed with gzip or zstd", ErrRefused, l.Digest)
	case digest.Digest(b) != l.DiffID:
		return fmt.Errorf("%w: layer %s is not the one that the config names: uncompressed it has digest %s, not %s", ErrRefused, l.Digest, b, l.DiffID)
	}
	if err := store.LinkOrCopy(blob, a.st.BlobPath(l.Digest)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("layer %s: %w", l.Digest, errMoved)
	} else if err != nil {
		return fmt.Errorf("store layer %s: %w", l.Digest, err)
	}
	a.taken = append(a.taken, l.Digest)
	for _, name := range store.DerivedNames {
		to, err := a.st.LayerFile(l.DiffID, name)
		if err != nil {
			return err
		}
		if err := store.LinkOrCopy(a.s.Incoming(l.Digest, name), to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("store layer %s: %w", l.Digest, err)
		}
	}
	return a.st.NoteInflates(l)
}

// inflate stages a layer of the store whose content is not known.
func (a *accepting) inflate(ctx context.Context, l oci.Layer) error {
	if err := a.s.TakeBlob(a.st, l.Digest); err != nil {
		return fmt.Errorf("store layer %s: %w", l.Digest, err)
	}
	f, err := os.Open(a.st.BlobPath(l.Digest))
	if err != nil {
		return fmt.Errorf("%w: layer %s", ErrNoBlob, l.Digest)
	}
	defer f.Close()
	if _, err := ingest.Layer(ctx, a.st, f, oci.Layer{DiffID: l.DiffID, Digest: l.Digest}, ingest.Options{}); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// attachment keeps a manifest that is no image until the index comes that it
// belongs to: buildkit puts what it attests beside the images that it builds.
func (a *accepting) attachment() error {
	for _, d := range a.m.Layers {
		if err := a.present(d); err != nil {
			return err
		}
	}
	d, err := a.st.PutBlob(a.bytes)
	if err != nil {
		return err
	}
	return a.st.KeepIncoming(oci.Layer{Digest: d})
}

// present checks that a blob is here, in the size that its descriptor says.
func (a *accepting) present(d ocispec.Descriptor) error {
	f, err := OpenBlob(a.s, d.Digest)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrNoBlob, d.Digest)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != d.Size {
		return fmt.Errorf("%w: %s does not have %d bytes", ErrRefused, d.Digest, d.Size)
	}
	return nil
}

// index adds an index whose manifests are all here. They are part of it from
// now on and lose the names that they had by digest.
func (a *accepting) index(d digest.Digest, mediaType string) error {
	top := ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(a.bytes))}
	if err := a.leadsToImage(top); err != nil {
		return err
	}
	for _, sub := range a.m.Manifests {
		if err := a.present(sub); err != nil {
			return err
		}
		b, err := hostedJSON(a.s, sub.Digest)
		if err != nil {
			return err
		}
		if m, err := oci.ParseDocument(b); err != nil || m.Type() != sub.MediaType {
			return fmt.Errorf("%w: %s is not of type %s", ErrRefused, sub.Digest, sub.MediaType)
		}
		if err := a.take(sub.Digest, b); err != nil {
			return err
		}
	}
	if _, err := a.st.PutBlob(a.bytes); err != nil {
		return err
	}
	return a.s.Publish(a.st, func(ix *store.Index) error {
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(m ocispec.Descriptor) bool {
			r, named := store.NameOf(m)
			mine := !named || r.Name() == a.ref.Name() && r.Tag == ""
			return mine && slices.ContainsFunc(a.m.Manifests, func(sub ocispec.Descriptor) bool { return sub.Digest == m.Digest })
		})
		ix.Set(a.ref, top, nil)
		return nil
	})
}

// leadsToImage checks that an index is good for something on some machine.
func (a *accepting) leadsToImage(top ocispec.Descriptor) error {
	m, err := oci.Follow(top, oci.ThisMachine().Prefer, func(d ocispec.Descriptor) ([]byte, error) {
		if d.Digest == top.Digest {
			return a.bytes, nil
		}
		if err := a.present(d); err != nil {
			return nil, err
		}
		return hostedJSON(a.s, d.Digest)
	})
	switch {
	case errors.Is(err, ErrNoBlob), errors.Is(err, ErrRefused):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return isImage(&m.Manifest)
}

// take stages a manifest that an index names, and if it waits in incoming/ what
// it names itself. What is in the store already is only held on to.
func (a *accepting) take(d digest.Digest, manifest []byte) error {
	if _, err := os.Stat(a.s.Incoming(d, store.IncomingBlob)); err == nil && manifest != nil {
		m, err := oci.ParseDocument(manifest)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		for _, l := range append(m.Layers, m.Config) {
			if !reference.ValidDigest(l.Digest) {
				return fmt.Errorf("%w: manifest %s: %q is no sha256 digest", ErrRefused, d, l.Digest)
			}
			if err := a.take(l.Digest, nil); err != nil {
				return err
			}
		}
	}
	if store.LinkOrCopy(a.s.Incoming(d, store.IncomingBlob), a.st.BlobPath(d)) == nil {
		a.taken = append(a.taken, d)
		return nil
	}
	if err := a.s.TakeBlob(a.st, d); err != nil {
		return fmt.Errorf("%w: %s", ErrNoBlob, d)
	}
	return nil
}
