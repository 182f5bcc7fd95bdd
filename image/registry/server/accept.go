// A manifest is pushed: all that it names has to be here, and an image can be run at once.

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

// errNoBlob is wrapped by errors that say that a manifest names a blob that has
// not come.
var errNoBlob = errors.New("no such blob")

// accepting is one PutManifest.
type accepting struct {
	s     *image.Store
	st    *store.Staging
	ref   reference.Reference
	m     *oci.Document
	taken []digest.Digest // out of incoming/
}

// accepted is a manifest that has been pushed here.
type accepted struct {
	Digest  digest.Digest
	Subject digest.Digest   // of the manifest that it is about, or ""
	Taken   []digest.Digest // blobs that have waited for it
}

// putManifest keeps a manifest or index whose blobs have all come, under the name r. An image can
// be run when putManifest returns. For anything else index.json says why it cannot be run, and
// `run` prints that. What is kept survives a power cut. Errors wrap errRefused or errNoBlob if the
// fault is the manifest's.
func putManifest(ctx context.Context, s *image.Store, r reference.Reference, mediaType string, b []byte) (accepted, error) {
	a := &accepting{s: s, ref: r}
	if err := a.check(mediaType, b); err != nil {
		return accepted{}, err
	}
	got := accepted{Digest: a.m.Digest}
	if a.m.Subject != nil {
		got.Subject = a.m.Subject.Digest
	}
	var err error
	if a.st, err = s.Stage(); err != nil {
		return got, err
	}
	defer a.st.Close()
	if err = a.present(); err == nil {
		err = a.keep(ctx)
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

// check reads the manifest, and refuses what is not one.
func (a *accepting) check(mediaType string, b []byte) error {
	var err error
	if a.m, err = oci.ParseDocument(b); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	switch is := a.m.Type(); {
	case a.ref.Digest != "" && a.ref.Digest != a.m.Digest:
		return fmt.Errorf("%w: the manifest has digest %s instead of %s", errRefused, a.m.Digest, a.ref.Digest)
	case a.m.SchemaVersion != 2:
		return fmt.Errorf("%w: it is of schema %d, and has to be of schema 2", errRefused, a.m.SchemaVersion)
	case is == "":
		return fmt.Errorf("%w: it is neither a manifest nor an index of some", errRefused)
	case is != mediaType:
		return fmt.Errorf("%w: it is of type %s, and not %q as its sender says", errRefused, is, mediaType)
	case a.m.Subject != nil && !reference.ValidDigest(a.m.Subject.Digest):
		return fmt.Errorf("%w: its subject %q is no sha256 digest", errRefused, a.m.Subject.Digest)
	}
	return nil
}

// present checks that all that the manifest names is here, with the sizes that it says, except
// layers that registries may not keep. OCI distribution-spec v1.1, "Pushing Manifests": "A registry
// MAY reject a manifest … if any of the referenced … do not exist".
func (a *accepting) present() error {
	all := a.m.Manifests
	if all == nil {
		all = append(slices.Clone(a.m.Layers), a.m.Config)
	}
	for _, d := range all {
		if !reference.ValidDigest(d.Digest) {
			return fmt.Errorf("%w: %q is no sha256 digest", errRefused, d.Digest)
		}
		f, err := openBlob(a.s, d.Digest)
		if err != nil && oci.IsForeign(d) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %s", errNoBlob, d.Digest)
		}
		st, err := f.Stat()
		f.Close()
		if err != nil || st.Size() != d.Size {
			return fmt.Errorf("%w: %s does not have %d bytes", errRefused, d.Digest, d.Size)
		}
	}
	return nil
}

// keep stages and publishes the manifest.
func (a *accepting) keep(ctx context.Context) error {
	m, err := a.m, error(nil)
	if a.m.Manifests != nil {
		m, err = a.index()
	}
	var img *transfer.Image
	if err == nil {
		img, err = a.image(ctx, m)
	}
	var why unfit
	if err != nil && !errors.As(err, &why) {
		return err
	}
	if err != nil || m != a.m {
		return a.publish(why.error)
	}
	a.taken = append(a.taken, m.Config.Digest)
	if _, err = transfer.Finish(a.s, a.st, img); err != nil || a.m.Subject == nil {
		return err
	}
	release, err := a.s.Lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer release()
	if !store.Readable(a.s.BlobPath(a.m.Digest)) {
		return nil // somebody has deleted it since
	}
	return a.refer()
}

// refer notes what the manifest is about. The caller has the lock.
func (a *accepting) refer() error {
	return a.s.AddReferrer(a.m.Subject.Digest, a.m.Digest, a.ref.Name())
}

// unfit says why something that is kept cannot be run.
type unfit struct{ error }

// image stages an image with its layers.
func (a *accepting) image(ctx context.Context, m *oci.Document) (*transfer.Image, error) {
	if err := m.CheckImage(); err != nil {
		return nil, unfit{err}
	}
	if t := m.Config.MediaType; !oci.IsImageConfig(t) {
		return nil, unfit{fmt.Errorf("its config is of type %s", t)}
	}
	config, err := hostedJSON(a.s, m.Config.Digest)
	if err != nil {
		return nil, unfit{err}
	}
	img, err := transfer.NewImage(m, config)
	if err != nil {
		return nil, unfit{err}
	}
	img.Names = []reference.Reference{a.ref}
	for i, l := range img.Layers {
		if err := oci.CheckLayer(m.Layers[i]); err != nil {
			return nil, unfit{err}
		}
		err := a.layer(ctx, l)
		for try := 0; errors.Is(err, errMoved) && try < 3; try++ {
			err = a.layer(ctx, l)
		}
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

// errMoved says that another manifest has just taken a layer into the store.
var errMoved = errors.New("it is being moved")

// layer stages a layer that has come or that another image has. Whether the blob inflates to what
// the config says was checked when it came, or is checked now.
func (a *accepting) layer(ctx context.Context, l oci.Layer) error {
	diffID, err := os.ReadFile(a.s.Incoming(l.Digest, store.IncomingDiffID))
	switch {
	case err == nil && digest.Digest(diffID) == l.DiffID:
		return a.fresh(l)
	case err == nil:
		return unfit{fmt.Errorf("layer %s is not the one that the config names: uncompressed it has digest %s, not %s", l.Digest, diffID, l.DiffID)}
	case store.Readable(a.s.Incoming(l.Digest, store.IncomingBlob)):
		return unfit{fmt.Errorf("layer %s is no tarball, neither as it is nor uncompressed with gzip or zstd", l.Digest)}
	case a.s.Inflates(l) && a.s.IsDerived(l.DiffID):
		return a.s.Pin(a.st, l)
	}
	return a.inflate(ctx, l)
}

// fresh stages a layer that has come, and what was made of it then.
func (a *accepting) fresh(l oci.Layer) error {
	if err := a.take(l.Digest); err != nil {
		return err
	}
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
	if err := a.take(l.Digest); err != nil {
		return err
	}
	f, err := os.Open(a.st.BlobPath(l.Digest))
	if err != nil {
		return fmt.Errorf("store layer %s: %w", l.Digest, err)
	}
	defer f.Close()
	if _, err := ingest.Layer(ctx, a.st, f, oci.Layer{DiffID: l.DiffID, Digest: l.Digest}, ingest.Options{}); store.NoSpace(err) {
		return err
	} else if err != nil {
		return unfit{err}
	}
	return nil
}

// take stages a blob: one that waits in incoming/, or one of the store, which is held on to.
func (a *accepting) take(d digest.Digest) error {
	if store.LinkOrCopy(a.s.Incoming(d, store.IncomingBlob), a.st.BlobPath(d)) == nil {
		a.taken = append(a.taken, d)
		return nil
	}
	if err := a.s.TakeBlob(a.st, d); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", d, errMoved)
	} else if err != nil {
		return fmt.Errorf("store blob %s: %w", d, err)
	}
	return nil
}

// index checks that the parts of an index are manifests, and returns the image that it leads to on
// this machine, or else another.
func (a *accepting) index() (*oci.Document, error) {
	for _, sub := range a.m.Manifests {
		b, err := a.s.ReadBlob(sub.Digest)
		if errors.Is(err, oci.ErrDamaged) { // pushed as a blob, it has not been looked into
			return nil, fmt.Errorf("%w: manifest %s", errNoBlob, sub.Digest)
		} else if err != nil {
			return nil, err
		}
		if m, err := oci.ParseDocument(b); err != nil || m.Type() != sub.MediaType {
			return nil, fmt.Errorf("%w: %s is not of type %s", errRefused, sub.Digest, sub.MediaType)
		}
	}
	m, err := oci.Follow(a.m.Descriptor(), oci.ThisMachine().Prefer, func(d ocispec.Descriptor) ([]byte, error) {
		if d.Digest == a.m.Digest {
			return a.m.Bytes, nil
		}
		return a.s.ReadBlob(d.Digest)
	})
	if err != nil {
		return nil, unfit{err}
	}
	return m, nil
}

// publish keeps a manifest as it is: an index, or something that cannot be run; why is the reason.
// A manifest with a subject and without a tag gets no name: it is found by its subject. The parts
// of an index belong to it from now on, and lose the names that they had by digest.
func (a *accepting) publish(why error) error {
	all := a.m.Manifests
	if all == nil {
		all = append(slices.Clone(a.m.Layers), a.m.Config)
	}
	for _, d := range all {
		if err := a.take(d.Digest); err != nil && !oci.IsForeign(d) {
			return err
		}
	}
	if _, err := a.st.PutBlob(a.m.Bytes); err != nil {
		return err
	}
	return a.s.Publish(a.st, func(ix *store.Index) error {
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(m ocispec.Descriptor) bool {
			r, named := store.NameOf(m)
			mine := !named || r.Name() == a.ref.Name() && r.Tag == ""
			return mine && slices.ContainsFunc(a.m.Manifests, func(sub ocispec.Descriptor) bool { return sub.Digest == m.Digest })
		})
		if why == nil || a.m.Subject == nil || a.ref.Digest == "" {
			ix.Set(a.ref, store.Unfit(a.m.Descriptor(), why), nil)
		}
		if a.m.Subject == nil {
			return nil
		}
		return a.refer() // before the lock is let go of: what nothing refers to is garbage
	})
}
