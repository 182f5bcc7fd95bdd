// The names of images that are being pulled lazily: another one, and one less.

package image

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	digest "github.com/opencontainers/go-digest"

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
			return untagged([]string{own.Familiar()}, s.WriteLazyPull(lz))
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
	if used {
		lz.Names = nil
		return untagged(names, s.WriteLazyPull(lz))
	}
	freed, err := s.dropLazy(ix, lz)
	done, _ = untagged(names, nil)
	done = append(done, Removed{Deleted: lz.Image.ID})
	for _, l := range freed.layers {
		done = append(done, Removed{Deleted: l})
	}
	return done, err
}

// untagged is what becomes of names, unless err says that nothing has.
func untagged(names []string, err error) (done []Removed, _ error) {
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		done = append(done, Removed{Untagged: n})
	}
	return done, nil
}

// dropLazy gives up a lazy pull, and deletes what has come of it and nothing else needs. The caller
// has the lock.
func (s *Store) dropLazy(ix *store.Index, lz *Lazy) (f freed, err error) {
	bytes, err := s.ForgetLazy(lz.Dir)
	if err != nil {
		return f, err
	}
	gone := newNeeds()
	for _, l := range lz.Image.Layers {
		gone.blobs[l.Digest.Encoded()], gone.layers[l.DiffID.Encoded()] = true, true
	}
	f, err = s.collect(ix, gone)
	f.bytes += bytes
	return f, err
}

// pruneLazies is the part of Prune that is about images that are being pulled.
func (s *Store) pruneLazies(ix *store.Index, p *Pruned, all bool, keep func(*Image) bool) error {
	if err := s.forgetUnreadable(ix, p); err != nil {
		return err
	}
	lazies, err := s.Lazies()
	if err != nil {
		return err
	}
	for _, lz := range lazies {
		img := lz.Image
		used, err := s.usedByContainer(img.ID)
		if err != nil {
			return err
		}
		if used || len(img.Names) > 0 && !all || keep != nil && keep(img) {
			continue
		}
		f, err := s.dropLazy(ix, lz)
		if err != nil {
			return err
		}
		for _, n := range img.Names {
			p.Removed = append(p.Removed, Removed{Untagged: n})
		}
		p.Removed = append(p.Removed, Removed{Deleted: img.ID})
		for _, l := range f.layers {
			p.Removed = append(p.Removed, Removed{Deleted: l})
		}
		p.Reclaimed += f.bytes
	}
	return nil
}

// forgetUnreadable removes what is in the place of a lazy pull and is none: no command can name it,
// and as long as it is there it cannot be told which layers it needs.
func (s *Store) forgetUnreadable(ix *store.Index, p *Pruned) error {
	dirs, _ := os.ReadDir(s.Path(LazyDirName)) // most stores have none
	for _, d := range dirs {
		_, err := s.ReadLazy(ix, digest.NewDigestFromEncoded(digest.SHA256, d.Name()))
		var disk *fs.PathError
		if err == nil || errors.As(err, &disk) && !errors.Is(err, fs.ErrNotExist) {
			continue // or it may be read the next time
		}
		bytes, err := s.ForgetLazy(s.Path(LazyDirName, d.Name()))
		if err != nil {
			return err
		}
		p.Reclaimed += bytes
	}
	return nil
}
