package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/oci"
)

// Further stores are other people's, an instructor's on a file server say, whose
// images are used in place: TIFFIN_IMAGE_PATH lists their directories, with
// colons between, as PATH does. The package comment says what holds for them.
//
// A further store is only ever read. What is looked for by its digest, a blob, an
// index, flat.tar, is looked for here first and then there, one file at a time: of
// a layer whose index is missing there, only the index is made here.

// others are the further stores. They are opened when something is not found
// here: a file server that does not answer must not hold up `tiffin ps`.
func (s *Store) others() []*Store {
	if s.further == nil {
		return nil
	}
	return s.further()
}

func (s *Store) warn(err error) {
	if s.Warn != nil {
		s.Warn(err)
	}
}

// openFurther opens the stores of TIFFIN_IMAGE_PATH. One that cannot be read is
// warned of and left out.
func (s *Store) openFurther() (all []*Store) {
	own, _ := os.Stat(s.root)
	for _, root := range filepath.SplitList(os.Getenv("TIFFIN_IMAGE_PATH")) {
		if root == "" {
			continue
		}
		root, err := filepath.Abs(root)
		o := &Store{root: root, readOnly: true}
		if err == nil {
			_, err = o.readIndex()
		}
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; %s", err, allowReading(root))
		}
		if err != nil {
			s.warn(fmt.Errorf("images of TIFFIN_IMAGE_PATH=%s cannot be used: %w", root, err))
			continue
		}
		if there, err := os.Stat(root); err == nil && os.SameFile(own, there) {
			continue
		}
		all = append(all, o)
	}
	return all
}

// allowReading is what the owner of a store has to do once; see modes.
func allowReading(root string) string {
	return "its owner can allow it with chmod -R go+rX " + root
}

// readable reports whether this user can read a file.
func readable(path string) bool { return unix.Access(path, unix.R_OK) == nil }

// find is path, which is that of a file in this store, or the same file in a
// further store if it is not here.
func (s *Store) find(path string) string {
	if readable(path) {
		return path
	}
	name, err := filepath.Rel(s.root, path)
	if err != nil {
		return path
	}
	for _, o := range s.others() {
		there := o.path(name)
		if readable(there) {
			return there
		}
		if _, err := os.Lstat(there); err == nil {
			o.unreadable.Do(func() { s.warn(fmt.Errorf("%s may not be read; %s", there, allowReading(o.root))) })
		}
	}
	return path
}

func (s *Store) findBlob(d digest.Digest) string { return s.find(s.blobPath(d)) }

func (s *Store) findUnion(chain digest.Digest) string {
	path := s.unionPath(chain)
	if _, err := layer.PeekFlatSize(path); err == nil {
		return path
	}
	for _, o := range s.others() {
		if _, err := layer.PeekFlatSize(o.unionPath(chain)); err == nil {
			return o.unionPath(chain)
		}
	}
	return path
}

// findDerived is where the two files of a layer are, by the quick check, and
// whether both have been found. One of them may be here and the other there.
func (s *Store) findDerived(diffID digest.Digest) (flat, index string, ok bool) {
	flat, index = s.flatPath(diffID), s.indexPath(diffID)
	if s.derivedOK(diffID) {
		return flat, index, true
	}
	size, err := layer.PeekFlatSize(index)
	for _, o := range s.others() {
		if err == nil {
			break
		}
		if size, err = layer.PeekFlatSize(o.indexPath(diffID)); err == nil {
			index = o.indexPath(diffID)
		}
	}
	if err != nil {
		return flat, index, false
	}
	for _, o := range s.others() {
		st, err := os.Stat(o.flatPath(diffID))
		if err == nil && st.Size() == size && readable(o.flatPath(diffID)) && (o.written(diffID) || s.hasChecked(o, diffID, st)) {
			return o.flatPath(diffID), index, true
		}
	}
	return flat, index, false
}

