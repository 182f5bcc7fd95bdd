// Images of additional stores: found, listed and named as if they were here, and never changed.

package image

import (
	"fmt"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/store"
)

// resolveAdditional is Resolve in the additional stores.
func (s *Store) resolveAdditional(ref string) (*Image, error) {
	_, ix, d := s.lookupAdditional(ref)
	if d == nil {
		return nil, nil
	}
	return s.image(ix, *d)
}

// lookupAdditional is lookup in the additional stores; d is nil if none has it.
func (s *Store) lookupAdditional(ref string) (in *store.Store, ix *store.Index, d *ocispec.Descriptor) {
	for _, o := range s.Additional() {
		ix, err := o.ReadIndex()
		if err != nil {
			s.Report(err)
			continue
		}
		ix.From = o.Root()
		if d, err := s.lookup(ix, ref); err == nil {
			return o, ix, d
		}
	}
	return nil, nil, nil
}

// listAdditional lists the images with a name in additional stores, without the names
// that stand for an image here or in an earlier additional store.
func (s *Store) listAdditional(own *store.Index) (imgs []*Image) {
	taken := map[string]bool{}
	for _, d := range own.Manifests {
		if r, ok := store.NameOf(d); ok {
			taken[r.Familiar()] = true
		}
	}
	for _, o := range s.Additional() {
		ix, err := o.ReadIndex()
		if err != nil {
			s.Report(err)
			continue
		}
		ix.From = o.Root()
		theirs, err := s.list(ix)
		if err != nil {
			s.Report(fmt.Errorf("%s: %w", o.Root(), err))
		}
		for _, img := range theirs {
			img.Names = slices.DeleteFunc(img.Names, func(n string) bool { return taken[n] })
			if len(img.Names) > 0 {
				imgs = append(imgs, img)
			}
		}
		for _, img := range theirs {
			for _, n := range img.Names {
				taken[n] = true
			}
		}
	}
	return imgs
}

// adopt stages the small blobs of an image in an additional store that gets a name here: so an
// image that the own index names can be listed without that store.
func (s *Store) adopt(st *store.Staging, d ocispec.Descriptor) error {
	m, err := s.Manifest(d)
	if err != nil {
		return err
	}
	for _, d := range []digest.Digest{store.Top(d), d.Digest, m.Digest, m.Config.Digest} {
		b, err := s.ReadBlob(d)
		if err != nil {
			return err
		}
		if _, err := st.PutBlob(b); err != nil {
			return err
		}
	}
	return nil
}
