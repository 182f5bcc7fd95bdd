// Package cache makes sure that what is derived from the blobs of an image is there: each layer's
// flat.tar and index, and the merged index of them all. It looks for them, and for the blobs, in
// the own store first and then in the additional image stores of TIFFIN_IMAGE_PATH.
//
// All derived files can be deleted at any time: the next use makes them again.
// They are checked by size and, for an index, checksum, and are made again without being asked.
//
// # Additional image stores
//
// TIFFIN_IMAGE_PATH=/srv/images:/net/course/images lists stores of other people whose images are
// used where they are. They are ordinary stores: an instructor sets TIFFIN_ROOT to such a
// directory, loads or pulls, and once makes what images are made of readable (allowReading). What
// comes later can be read by those who may read the directory itself. What holds:
//
//   - Names are looked up here first, then in each additional store in turn; so are IDs. The own
//     built-in image comes before any of them.
//   - Nothing is ever written there, not even a lock. It need not be writable, nor on a local disk.
//   - Such a store is believed by digest alone. Blobs and flat.tar are looked for here first, then
//     there; nothing is copied. Blobs are hashed when they are read, flat.tar once: then its index
//     and the codes of its blocks are made here, and every byte that is read later is checked by
//     those. The indexes that are there are not read at all.
//   - A commit on such an image makes an image here whose lower layers stay there; it is saved and
//     pushed whole. A tag copies manifest and config, a few kilobytes. Both need the additional
//     store as long as they are used; what is here can be listed, pruned and removed without it.
//   - rmi removes nothing from there. prune deletes what was made here for images there, unless a
//     container was made from one; the next use makes it again.
//   - Pull and load bring all layers here, and so make an image independent of the other stores.
//     `serve` shows the names here only.
//   - A store that cannot be read is a warning, when something is looked for in it.
//   - Other programs that read this store as a layout do not know of it.
//
// The owner of such a store may delete what containers here need. Then they do not start, and say
// which blob is missing; those that run may die, as any program does whose file on a file server
// goes away. What is read is what its digest says, or an error. But index.json alone says which
// image a name stands for, so whoever can write it decides what a name runs here, as with PATH.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/image/union"
)

// Derived files: what is made from blobs to be read quickly. They can all be
// deleted at any time; the next use makes them again.
//
// They are renamed into place like blobs, but not synced first: a compressed
// layer of 300 MB has a flat.tar of 800 MB, and waiting for the disk to take it
// would double the time of a load (3.4 s instead of 1.7 s on the machine where
// this was measured) for nothing, since the blob is safe. After a power cut such a file may
// be short or have holes. An index has a checksum. For flat.tar, the file
// `unsynced` beside it holds the boot ID of the kernel that had its pages in
// memory: as long as that kernel runs, the file is what was written. Under
// another kernel its digest is checked once, before its first use.

// ChainID is the digest of a stack of layers. OCI image-spec v1.1 config.md,
// "Layer ChainID".
func ChainID(diffIDs []digest.Digest) digest.Digest {
	if len(diffIDs) == 0 {
		return digest.FromString("")
	}
	id := diffIDs[0]
	for _, d := range diffIDs[1:] {
		id = digest.FromString(string(id) + " " + string(d))
	}
	return id
}

// Cache is a store with what has been derived from its blobs, and the additional stores that blobs
// and derived files are looked for in when they are not here.
type Cache struct {
	*store.Store
	// Warn is told of an additional store that cannot be used. May be nil.
	Warn func(error)

	// additional opens the additional stores when something is not found here: a file server
	// that does not answer must not hold up `tiffin ps`.
	Additional func() []*store.Store
	warned     sync.Map // *store.Store: stores of which Warn has been told
}

func New(s *store.Store) *Cache {
	c := &Cache{Store: s}
	c.Additional = sync.OnceValue(c.openAdditional)
	return c
}

// Mountable is what it takes to serve an image as a file system. All files are
// derived from the blobs; the paths are absolute.
type Mountable struct {
	UnionPath  string   // merged index of all layers, for layer.OpenIndex
	FlatPaths  []string // uncompressed tarballs; [0] is the bottom layer
	IndexPaths []string // index of each single layer
	BlockPaths []string // codes of each tarball's blocks, for layer.OpenFlat
	StartPath  string   // what programs read of it when they start, if that is known: a hint
	Lazy       string   // directory of the lazy pull that it comes by, or ""
}

// StartSuffix is the end of the name of Mountable.StartPath, which begins as the union's.
const StartSuffix = ".start"

// ErrGone says that another process has removed a file just after it was made.
var ErrGone = errors.New("a file of its layers has just been removed")

// Prepare makes sure that the derived files of a stack of layers are there, and says
// where. It looks at headers and sizes only, some 10 µs for each layer; a
// damaged table inside an index is found by layer.OpenIndex, and the caller
// then uses RebuildAll. Errors wrap oci.ErrDamaged if a blob that is needed for
// rebuilding is not what it was, and ErrGone if another process removed the
// image meanwhile.
func (s *Cache) Prepare(layers []oci.Layer) (*Mountable, error) {
	m, complete := s.Paths(layers)
	if _, err := layer.PeekFlatSize(m.UnionPath); err != nil || !complete {
		return s.RebuildAll(context.Background(), layers)
	}
	return m, nil
}

