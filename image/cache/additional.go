// Additional image stores: the places to look for what is not in the own store.

package cache

import (
	"context"
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
	"tiffin/internal/shell"
)

// Additional image stores belong to other people, such as an instructor, and their images are used
// in place: TIFFIN_IMAGE_PATH lists their directories, with colons between, as PATH does. The
// package comment says what holds for them.
//
// Such a store is only ever read, and believed only by digest: index.json says which image a name
// stands for, and everything else is checked. Blobs are hashed when they are read. Of a layer
// flat.tar alone is used; it is hashed once, and its index and the codes of its blocks are made
// here. By these codes every byte that is read later is checked (layer.Flat). Indexes and merged
// indexes of that store are not read at all. All files are opened by layer.OpenStored.

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
		var o *store.Store
		root, err := filepath.Abs(root)
		if err == nil {
			o, err = store.OpenReadOnly(root)
		}
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

// allowReading is what the owner of a store has to do once; see modes. All that is not named stays
// closed: set-user-ID programs in containers/ and trees/ are the owner's, and chmod(1) follows
// links that it is given, as find(1) would give it those of an image.
func allowReading(root string) string {
	return "its owner can allow it with cd " + shell.Word(root) + " && chmod go+rX . && chmod -R go+rX blobs layers format index.json oci-layout"
}

// Find returns path, that of a file in this store, or if it is not here the path of the same file
// in an additional store.
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

// OpenBlob opens a blob, here or in an additional store.
func (s *Cache) OpenBlob(d digest.Digest) (*os.File, error) {
	path := s.FindBlob(d)
	if path == s.BlobPath(d) {
		return layer.OpenStored(filepath.Split(path))
	}
	return openAdditionalFile(path)
}

// TakeBlob stages a blob: a further name if it is here, a copy if it is in an additional store.
func (s *Cache) TakeBlob(st *store.Staging, d digest.Digest) error {
	if s.FindBlob(d) == s.BlobPath(d) {
		return store.LinkOrCopy(s.BlobPath(d), st.BlobPath(d))
	}
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	to, err := os.OpenFile(st.BlobPath(d), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return store.DiskError(err)
	}
	defer to.Close()
	sum := digest.SHA256.Digester()
	if _, err = io.Copy(io.MultiWriter(to, sum.Hash()), f); err == nil && sum.Digest() != d {
		err = oci.Damaged(d, fmt.Sprintf("its content has digest %s", sum.Digest()))
	}
	if err == nil {
		err = to.Sync()
	}
	return store.DiskError(err)
}

// openAdditionalFile opens ROOT/DIR/DIR/FILE of an additional store.
func openAdditionalFile(path string) (*os.File, error) {
	root := filepath.Dir(filepath.Dir(filepath.Dir(path)))
	name, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	return layer.OpenStored(root, name)
}

// findFlat says where the tarball of a layer is, by the quick check; ok is true if the tarball has
// been found and its tables are here.
func (s *Cache) findFlat(diffID digest.Digest) (flat string, ok bool) {
	flat = s.FlatPath(diffID)
	size, ok := s.tables(diffID)
	if !ok || s.IsDerived(diffID) {
		return flat, ok
	}
	for _, o := range s.Additional() {
		f, err := openAdditionalFile(o.FlatPath(diffID))
		if err != nil {
			continue
		}
		st, err := f.Stat()
		f.Close()
		if err == nil && st.Size() == size {
			return o.FlatPath(diffID), true
		}
	}
	return flat, false
}

// borrow uses the flat.tar of an additional store, if it has the right content: its
// index and the codes of its blocks are made here.
func (s *Cache) borrow(ctx context.Context, st *store.Staging, diffID digest.Digest) bool {
	return slices.ContainsFunc(s.Additional(), func(o *store.Store) bool {
		f, err := openAdditionalFile(o.FlatPath(diffID))
		if err != nil {
			return false
		}
		defer f.Close()
		return ingest.Flat(ctx, st, f, diffID) == nil
	})
}
