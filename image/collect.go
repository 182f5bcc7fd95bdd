// Which files of the store no image needs any more, and their deletion.

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/cache"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// needs are the files that images consist of.
type needs struct {
	blobs, layers, unions map[string]bool // by file name: hexadecimal digits
	added                 map[string]bool // manifests: an index may name one often, and indexes each other
}

func newNeeds() *needs {
	return &needs{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// add adds all that the descriptor leads to. It goes on after an error, which says that n may be
// incomplete.
func (n *needs) add(s *Store, d ocispec.Descriptor) error {
	if !reference.ValidDigest(d.Digest) {
		return fmt.Errorf("%q is no sha256 digest", d.Digest)
	}
	n.blobs[store.Top(d).Encoded()] = true
	if n.added[d.Digest.Encoded()] {
		return nil
	}
	n.blobs[d.Digest.Encoded()] = true
	b, err := s.ReadBlob(d.Digest)
	if err != nil {
		return err
	}
	m, err := oci.ParseDocument(b)
	if err != nil {
		return err
	}
	n.added[d.Digest.Encoded()] = true
	for _, sub := range m.Manifests {
		if !reference.ValidDigest(sub.Digest) {
			continue
		}
		// An index may have only some of its images here.
		if store.Readable(s.FindBlob(sub.Digest)) {
			if err := n.add(s, sub); err != nil {
				return err
			}
		}
	}
	if m.Config.Digest == "" {
		return nil
	}
	for _, l := range append(m.Layers, m.Config) {
		if reference.ValidDigest(l.Digest) {
			n.blobs[l.Digest.Encoded()] = true
		}
	}
	if m.Config.Size > oci.MaxJSON {
		return nil // an artifact leads to blobs and to nothing derived
	}
	raw, err := s.ReadBlob(m.Config.Digest)
	if err != nil {
		return err
	}
	cfg, err := oci.ParseConfig(raw, len(m.Layers))
	if err != nil {
		return nil
	}
	for _, l := range cfg.RootFS.DiffIDs {
		n.layers[l.Encoded()] = true
	}
	union := cache.ChainID(cfg.RootFS.DiffIDs).Encoded()
	n.unions[union], n.unions[union+cache.StartSuffix] = true, true
	return nil
}

// freed is what collect deleted.
type freed struct {
	layers []digest.Digest // diff IDs whose files are gone
	bytes  int64           // of disk
}

// collect deletes what no image of the index needs, among the candidates (nil:
// everything). If it cannot tell what one of the images needs, it deletes
// nothing. The caller has the lock.
func (s *Store) collect(ix *store.Index, candidates *needs) (f freed, err error) {
	live := newNeeds()
	for _, d := range ix.Manifests {
		if err := live.add(s, d); err != nil {
			return f, errs.Hint(fmt.Errorf("nothing was deleted, since it cannot be told what image %s needs: %w", reference.Short(d.Digest), err),
				"load that image again, or remove it with tiffin rmi")
		}
	}
	if err := errors.Join(live.needed(s), live.addBuilds(s), live.addBuilding(s), live.addLazy(s)); err != nil {
		return f, err
	}
	if candidates == nil {
		candidates = &needs{}
	}
	if err := live.addReferrers(s, candidates); err != nil {
		return f, fmt.Errorf("nothing was deleted: %w", err)
	}
	del := func(dir string, live, among map[string]bool) error {
		names, err := os.ReadDir(dir)
		for _, n := range names {
			if live[n.Name()] || among != nil && !among[n.Name()] {
				continue
			}
			size, rerr := store.RemoveTree(filepath.Join(dir, n.Name()))
			f.bytes += size
			if rerr != nil {
				err = errors.Join(err, rerr)
			} else if n.IsDir() {
				f.layers = append(f.layers, digest.NewDigestFromEncoded(digest.SHA256, n.Name()))
			}
		}
		return err
	}
	err = errors.Join(
		del(s.Path("blobs", "sha256"), live.blobs, candidates.blobs),
		del(s.Path("unions"), live.unions, candidates.unions),
		del(s.Path("layers"), live.layers, candidates.layers))
	for hex := range candidates.blobs {
		if !live.blobs[hex] { // a pull that was given up or killed may have left some of it
			f.bytes += s.DropPartial(digest.NewDigestFromEncoded(digest.SHA256, hex))
		}
	}
	if err != nil {
		return f, fmt.Errorf("delete what is not needed any more: %w", err)
	}
	return f, nil
}

// addReferrers adds to n the manifests whose subject (OCI image-spec v1.1 manifest.md) is already
// in n, then those whose subject is one of these, and so on; then those that still wait for their
// subject to be pushed. A manifest whose subject is gone, or that has waited for too long, is
// forgotten, and added to gone unless gone stands for everything.
func (n *needs) addReferrers(s *Store, gone *needs) (err error) {
	left, rerr := os.ReadDir(s.Path(store.ReferrersName)) // most stores have none
	if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		return rerr
	}
	keep := func(_, r digest.Digest) {
		if aerr := n.add(s, ocispec.Descriptor{Digest: r}); aerr != nil && !errors.Is(aerr, oci.ErrDamaged) {
			err = errors.Join(err, aerr)
		}
	}
	forget := func(subject, r digest.Digest) {
		if gone.blobs != nil {
			gone.add(s, ocispec.Descriptor{Digest: r}) // as far as it can be read
		}
		s.RemoveReferrer(subject, r)
	}
	// rounds calls do for all those that apply. A round may add subjects, so the next finds more.
	rounds := func(applies func(fs.DirEntry) bool, do func(subject, r digest.Digest)) {
		for before := -1; before != len(left); {
			before = len(left)
			left = slices.DeleteFunc(left, func(e fs.DirEntry) bool {
				if !applies(e) {
					return false
				}
				for _, r := range s.ReferrersOf(e.Name()) {
					do(digest.NewDigestFromEncoded(digest.SHA256, e.Name()), r)
				}
				return true
			})
		}
	}
	here := func(e fs.DirEntry) bool { return n.blobs[e.Name()] }
	rounds(here, keep)
	if err != nil {
		return err // nothing has been forgotten yet
	}
	rounds(func(e fs.DirEntry) bool { return gone.blobs[e.Name()] }, forget)
	rounds(func(e fs.DirEntry) bool { return here(e) || store.Young(e) }, keep)
	rounds(func(fs.DirEntry) bool { return true }, forget)
	return err
}

// Subject is the digest of the manifest that a manifest of the store is about, or "".
func (s *Store) Subject(manifest digest.Digest) digest.Digest {
	b, err := s.ReadBlob(manifest)
	if err != nil {
		return ""
	}
	m, err := oci.ParseDocument(b)
	if err != nil || m.Subject == nil || !reference.ValidDigest(m.Subject.Digest) {
		return ""
	}
	return m.Subject.Digest
}

// DeleteUnnamed writes the index, and deletes an image with what only it needs, unless it has a
// name, or a container or a build needs it. The caller has the lock.
func (s *Store) DeleteUnnamed(ix *store.Index, d ocispec.Descriptor) error {
	_, user, err := s.used(d)
	if err != nil {
		return err
	}
	keep := user != "" || len(ix.Names(d.Digest)) > 0
	if !keep {
		ix.Drop(d)
	}
	if err := s.WriteIndex(ix); err != nil || keep {
		return err
	}
	_, err = s.collectOf(ix, []ocispec.Descriptor{store.Nameless(d)})
	return err
}

// collectOf deletes what only the images that are gone from the index needed.
func (s *Store) collectOf(ix *store.Index, gone []ocispec.Descriptor) (freed, error) {
	candidates := newNeeds()
	for _, d := range gone {
		candidates.add(s, d) // as far as it can be read
		if subject := s.Subject(d.Digest); subject != "" {
			s.RemoveReferrer(subject, d.Digest)
		}
	}
	return s.collect(ix, candidates)
}

// collectOrphans deletes what belongs to no image. Errors are left to prune.
func (s *Store) collectOrphans() {
	if ix, release, err := s.LockIndex(); err == nil {
		defer release()
		s.collect(ix, nil)
	}
}

// Publish publishes what is staged. If that fails, it deletes the blobs that are left without an
// image.
func (s *Store) Publish(st *store.Staging, update func(*store.Index) error) error {
	err := st.Publish(update)
	if err != nil {
		s.collectOrphans()
	}
	return err
}

// Discard deletes what only images dropped from the index needed. It is housekeeping: if it fails,
// prune tries again.
func (s *Store) Discard(gone []ocispec.Descriptor) {
	if len(gone) == 0 {
		return
	}
	if ix, release, err := s.LockIndex(); err == nil {
		defer release()
		s.collectOf(ix, gone)
	}
}

// needed adds the derived files of those images in additional stores that containers need. What
// was made here for other images of these stores is deleted, and is made again when it is used.
func (n *needs) needed(s *Store) error {
	if s.Uses == nil || len(s.Additional()) == 0 {
		return nil
	}
	used, err := s.Uses()
	if err != nil {
		return fmt.Errorf("find out which images containers need: %w", err)
	}
	for id := range used {
		if _, _, d := s.lookupAdditional(id.String()); d != nil {
			theirs := newNeeds()
			if err := theirs.add(s, *d); err != nil && !errors.Is(err, oci.ErrDamaged) {
				return err
			}
			for l := range theirs.layers {
				n.layers[l] = true
			}
			for u := range theirs.unions {
				n.unions[u] = true
			}
		}
	}
	return nil
}
