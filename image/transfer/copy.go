// From one place to another, in which the store is one of several.

package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// An image goes from one place to another as a Pushable: from a registry
// (FromRegistry), an archive or layout (FromFile) or the store, into the store
// (Take), an archive (WriteArchive), a layout (WriteLayout) or, by package
// registry, a registry. Each blob streams, and each is hashed on the way; none
// is packed anew, so all digests stay. A docker-archive has no manifest: it gets
// one, always the same.

// FromRegistry is an image of a registry, for a platform or, if that is nil,
// for this machine.
func FromRegistry(ctx context.Context, from Source, r reference.Reference, asked *oci.Platform) (*Image, error) {
	platform := oci.ThisMachine()
	if asked != nil {
		platform = *asked
	}
	m, err := (&pulling{from: from}).manifest(ctx, r.Stored(), platform)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", r.Familiar(), err)
	}
	p, err := newPushable(m.Bytes, func(d ocispec.Descriptor) (io.ReadCloser, error) {
		return newDownload(ctx, from, d, nil), nil
	})
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", r.Familiar(), err)
	}
	return p.checked()
}

// FromFile is the image of that name in an archive or OCI layout. Without a
// name it has to be the only one.
func FromFile(ctx context.Context, s *image.Store, file, name string, p ingest.Progress) (*Image, error) {
	st, err := s.Stage() // an archive compressed as a whole is unpacked there
	if err != nil {
		return nil, err
	}
	pushable, src, err := pushableIn(ctx, st, file, name, p)
	if err != nil {
		if src != nil {
			src.Close()
		}
		st.Close()
		return nil, fmt.Errorf("copy %s: %w", file, unpath(err))
	}
	pushable.close = func() { src.Close(); st.Close() }
	return pushable, nil
}

func pushableIn(ctx context.Context, st *store.Staging, file, name string, p ingest.Progress) (*Image, source, error) {
	src, err := openSource(ctx, st, file, nil, p)
	if err != nil {
		return nil, nil, err
	}
	imgs, err := describeSource(src)
	if err != nil {
		return nil, src, err
	}
	img, err := chooseNamed(imgs, name)
	if err != nil {
		return nil, src, err
	}
	files := map[digest.Digest]string{} // of the layers of a docker-archive
	id := digest.FromBytes(img.Config)
	if img.Manifest == nil {
		for _, l := range img.Layers {
			if l.Got, err = hashLayer(src, l); err != nil {
				return nil, src, err
			}
			files[l.Got.Digest] = l.file
		}
		if img.Manifest, err = img.makeManifest(); err != nil {
			return nil, src, err
		}
	}
	pushable, err := newPushable(img.Manifest, func(d ocispec.Descriptor) (io.ReadCloser, error) {
		if d.Digest == id {
			return io.NopCloser(bytes.NewReader(img.Config)), nil
		}
		file := files[d.Digest]
		if file == "" {
			file = blobName(d.Digest)
		}
		r, _, err := src.open(file)
		return r, err
	})
	return pushable, src, err
}

// chooseNamed finds the image with a name.
func chooseNamed(imgs []*Incoming, name string) (*Incoming, error) {
	var names []string
	for _, img := range imgs {
		for _, r := range img.Names {
			if w, err := reference.Parse(name); err == nil && w == r {
				return img, nil
			}
			names = append(names, r.Familiar())
		}
	}
	switch {
	case name != "":
		return nil, fmt.Errorf("there is no %s in it, only: %s", name, strings.Join(names, ", "))
	case len(imgs) > 1:
		return nil, errs.Hint(fmt.Errorf("there are %d images in it: %s", len(imgs), strings.Join(names, ", ")), "say which one, as in oci-archive:FILE:NAME")
	}
	return imgs[0], nil
}

