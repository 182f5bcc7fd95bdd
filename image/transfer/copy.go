// Images are copied from one place to another; the store may be one of the two, or neither.

package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// FromFile is the image of that name in an archive or OCI layout. Without a
// name it has to be the only one.
func FromFile(ctx context.Context, s *image.Store, file, name string, p ingest.Progress) (*Image, error) {
	return findInFile(ctx, s, file, p, func(in files) (*Image, error) {
		imgs, err := describe(ctx, in, name)
		if err != nil {
			return nil, err
		}
		return chooseNamed(imgs, name)
	})
}

// findInFile opens an archive or OCI layout for the image that find chooses there.
func findInFile(ctx context.Context, s *image.Store, file string, p ingest.Progress, find func(in files) (*Image, error)) (img *Image, err error) {
	st, err := s.Stage() // an archive compressed as a whole is unpacked there
	if err != nil {
		return nil, err
	}
	in, err := openFiles(ctx, st, file, nil, p)
	if err == nil {
		if img, err = find(in); err != nil {
			in.Close()
		}
	}
	if err != nil {
		st.Close()
		return nil, fmt.Errorf("copy %s: %w", file, unpath(err))
	}
	img.close = func() { in.Close(); st.Close() }
	return img, nil
}

// chooseNamed finds the image with a name.
func chooseNamed(imgs []*Image, name string) (*Image, error) {
	var names []string
	for _, img := range imgs {
		if name != "" && slices.Contains(img.tags, name) {
			return img, nil
		}
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

// WriteArchive writes an image to an archive such as Save writes, with a name if that is not "".
func WriteArchive(ctx context.Context, w io.Writer, src *Image, name string, p ingest.Progress) error {
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
	for _, part := range src.all() {
		for _, d := range part.Blobs() {
			if err := layoutBlob(ctx, filepath.Join(blobs, d.Digest.Encoded()), d, part, p); err != nil {
				return err
			}
		}
		err := replaceFile(filepath.Join(blobs, part.Document.Digest.Encoded()), func(w io.Writer) error { _, err := w.Write(part.Document.Bytes); return err })
		if err != nil {
			return err
		}
	}
	d := src.Document.Descriptor()
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
	}{{"oci-layout", []byte(store.LayoutMarker)}, {"index.json", b}} {
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
	r, err := src.Open(ctx, d)
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
