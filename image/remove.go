// Tag gives an image a name, Remove takes one away, and Prune deletes images without one.

package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Tag gives the image src the further name dst; another image loses it.
func (s *Store) Tag(src, dst string) error {
	r, err := reference.ParseTag(dst)
	if err != nil {
		return err
	}
	if _, err := s.ResolveLazy(src); err != nil && !errors.Is(err, ErrNoImage) { // makes a built-in one
		return err
	}
	if err = s.tag(src, r); errors.Is(err, ErrNotFound) {
		if _, _, d := s.lookupAdditional(src); d != nil {
			return s.tagAdditional(*d, r)
		}
	}
	return err
}

func (s *Store) tag(src string, r reference.Reference) error {
	ix, release, err := s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	d, err := s.lookup(ix, src)
	if lz := s.LazyOf(src); lz != nil && (err != nil || d.Digest != lz.Document.Digest) {
		return s.tagLazy(ix, lz, r)
	}
	if err != nil {
		return err
	}
	ix.Set(r, store.Nameless(*d), nil)
	if err := s.WriteIndex(ix); err != nil {
		return err
	}
	return s.TakeLazyName(r, "")
}

// tagAdditional gives an image of an additional store a name here.
func (s *Store) tagAdditional(d ocispec.Descriptor, r reference.Reference) error {
	st, err := s.Stage()
	if err != nil {
		return err
	}
	defer st.Close()
	if err := s.adopt(st, d); err != nil {
		return err
	}
	return s.Publish(st, func(ix *store.Index) error {
		ix.Set(r, store.Nameless(d), nil)
		return nil
	})
}

// KeepDocument gives the name r to a manifest or index that cannot be run; why is the reason. The
// image that had that name is deleted, unless it has another.
func (s *Store) KeepDocument(r reference.Reference, b []byte, why error) error {
	m, err := oci.ParseDocument(b)
	if err != nil {
		return err
	}
	st, err := s.Stage()
	if err != nil {
		return err
	}
	defer st.Close()
	if _, err := st.PutBlob(b); err != nil {
		return err
	}
	var gone []ocispec.Descriptor
	err = s.Publish(st, func(ix *store.Index) error {
		old := ocispec.Descriptor{}
		if d := ix.Find(r); d != nil {
			old = store.Nameless(*d)
		}
		ix.Set(r, store.Unfit(m.Descriptor(), why), nil)
		if store.WhyUnfit(old) != "" && len(ix.Names(old.Digest)) == 0 {
			ix.Drop(old)
			gone = append(gone, old)
		}
		return nil
	})
	s.Discard(gone)
	return err
}

// Remove takes a name off its image, and deletes the image if that was the
// last one. ref may also be an ID: then all its names go, if force is set or
// there is at most one. An image that a container or a build needs is refused (ErrInUse);
// with force it only loses its names.
func (s *Store) Remove(ref string, force bool) (done []Removed, err error) {
	ix, release, err := s.LockIndex()
	if err != nil {
		return nil, err
	}
	defer release()
	if lz := s.LazyOf(ref); lz != nil {
		return s.removeLazy(ix, lz, ref, force)
	}
	d, err := s.lookup(ix, ref)
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if in, _, _ := s.lookupAdditional(ref); in != nil {
			err = fmt.Errorf("image %s is in %s: nothing is removed from a store that TIFFIN_IMAGE_PATH names", ref, in.Root())
		}
		return nil, err
	}
	names := ix.Names(d.Digest)
	if r, err := reference.Parse(ref); err == nil && ix.FindAny(r) == d && len(names) > 1 {
		name, _ := store.NameOf(*d)
		ix.Unset(name)
		if err := s.WriteIndex(ix); err != nil {
			return nil, err
		}
		return []Removed{{Untagged: name.Familiar()}}, s.TakeLazyName(name, "")
	} else if len(names) > 1 && !force {
		return nil, manyNames(ref, Familiar(names))
	}
	gone := store.Nameless(*d)
	id, user, err := s.used(gone)
	switch {
	case err != nil:
		return nil, err
	case user == byBuild && !force:
		return nil, errs.Hint(fmt.Errorf("%w by a build that stands on %s", ErrInUse, ref), "wait for its end, or take only the name away with rmi -f")
	case user != "" && !force:
		return nil, needed(ref)
	}
	for _, n := range names {
		done = append(done, Removed{Untagged: n.Familiar()})
	}
	ix.Drop(gone)
	if user != "" {
		ix.Add(gone)
	}
	if err := s.WriteIndex(ix); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := s.TakeLazyName(n, ""); err != nil {
			return done, err
		}
	}
	if user != "" {
		return done, nil
	}
	freed, err := s.collectOf(ix, []ocispec.Descriptor{gone})
	if id != "" {
		done = append(done, Removed{Deleted: id})
	}
	for _, l := range freed.layers {
		done = append(done, Removed{Deleted: l})
	}
	return done, err
}