// Paths says where the derived files are or belong, and whether those of
// all layers are there.
func (s *Cache) Paths(layers []oci.Layer) (m *Mountable, complete bool) {
	chain := ChainID(diffIDs(layers))
	m, complete = &Mountable{UnionPath: s.UnionPath(chain), StartPath: s.UnionPath(chain) + StartSuffix}, true
	for _, l := range layers {
		flat, ok := s.findFlat(l.DiffID)
		m.FlatPaths = append(m.FlatPaths, flat)
		m.IndexPaths = append(m.IndexPaths, s.IndexPath(l.DiffID))
		m.BlockPaths = append(m.BlockPaths, s.BlocksPath(l.DiffID))
		complete = complete && ok
	}
	return m, complete
}

func diffIDs(layers []oci.Layer) (ids []digest.Digest) {
	for _, l := range layers {
		ids = append(ids, l.DiffID)
	}
	return ids
}

// IsDerived is the quick check of one layer's files.
func (s *Cache) IsDerived(diffID digest.Digest) bool {
	size, ok := s.tables(diffID)
	if !ok {
		return false
	}
	st, err := os.Stat(s.FlatPath(diffID))
	if err != nil || st.Size() != size {
		return false
	}
	return written(s.Store, diffID)
}

// tables is the quick check of the own store's index and codes for a flat.tar; size is that of the
// flat.tar, in bytes.
func (s *Cache) tables(diffID digest.Digest) (size int64, ok bool) {
	size, err := layer.PeekFlatSize(s.IndexPath(diffID))
	if err != nil {
		return 0, false
	}
	st, err := os.Stat(s.BlocksPath(diffID))
	return size, err == nil && st.Size() == layer.BlocksSize(size)
}

// written reports whether what is read from flat.tar is what was written.
func written(s *store.Store, diffID digest.Digest) bool {
	f, err := layer.OpenStored(s.LayerDir(diffID), store.UnsyncedName)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	boot := make([]byte, len(store.BootID()))
	_, err = io.ReadFull(f, boot)
	return err == nil && len(boot) > 0 && string(boot) == store.BootID()
}

// RebuildAll checks all derived files of a stack of layers thoroughly, but for the bytes of
// a flat.tar that has the right size, and rebuilds what is missing or damaged. What another command
// is rebuilding it waits for.
func (s *Cache) RebuildAll(ctx context.Context, layers []oci.Layer) (*Mountable, error) {
	release, err := s.LockDerived()
	if err != nil {
		return nil, err
	}
	defer release()
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	for _, l := range layers {
		if s.intact(l.DiffID) {
			continue
		}
		if err := s.rebuild(ctx, st, l); err != nil {
			return nil, err
		}
	}
	if err := s.Merge(st, layers); err != nil {
		return nil, err
	}
	if err := st.Publish(nil); err != nil {
		return nil, err
	}
	m, complete := s.Paths(layers)
	if !complete {
		return nil, ErrGone
	}
	return m, nil
}

// intact is the quick check and that of what is inside of the tables.
func (s *Cache) intact(diffID digest.Digest) bool {
	path, ok := s.findFlat(diffID)
	if !ok {
		return false
	}
	flat, err := layer.OpenFlat(path, s.BlocksPath(diffID))
	if err != nil {
		return false
	}
	defer flat.Close()
	_, err = layer.OpenIndex(s.IndexPath(diffID))
	return err == nil
}

// rebuild makes a layer's derived files again: the tables from flat.tar if
// that still has its digest, here or in an additional store, else all from the blob.
func (s *Cache) rebuild(ctx context.Context, st *store.Staging, l oci.Layer) error {
	if s.readAgain(ctx, st, l.DiffID) || s.borrow(ctx, st, l.DiffID) {
		return nil
	}
	return s.Inflate(ctx, st, l, nil)
}

// Inflate makes a layer's derived files from its blob, which has to inflate to its diff ID.
// progress is told of the bytes of the blob, and may be nil.
func (s *Cache) Inflate(ctx context.Context, st *store.Staging, l oci.Layer, progress func(int64)) error {
	f, err := s.OpenBlob(l.Digest)
	if err != nil {
		return oci.Damaged(l.Digest, "is missing")
	}
	defer f.Close()
	want := oci.Layer{DiffID: l.DiffID, Digest: l.Digest}
	if _, err := ingest.Layer(ctx, st, f, want, ingest.Options{Progress: progress}); err != nil {
		// Say which it is: a blob that has changed, or no space for it.
		if got, herr := store.HashFile(f); herr == nil && got != l.Digest {
			return oci.Damaged(l.Digest, fmt.Sprintf("its content has digest %s", got))
		}
		return fmt.Errorf("layer %s: %w", l.Digest, err)
	}
	return nil
}

