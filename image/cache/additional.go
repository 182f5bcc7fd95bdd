// Additional image stores: the places to look for what is not in the own store.

package cache

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

	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/store"
)

// Further stores are other people's, an instructor's on a file server say, whose
// images are used in place: TIFFIN_IMAGE_PATH lists their directories, with
// colons between, as PATH does. The package comment says what holds for them.
//
// A further store is only ever read. What is looked for by its digest, a blob, an
// index, flat.tar, is looked for here first and then there, one file at a time: of
// a layer whose index is missing there, only the index is made here.

func (s *Cache) Report(err error) {
	if s.Warn != nil {
		s.Warn(err)
	}
}

// warnOnce warns of a store the first time only.
func (s *Cache) warnOnce(o *store.Store, err error) {
	if _, again := s.warned.LoadOrStore(o, true); !again {
		s.Report(err)
	}
}

// openAdditional opens the stores of TIFFIN_IMAGE_PATH. One that cannot be read is
// warned of and left out.
func (s *Cache) openAdditional() (all []*store.Store) {
	own, _ := os.Stat(s.Root())
	for _, root := range filepath.SplitList(os.Getenv("TIFFIN_IMAGE_PATH")) {
		if root == "" {
			continue
		}
		root, err := filepath.Abs(root)
		o := store.OpenReadOnly(root)
		if err == nil {
			_, err = o.ReadIndex()
		}
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; %s", err, allowReading(root))
		}
		if err != nil {
			s.Report(fmt.Errorf("images of TIFFIN_IMAGE_PATH=%s cannot be used: %w", root, err))
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

// Find is path, which is that of a file in this store, or the same file in a
// further store if it is not here.
func (s *Cache) Find(path string) string {
	if store.Readable(path) {
		return path
	}
	name, err := filepath.Rel(s.Root(), path)
	if err != nil {
		return path
	}
	for _, o := range s.Additional() {
		there := o.Path(name)
		if store.Readable(there) {
			return there
		}
		if _, err := os.Lstat(there); err == nil {
			s.warnOnce(o, fmt.Errorf("%s may not be read; %s", there, allowReading(o.Root())))
		}
	}
	return path
}

func (s *Cache) FindBlob(d digest.Digest) string { return s.Find(s.BlobPath(d)) }

func (s *Cache) findUnion(chain digest.Digest) string {
	path := s.UnionPath(chain)
	if _, err := layer.PeekFlatSize(path); err == nil {
		return path
	}
	for _, o := range s.Additional() {
		if _, err := layer.PeekFlatSize(o.UnionPath(chain)); err == nil {
			return o.UnionPath(chain)
		}
	}
	return path
}

// findDerived is where the two files of a layer are, by the quick check, and
// whether both have been found. One of them may be here and the other there.
func (s *Cache) findDerived(diffID digest.Digest) (flat, index string, ok bool) {
	flat, index = s.FlatPath(diffID), s.IndexPath(diffID)
	if s.IsDerived(diffID) {
		return flat, index, true
	}
	size, err := layer.PeekFlatSize(index)
	for _, o := range s.Additional() {
		if err == nil {
			break
		}
		if size, err = layer.PeekFlatSize(o.IndexPath(diffID)); err == nil {
			index = o.IndexPath(diffID)
		}
	}
	if err != nil {
		return flat, index, false
	}
	for _, o := range s.Additional() {
		st, err := os.Stat(o.FlatPath(diffID))
		if err == nil && st.Size() == size && store.Readable(o.FlatPath(diffID)) && (written(o, diffID) || s.hasChecked(o, diffID, st)) {
			return o.FlatPath(diffID), index, true
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

func (s *Cache) hasChecked(o *store.Store, diffID digest.Digest, st os.FileInfo) bool {
	b, err := os.ReadFile(filepath.Join(s.LayerDir(diffID), checkedName))
	return err == nil && string(b) == identity(o.FlatPath(diffID), st)
}

// borrow uses the flat.tar of a further store, if it has the right content: its
// index is made here, and a note that it has been looked at.
func (s *Cache) borrow(ctx context.Context, st *store.Staging, diffID digest.Digest) bool {
	return slices.ContainsFunc(s.Additional(), func(o *store.Store) bool { return borrowFrom(ctx, st, o, diffID) == nil })
}

func borrowFrom(ctx context.Context, st *store.Staging, o *store.Store, diffID digest.Digest) error {
	f, err := os.Open(o.FlatPath(diffID))
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
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, ingest.ChunkSize)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if digest.NewDigest(digest.SHA256, h) != diffID {
		return oci.ErrDamaged
	}
	for name, b := range map[string][]byte{store.IndexName: tree.Encode(), checkedName: []byte(identity(f.Name(), info))} {
		file, err := st.LayerFile(diffID, name)
		if err != nil {
			return err
		}
		if err := store.WriteFile(file, b, false); err != nil {
			return err
		}
	}
	return nil
}