// checkedName is a file beside the own derived files of a layer. It names a
// flat.tar of a further store that was perhaps not written when it was made
// (unsyncedName; on another machine nobody can tell), but has been hashed since
// and had the right digest.
const checkedName = "checked"

// identity is what of a file changes when its content does.
func identity(path string, st os.FileInfo) string {
	return fmt.Sprintf("%s\n%d\n%d\n", path, st.Size(), st.ModTime().UnixNano())
}

func (s *Store) hasChecked(o *Store, diffID digest.Digest, st os.FileInfo) bool {
	b, err := os.ReadFile(filepath.Join(s.layerDir(diffID), checkedName))
	return err == nil && string(b) == identity(o.flatPath(diffID), st)
}

// borrow uses the flat.tar of a further store, if it has the right content: its
// index is made here, and a note that it has been looked at.
func (st *staging) borrow(ctx context.Context, diffID digest.Digest) bool {
	return slices.ContainsFunc(st.s.others(), func(o *Store) bool { return st.borrowFrom(ctx, o, diffID) == nil })
}

func (st *staging) borrowFrom(ctx context.Context, o *Store, diffID digest.Digest) error {
	f, err := os.Open(o.flatPath(diffID))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	r := io.TeeReader(f, h)
	tree, err := layer.Scan(r)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, chunkSize)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if sum(h) != diffID {
		return oci.ErrDamaged
	}
	for name, b := range map[string][]byte{indexName: tree.Encode(), checkedName: []byte(identity(f.Name(), info))} {
		file, err := st.layerFile(diffID, name)
		if err != nil {
			return err
		}
		if err := writeFile(file, b, false); err != nil {
			return err
		}
	}
	return nil
}

// resolveFurther is Resolve in the further stores.
func (s *Store) resolveFurther(ref string) (*Image, error) {
	_, ix, d := s.lookupFurther(ref)
	if d == nil {
		return nil, nil
	}
	return s.image(ix, *d)
}

// lookupFurther is lookup in the further stores; d is nil if none has it.
func (s *Store) lookupFurther(ref string) (in *Store, ix *refIndex, d *ocispec.Descriptor) {
	for _, o := range s.others() {
		ix, err := o.readIndex()
		if err != nil {
			s.warn(err)
			continue
		}
		ix.from = o.root
		if d, err := s.lookup(ix, ref); err == nil {
			return o, ix, d
		}
	}
	return nil, nil, nil
}

// listFurther lists the images with a name in further stores, without the names
// that stand for an image here or in an earlier one.
func (s *Store) listFurther(own *refIndex) (imgs []*Image) {
	taken := map[string]bool{}
	for _, d := range own.Manifests {
		if r, ok := descriptorName(d); ok {
			taken[r.Familiar()] = true
		}
	}
	for _, o := range s.others() {
		ix, err := o.readIndex()
		if err != nil {
			s.warn(err)
			continue
		}
		ix.from = o.root
		theirs, err := s.list(ix)
		if err != nil {
			s.warn(fmt.Errorf("%s: %w", o.root, err))
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

// adopt stages the small blobs of an image in a further store that gets a name
// here: what the own index names can be told apart without that store.
func (st *staging) adopt(d ocispec.Descriptor) error {
	m, err := st.s.manifest(d)
	if err != nil {
		return err
	}
	for _, d := range []digest.Digest{d.Digest, m.Digest, m.Config.Digest} {
		b, err := st.s.readBlob(d)
		if err != nil {
			return err
		}
		if _, err := st.putBlob(b); err != nil {
			return err
		}
	}
	return nil
}

// needed adds the derived files of images in further stores that containers
// need. What else was made here for such images goes, and is made again when it
// is missed.
func (n *needs) needed(s *Store) error {
	if s.Uses == nil || len(s.others()) == 0 {
		return nil
	}
	used, err := s.Uses()
	if err != nil {
		return fmt.Errorf("find out which images containers need: %w", err)
	}
	for id := range used {
		if _, _, d := s.lookupFurther(id.String()); d != nil {
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
