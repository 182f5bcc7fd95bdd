// The image that is built into the program.

package image

import (
	"context"
	"fmt"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// The built-in image is made when it is first asked for, and again by a tiffin with another
// one. Its descriptor in index.json is annotated with the key of what it was made from, so that
// to see whether it is still right costs a comparison.
//
// The user may take the name: an image that was tagged or loaded as
// tiffin/base has no such annotation, is used as it is and is never replaced.
// After `rmi` of it the name stands for the built-in image again.

// annotationBuiltin marks the built-in base image in index.json with
// Store.BuiltinKey.
const annotationBuiltin = "tiffin.builtin"

// builtinImage is a built-in image that has to be made.
type builtinImage struct {
	ref    reference.Reference
	key    string
	layer  io.ReadCloser
	config ocispec.ImageConfig
}

// MakeBuiltin makes the built-in image for ref, which the index has as d. It is nil if there is
// none, or nothing to do.
func (s *Store) MakeBuiltin(ref string, d *ocispec.Descriptor) (*Image, error) {
	b, ok := s.builtinFor(ref, d)
	if !ok {
		return nil, nil
	}
	return s.materialise(b)
}

// builtinFor returns the image to make, or ok false.
func (s *Store) builtinFor(ref string, d *ocispec.Descriptor) (b builtinImage, ok bool) {
	if s.Builtin == nil || d != nil && d.Annotations[annotationBuiltin] == "" {
		return b, false
	}
	var err error
	if b.ref, err = reference.Parse(ref); err != nil || b.ref.Digest != "" {
		return b, false
	}
	b.key = s.BuiltinKey
	if d != nil && (b.key == "" || d.Annotations[annotationBuiltin] == b.key) || s.ReadOnly() {
		return b, false // an old one is better than none
	}
	b.layer, b.config, ok = s.Builtin(b.ref.Familiar())
	return b, ok
}

func (s *Store) materialise(b builtinImage) (*Image, error) {
	defer b.layer.Close()
	fail := func(err error) (*Image, error) {
		return nil, fmt.Errorf("make the built-in image %s: %w", b.ref.Familiar(), err)
	}
	st, err := s.Stage()
	if err != nil {
		return fail(err)
	}
	defer st.Close()
	l, err := ingest.Layer(context.Background(), st, b.layer, oci.Layer{}, ingest.Options{KeepBlob: true})
	if err != nil {
		return fail(err)
	}
	cfg := newConfig()
	cfg.Config = b.config
	cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.DiffID)
	// The time has to be there (umoci crashes without) and to be the same
	// wherever the same tiffin runs.
	created := time.Unix(0, 0).UTC()
	cfg.Created = &created
	cfg.History = []ocispec.History{{Created: &created, CreatedBy: "tiffin", Comment: "built into the tiffin binary"}}
	configJSON, err := encodeConfig(nil, cfg, cfg.Config, allKeys())
	if err != nil {
		return fail(err)
	}
	var old *ocispec.Descriptor
	img, err := s.finishImage(st, configJSON, []oci.Layer{l}, func(ix *store.Index, m ocispec.Descriptor) error {
		if d := ix.Find(b.ref); d != nil {
			if d.Annotations[annotationBuiltin] == "" {
				return nil // someone has just taken the name
			}
			if d.Digest != m.Digest {
				c := *d
				old = &c
			}
		}
		ix.Set(b.ref, m, map[string]string{annotationBuiltin: b.key})
		return nil
	})
	if err != nil {
		return fail(err)
	}
	if old == nil {
		return img, nil
	}
	// The image made with the previous key is removed. If that fails, prune tries again.
	if ix, release, err := s.LockIndex(); err == nil {
		defer release()
		s.DeleteUnnamed(ix, *old)
	}
	return img, nil
}