// hashLayer finds out what a manifest has to say about a layer of a docker-archive.
func hashLayer(src source, l *IncomingLayer) (oci.Layer, error) {
	r, size, err := src.open(l.file)
	if err != nil {
		return oci.Layer{}, fmt.Errorf("layer %s: %w", l.file, err)
	}
	defer r.Close()
	var start [ingest.SniffLen]byte
	n, err := ingest.Fill(r, start[:])
	if err != nil && err != io.EOF {
		return oci.Layer{}, fmt.Errorf("layer %s: %w", l.file, err)
	}
	kind, err := ingest.Sniff(start[:n])
	if err != nil {
		return oci.Layer{}, fmt.Errorf("layer %s: %w", l.file, err)
	}
	h := sha256.New()
	h.Write(start[:n])
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, ingest.ChunkSize)); err != nil {
		return oci.Layer{}, fmt.Errorf("layer %s: %w", l.file, err)
	}
	got := oci.Layer{DiffID: l.Want.DiffID, Digest: digest.NewDigest(digest.SHA256, h), Size: size, MediaType: ingest.MediaType(kind)}
	if kind == ingest.Plain && got.Digest != got.DiffID {
		return got, fmt.Errorf("layer %s is %w: its content has digest %s instead of %s", l.file, oci.ErrDamaged, got.Digest, got.DiffID)
	}
	return got, nil
}

// Take brings an image from somewhere else into the store, under a name.
func Take(ctx context.Context, s *image.Store, src *Image, r reference.Reference, p ingest.Progress) (*Pulled, error) {
	return Pull(ctx, s, handed{src}, r, nil, p)
}

// handed lets a Pushable be pulled.
type handed struct{ src *Image }

func (h handed) Manifest(context.Context, string) (string, []byte, error) {
	return h.src.Manifest.MediaType, h.src.Bytes, nil
}

func (h handed) Blob(_ context.Context, d ocispec.Descriptor, from Position) (io.ReadCloser, string, error) {
	r, err := h.src.Open(d)
	if err != nil {
		return nil, "", err
	}
	// What an interrupted copy has left is not asked for again; it has to pass
	// by all the same, to be hashed.
	if _, err := io.CopyN(io.Discard, r, from.Offset); err != nil {
		r.Close()
		return nil, "", err
	}
	return r, "", nil
}

// WriteArchive writes an image to an archive such as Save writes.
func WriteArchive(ctx context.Context, w io.Writer, src *Image, name *reference.Reference, p ingest.Progress) error {
	a := newSaving()
	a.image(src, name)
	return a.write(ctx, w, p)
}

// WriteLayout adds an image to the OCI layout in a directory, which need not be
// there yet, and gives it a name, if that is not "". OCI image-spec v1.1
// image-layout.md. The order is that of the store: blobs, then index.json.
func WriteLayout(ctx context.Context, dir, name string, src *Image, p ingest.Progress) error {
	if err := writeLayout(ctx, dir, name, src, p); err != nil {
		return store.DiskError(fmt.Errorf("write the layout %s: %w", dir, err))
	}
	return nil
}

func writeLayout(ctx context.Context, dir, name string, src *Image, p ingest.Progress) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	b, err := oci.ReadFile(filepath.Join(dir, "index.json"), oci.MaxJSON)
	if err == nil {
		err = oci.Unmarshal(b, &ix)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	for _, d := range src.Blobs {
		if err := layoutBlob(ctx, filepath.Join(blobs, d.Digest.Encoded()), d, src, p); err != nil {
			return err
		}
	}
	d := src.Manifest
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(o ocispec.Descriptor) bool {
		old := o.Annotations[ocispec.AnnotationRefName]
		return name != "" && old == name || old == "" && o.Digest == d.Digest
	})
	if name != "" {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	}
	ix.Manifests = append(ix.Manifests, d)
	if b, err = json.Marshal(ix); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{{filepath.Join("blobs", "sha256", d.Digest.Encoded()), src.Bytes}, {"oci-layout", []byte(store.LayoutMarker)}, {"index.json", b}} {
		if err := replaceFile(filepath.Join(dir, f.name), func(w io.Writer) error { _, err := w.Write(f.b); return err }); err != nil {
			return err
		}
	}
	return nil
}

// layoutBlob writes one blob, unless it is there.
func layoutBlob(ctx context.Context, path string, d ocispec.Descriptor, src *Image, p ingest.Progress) error {
	if f, err := os.Open(path); err == nil {
		got, err := store.HashFile(f)
		f.Close()
		if err == nil && got == d.Digest {
			return nil
		}
	}
	r, err := src.Open(d)
	if err != nil {
		return err
	}
	defer r.Close()
	add, done := ingest.Start(p, reference.Short(d.Digest), d.Size)
	defer done()
	return replaceFile(path, func(w io.Writer) error { return ingest.Copy(ctx, w, r, add) })
}

// replaceFile writes a file that appears complete or not at all.
func replaceFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // no longer there if all went well
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