func Familiar(rs []reference.Reference) (names []string) {
	for _, r := range rs {
		names = append(names, r.Familiar())
	}
	return names
}

func manyNames(ref string, names []string) error {
	return errs.Hint(fmt.Errorf("image %s has %d names: %s", ref, len(names), strings.Join(names, ", ")),
		"remove them one by one, or all with rmi -f")
}

func needed(ref string) error {
	return errs.Hint(fmt.Errorf("%w: a container was made from %s", ErrInUse, ref),
		"see tiffin ps -a; remove the container first, or take only the name away with rmi -f")
}

// Who needs an image.
const (
	byContainer = "container"
	byBuild     = "build"
)

// used reports who needs the image, "" if nobody does, and the image's ID. An image that is too
// damaged to have an ID counts as unused, since it could not run.
func (s *Store) used(d ocispec.Descriptor) (id digest.Digest, user string, err error) {
	if store.WhyUnfit(d) != "" {
		return d.Digest, "", nil
	}
	m, err := s.Manifest(d)
	if err != nil {
		return "", "", nil
	}
	builds, _, err := s.standing()
	if err != nil {
		return "", "", err
	}
	id = m.Config.Digest
	if slices.ContainsFunc(builds, func(b stood) bool { return b.Image == id }) {
		return id, byBuild, nil
	}
	used, err := s.usedByContainer(id)
	if err != nil {
		return "", "", err
	}
	if used {
		user = byContainer
	}
	return id, user, nil
}

func (s *Store) usedByContainer(id digest.Digest) (bool, error) {
	if s.Uses == nil {
		return false, nil
	}
	all, err := s.Uses()
	if err != nil {
		return false, fmt.Errorf("find out which images containers need: %w", err)
	}
	return all[id], nil
}

// Pruned says what Prune did.
type Pruned struct {
	Removed   []Removed
	Reclaimed int64 // bytes of disk
}

// Prune deletes images without a name (with all: every image) unless a container or a build needs
// them, and the files of the store that belong to no image. It spares the images for which keep, if
// not nil, returns true.
func (s *Store) Prune(all bool, keep func(*Image) bool) (Pruned, error) {
	var p Pruned
	ix, release, err := s.LockIndex()
	if err != nil {
		return p, err
	}
	defer release()
	if err := s.pruneLazies(ix, &p, all, keep); err != nil {
		return p, err
	}
	var seen []digest.Digest
	var gone []ocispec.Descriptor
	for _, d := range slices.Clone(ix.Manifests) {
		if slices.Contains(seen, d.Digest) {
			continue
		}
		seen = append(seen, d.Digest)
		names := ix.Names(d.Digest)
		id, user, err := s.used(d)
		if err != nil {
			return p, err
		}
		if user != "" || id == "" || len(names) > 0 && !all {
			continue
		}
		if img, err := s.image(ix, d); keep != nil && (err != nil || keep(img)) {
			continue
		}
		for _, n := range names {
			p.Removed = append(p.Removed, Removed{Untagged: n.Familiar()})
		}
		p.Removed = append(p.Removed, Removed{Deleted: id})
		ix.Drop(d)
		gone = append(gone, store.Nameless(d))
	}
	if err := s.WriteIndex(ix); err != nil {
		return Pruned{}, err
	}
	theirs, err := s.collectOf(ix, gone) // what is about an image goes with it
	if err != nil {
		return p, err
	}
	rest, err := s.collect(ix, nil)
	for _, l := range append(theirs.layers, rest.layers...) {
		p.Removed = append(p.Removed, Removed{Deleted: l})
	}
	p.Reclaimed += theirs.bytes + rest.bytes + s.SweepPartials(0) + s.SweepIncoming()
	return p, err
}
