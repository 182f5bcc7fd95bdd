// The names of images that are being pulled lazily: another one, and one less.

package image

import (
	"slices"

	"tiffin/image/reference"
	"tiffin/image/store"
)

// tagLazy gives an image that is being pulled the further name r, with which it will be whole. The
// image that has the name loses it now. The caller has the lock.
func (s *Store) tagLazy(ix *store.Index, lz *Lazy, r reference.Reference) error {
	if lz.Failed != "" {
		return s.Pulling(lz)
	}
	// Until the name is free, it still is the other image's: StillIts.
	lz.Names = append(withoutName(lz.Names, r), LazyName{Name: r.String()})
	if err := s.WriteLazyPull(lz); err != nil {
		return err
	}
	if ix.Find(r) != nil {
		ix.Unset(r)
		if err := s.WriteIndex(ix); err != nil {
			return err
		}
	}
	return s.TakeLazyName(r, lz.Dir)
}

// TakeLazyName takes a name from the images that are being pulled, but for the one whose directory
// is dir. The caller has the lock.
func (s *Store) TakeLazyName(r reference.Reference, dir string) error {
	all, _ := s.Lazies() // one that cannot be read has no names
	for _, lz := range all {
		if rest := withoutName(lz.Names, r); lz.Dir != dir && len(rest) < len(lz.Names) {
			lz.Names = rest
			if err := s.WriteLazyPull(lz); err != nil {
				return err
			}
		}
	}
	return nil
}

func withoutName(names []LazyName, r reference.Reference) []LazyName {
	return slices.DeleteFunc(slices.Clone(names), func(n LazyName) bool { return n.Name == r.String() })
}

// removeLazy is Remove for an image that is being pulled. The caller has the lock.
func (s *Store) removeLazy(ix *store.Index, lz *Lazy, ref string, force bool) (done []Removed, err error) {
	names := lz.Image.Names
	if r, err := reference.Parse(ref); err == nil && len(names) > 1 {
		if own, err := reference.Parse(lz.nameOf(r)); err == nil {
			lz.Names = withoutName(lz.Names, own)
			return []Removed{{Untagged: own.Familiar()}}, s.WriteLazyPull(lz)
		}
	}
	if len(names) > 1 && !force {
		return nil, manyNames(ref, names)
	}
	used, err := s.usedByContainer(lz.Image.ID)
	switch {
	case err != nil:
		return nil, err
	case used && !force:
		return nil, needed(ref)
	}
	for _, n := range names {
		done = append(done, Removed{Untagged: n})
	}
	if used {
		lz.Names = nil
		return done, s.WriteLazyPull(lz)
	}
	return append(done, Removed{Deleted: lz.Image.ID}), s.ForgetLazy(lz.Dir)
}