// readAgain makes the tables of the own flat.tar again, if it has the right content. If it is
// marked as perhaps not written, it becomes durable, and the mark goes.
func (s *Cache) readAgain(ctx context.Context, st *store.Staging, diffID digest.Digest) bool {
	f, err := layer.OpenStored(filepath.Split(s.FlatPath(diffID)))
	if err != nil {
		return false
	}
	defer f.Close()
	if ingest.Flat(ctx, st, f, diffID) != nil || f.Sync() != nil {
		return false
	}
	os.Remove(filepath.Join(s.LayerDir(diffID), store.UnsyncedName))
	return true
}

// Derived is where a derived file is: staged, or else in the store.
func (s *Cache) Derived(st *store.Staging, name ...string) string {
	if _, err := os.Lstat(st.Path(name...)); err == nil {
		return st.Path(name...)
	}
	return s.Path(name...)
}

// Merge stages the merged index of a stack of layers, unless there is a good
// one already. It starts from the highest stack below that has one: after a
// commit there is one layer to merge.
func (s *Cache) Merge(st *store.Staging, layers []oci.Layer) error {
	defer ingest.Economize()()
	ids := diffIDs(layers)
	var merged *layer.Tree
	n := len(ids)
	for ; n > 0; n-- {
		path := s.Derived(st, "unions", ChainID(ids[:n]).Encoded())
		if _, err := layer.OpenIndex(path); err != nil {
			continue
		}
		if n == len(ids) {
			return nil
		}
		var err error
		if merged, err = layer.ReadTree(path); err == nil {
			break
		}
	}
	for i := n; i < len(ids); i++ {
		t, err := layer.ReadTree(s.Derived(st, "layers", ids[i].Encoded(), store.IndexName))
		if err != nil && s.rebuild(context.Background(), st, layers[i]) == nil {
			t, err = layer.ReadTree(s.Derived(st, "layers", ids[i].Encoded(), store.IndexName))
		}
		if err != nil {
			return fmt.Errorf("merge the layers: %w", err)
		}
		if merged, err = union.Merge(merged, t, uint16(i)); err != nil {
			return fmt.Errorf("merge layer %s: %w", ids[i], err)
		}
	}
	if merged == nil { // no layers at all
		merged = layer.NewTree(layer.NewDir(0o755))
	}
	return store.DiskError(merged.WriteFile(st.Path("unions", ChainID(ids).Encoded())))
}

// Reuse stages a layer that the store has already. It reports false if the blob no longer has its
// digest: so pulling again repairs damage. The derived files may be missing. It fails if the blob
// does not inflate to the diff ID.
func (s *Cache) Reuse(ctx context.Context, st *store.Staging, l oci.Layer) (bool, error) {
	blob, err := layer.OpenStored(filepath.Split(s.BlobPath(l.Digest)))
	if err != nil {
		return false, nil
	}
	defer blob.Close()
	if d, err := store.HashFile(blob); err != nil || d != l.Digest {
		return false, nil
	}
	if st, err := blob.Stat(); err != nil || st.Size() != l.Size {
		return false, nil // whoever has it tells what is wrong
	}
	known := s.Inflates(l)
	if known && s.IsDerived(l.DiffID) {
		return s.Pin(st, l) == nil && st.Pinned(l), nil
	}
	if err := store.LinkOrCopy(s.BlobPath(l.Digest), st.BlobPath(l.Digest)); err != nil {
		return false, nil
	}
	if known {
		return true, s.rebuild(ctx, st, l)
	}
	return true, s.Inflate(ctx, st, l, nil)
}

// Pin is Staging.Pin; files of additional stores cannot be held.
func (s *Cache) Pin(st *store.Staging, l oci.Layer) error {
	if blob := s.FindBlob(l.Digest); blob != s.BlobPath(l.Digest) {
		return nil
	}
	return st.Pin(l)
}

// ReadBlob reads a manifest or config.
func (s *Cache) ReadBlob(d digest.Digest) ([]byte, error) {
	return oci.ReadBlob(d, func(d digest.Digest) (io.ReadCloser, error) {
		f, err := s.OpenBlob(d)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, oci.Damaged(d, "is missing")
		}
		return f, err
	})
}

// Manifest reads the manifest that d leads to: through an index, the one for
// this machine, or else the first, so that an image for other machines can be
// listed and handed on.
func (s *Cache) Manifest(d ocispec.Descriptor) (*oci.Document, error) {
	return oci.Follow(d, oci.ThisMachine().Prefer, func(d ocispec.Descriptor) ([]byte, error) { return s.ReadBlob(d.Digest) })
}

// OpenStack reads the indexes of an image.
func OpenStack(m *Mountable) (st *union.Stack, err error) {
	st = &union.Stack{Layers: make([]*layer.Index, len(m.IndexPaths))}
	for i, path := range m.IndexPaths {
		if st.Layers[i], err = layer.OpenIndex(path); err != nil {
			return nil, err
		}
	}
	st.Merged, err = layer.OpenIndex(m.UnionPath)
	return st, err
}
