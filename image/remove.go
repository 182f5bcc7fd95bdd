package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/internal/errs"
)

// Tag gives the image src the further name dst; another image loses it.
func (s *Store) Tag(src, dst string) error {
	r, err := reference.ParseTag(dst)
	if err != nil {
		return err
	}
	if _, err := s.Resolve(src); err != nil { // makes a built-in one
		return err
	}
	err = s.update(func(ix *refIndex) error {
		d, err := s.lookup(ix, src)
		if err != nil {
			return err
		}
		ix.set(r, unannotated(*d), nil)
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		if _, _, d := s.lookupFurther(src); d != nil {
			return s.tagFurther(*d, r)
		}
	}
	return err
}

// tagFurther gives an image of a further store a name here.
func (s *Store) tagFurther(d ocispec.Descriptor, r reference.Reference) error {
	st, err := s.stage()
	if err != nil {
		return err
	}
	defer st.close()
	if err := st.adopt(d); err != nil {
		return err
	}
	return st.publish(func(ix *refIndex) error {
		ix.set(r, unannotated(d), nil)
		return nil
	})
}

func unannotated(d ocispec.Descriptor) ocispec.Descriptor {
	d.Annotations = nil
	return d
}

// lockIndex returns index.json, which nobody else changes until release is called.
func (s *Store) lockIndex() (ix *refIndex, release func(), err error) {
	if release, err = s.lock(unix.LOCK_EX); err != nil {
		return nil, nil, err
	}
	if ix, err = s.readIndex(); err != nil {
		release()
		return nil, nil, err
	}
	return ix, release, nil
}

// update changes index.json under the store's lock.
func (s *Store) update(change func(*refIndex) error) error {
	ix, release, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer release()
	if err := change(ix); err != nil {
		return err
	}
	return s.writeIndex(ix)
}

// Remove takes a name off its image, and deletes the image if that was the
// last one. ref may also be an ID: then all its names go, if force is set or
// there is at most one. An image that a container needs is refused (ErrInUse);
// with force it only loses its names.
func (s *Store) Remove(ref string, force bool) (done []Removed, err error) {
	ix, release, err := s.lockIndex()
	if err != nil {
		return nil, err
	}
	defer release()
	d, err := s.lookup(ix, ref)
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if in, _, _ := s.lookupFurther(ref); in != nil {
			err = fmt.Errorf("image %s is in %s: nothing is removed from a store that TIFFIN_IMAGE_PATH names", ref, in.root)
		}
		return nil, err
	}
	names := ix.names(d.Digest)
	if r, err := reference.Parse(ref); err == nil && ix.findAny(r) == d && len(names) > 1 {
		name, _ := descriptorName(*d)
		ix.unset(name)
		if err := s.writeIndex(ix); err != nil {
			return nil, err
		}
		return []Removed{{Untagged: name.Familiar()}}, nil
	} else if len(names) > 1 && !force {
		return nil, errs.Hint(fmt.Errorf("image %s has %d names: %s", ref, len(names), strings.Join(familiar(names), ", ")),
			"remove them one by one, or all with rmi -f")
	}
	gone := unannotated(*d)
	id, used, err := s.used(gone)
	if err != nil {
		return nil, err
	}
	if used && !force {
		return nil, errs.Hint(fmt.Errorf("%w: a container was made from %s", ErrInUse, ref),
			"see tiffin ps -a; remove the container first, or take only the name away with rmi -f")
	}
	for _, n := range names {
		done = append(done, Removed{Untagged: n.Familiar()})
	}
	ix.drop(gone)
	if used {
		ix.add(gone)
	}
	if err := s.writeIndex(ix); err != nil {
		return nil, err
	}
	if used {
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

func familiar(rs []reference.Reference) (names []string) {
	for _, r := range rs {
		names = append(names, r.Familiar())
	}
	return names
}

// names are all names of a manifest.
func (ix *refIndex) names(manifest digest.Digest) (rs []reference.Reference) {
	for _, d := range ix.Manifests {
		if r, ok := descriptorName(d); ok && d.Digest == manifest {
			rs = append(rs, r)
		}
	}
	return rs
}

// used reports whether a container needs the image, and the image's ID. An
// image too damaged to have an ID is used by nobody: it could not run.
func (s *Store) used(d ocispec.Descriptor) (id digest.Digest, used bool, err error) {
	m, err := s.manifest(d)
	if err != nil {
		return "", false, nil
	}
	if s.Uses == nil {
		return m.Config.Digest, false, nil
	}
	all, err := s.Uses()
	if err != nil {
		return "", false, fmt.Errorf("find out which images containers need: %w", err)
	}
	return m.Config.Digest, all[m.Config.Digest], nil
}

// dropped writes the index, from which gone has been dropped, and deletes what
// only gone needed. The caller has the lock.
func (s *Store) dropped(ix *refIndex, gone ocispec.Descriptor) (freed, error) {
	if err := s.writeIndex(ix); err != nil {
		return freed{}, err
	}
	return s.collectOf(ix, []ocispec.Descriptor{gone})
}

// collectOf deletes what only the images that are gone from the index needed.
func (s *Store) collectOf(ix *refIndex, gone []ocispec.Descriptor) (freed, error) {
	candidates := newNeeds()
	for _, d := range gone {
		candidates.add(s, d) // as far as it can be read
		if subject := s.subject(d.Digest); subject != "" {
			s.unrefer(subject, d.Digest)
		}
	}
	return s.collect(ix, candidates)
}

// removeUnnamed deletes an image that has lost its last name, if no container
// needs it. It is housekeeping: what goes wrong, prune meets again.
func (s *Store) removeUnnamed(d ocispec.Descriptor) {
	ix, release, err := s.lockIndex()
	if err != nil {
		return
	}
	defer release()
	if len(ix.names(d.Digest)) > 0 {
		return
	}
	if _, used, err := s.used(d); err != nil || used {
		return
	}
	ix.drop(d)
	s.dropped(ix, unannotated(d))
}

// Pruned says what Prune did.
type Pruned struct {
	Removed   []Removed
	Reclaimed int64 // bytes of disk
}

// Prune deletes the images that have no name (with all: every image) and that
// no container needs, and whatever in the store belongs to no image. keep, if
// not nil, spares those for which it returns true.
func (s *Store) Prune(all bool, keep func(*Image) bool) (Pruned, error) {
	var p Pruned
	ix, release, err := s.lockIndex()
	if err != nil {
		return p, err
	}
	defer release()
	var seen []digest.Digest
	var gone []ocispec.Descriptor
	for _, d := range slices.Clone(ix.Manifests) {
		if slices.Contains(seen, d.Digest) {
			continue
		}
		seen = append(seen, d.Digest)
		names := ix.names(d.Digest)
		id, used, err := s.used(d)
		if err != nil {
			return p, err
		}
		if used || id == "" || len(names) > 0 && !all {
			continue
		}
		if img, err := s.image(ix, d); keep != nil && (err != nil || keep(img)) {
			continue
		}
		for _, n := range names {
			p.Removed = append(p.Removed, Removed{Untagged: n.Familiar()})
		}
		p.Removed = append(p.Removed, Removed{Deleted: id})
		ix.drop(d)
		gone = append(gone, unannotated(d))
	}
	if err := s.writeIndex(ix); err != nil {
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
	p.Reclaimed = theirs.bytes + rest.bytes + s.sweepPartials(0) + s.sweepIncoming()
	return p, err
}

// needs is what images consist of.
type needs struct {
	blobs, layers, unions map[string]bool // by file name: hexadecimal digits
}

func newNeeds() *needs {
	return &needs{map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// add adds all that the descriptor leads to. It goes on after an error, which
// says that n may not be complete.
func (n *needs) add(s *Store, d ocispec.Descriptor) error {
	if !reference.ValidDigest(d.Digest) {
		return fmt.Errorf("%q is no sha256 digest", d.Digest)
	}
	n.blobs[d.Digest.Encoded()] = true
	b, err := s.readBlob(d.Digest)
	if err != nil {
		return err
	}
	m, err := oci.ParseDocument(b)
	if err != nil {
		return err
	}
	for _, sub := range m.Manifests {
		if !reference.ValidDigest(sub.Digest) {
			continue
		}
		// An index may have only some of its images here.
		if readable(s.findBlob(sub.Digest)) {
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
	raw, err := s.readBlob(m.Config.Digest)
	if err != nil {
		return err
	}
	cfg, err := oci.ParseConfig(raw, len(m.Layers))
	if err != nil {
		return nil // an artifact that is no image has blobs only
	}
	for _, l := range cfg.RootFS.DiffIDs {
		n.layers[l.Encoded()] = true
	}
	n.unions[chainID(cfg.RootFS.DiffIDs).Encoded()] = true
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
func (s *Store) collect(ix *refIndex, candidates *needs) (f freed, err error) {
	live := newNeeds()
	for _, d := range ix.Manifests {
		if err := live.add(s, d); err != nil {
			return f, errs.Hint(fmt.Errorf("nothing was deleted, since it cannot be told what image %s needs: %w", reference.Short(d.Digest), err),
				"load that image again, or remove it with tiffin rmi")
		}
	}
	if err := live.needed(s); err != nil {
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
			size, rerr := removeTree(filepath.Join(dir, n.Name()))
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
		del(s.path("blobs", "sha256"), live.blobs, candidates.blobs),
		del(s.path("unions"), live.unions, candidates.unions),
		del(s.path("layers"), live.layers, candidates.layers))
	if err != nil {
		return f, fmt.Errorf("delete what is not needed any more: %w", err)
	}
	return f, nil
}

// removeTree removes a file or a directory of files and returns the bytes of
// disk that come free: none for a file that has another name still.
func removeTree(path string) (bytes int64, err error) {
	names := []string{path}
	if sub, err := os.ReadDir(path); err == nil {
		for _, n := range sub {
			names = append([]string{filepath.Join(path, n.Name())}, names...)
		}
	}
	for _, n := range names {
		var st unix.Stat_t
		if unix.Lstat(n, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 {
			bytes += st.Blocks * 512 // stat(2): st_blocks is in units of 512 bytes
		}
		if rerr := os.Remove(n); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	}
	return bytes, err
}
