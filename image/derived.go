package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
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

func (s *Store) flatPath(diffID digest.Digest) string {
	return filepath.Join(s.layerDir(diffID), flatName)
}

func (s *Store) indexPath(diffID digest.Digest) string {
	return filepath.Join(s.layerDir(diffID), indexName)
}

// bootID names the running kernel. random(4), "/proc interfaces".
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // matches nothing: the digest is checked
	}
	return string(bytes.TrimSpace(b))
}

// chainID is the digest of a stack of layers. OCI image-spec v1.1 config.md,
// "Layer ChainID".
func chainID(diffIDs []digest.Digest) digest.Digest {
	if len(diffIDs) == 0 {
		return digest.FromString("")
	}
	id := diffIDs[0]
	for _, d := range diffIDs[1:] {
		id = digest.FromString(string(id) + " " + string(d))
	}
	return id
}

// Mountable makes sure that the derived files of an image are there, and says
// where. It looks at headers and sizes only, some 10 µs for each layer; a
// damaged table inside an index is found by layer.OpenIndex, and the caller
// then uses Repair. Errors wrap ErrDamaged if a blob that is needed for
// rebuilding is not what it was, and ErrNotFound if another process removed the
// image meanwhile.
func (s *Store) Mountable(img *Image) (*Mountable, error) {
	m, complete := s.mountable(img)
	if _, err := layer.PeekFlatSize(m.UnionPath); err != nil || !complete {
		return s.Repair(context.Background(), img)
	}
	return m, nil
}

// mountable says where the derived files are or belong, and whether those of
// all layers are there.
func (s *Store) mountable(img *Image) (m *Mountable, complete bool) {
	m, complete = &Mountable{UnionPath: s.findUnion(chainID(img.Config.RootFS.DiffIDs))}, true
	for _, l := range img.Layers {
		flat, index, ok := s.findDerived(l.DiffID)
		m.FlatPaths = append(m.FlatPaths, flat)
		m.IndexPaths = append(m.IndexPaths, index)
		complete = complete && ok
	}
	return m, complete
}

// derivedOK is the quick check of one layer's files.
func (s *Store) derivedOK(diffID digest.Digest) bool {
	size, err := layer.PeekFlatSize(s.indexPath(diffID))
	if err != nil {
		return false
	}
	st, err := os.Stat(s.flatPath(diffID))
	if err != nil || st.Size() != size {
		return false
	}
	return s.written(diffID)
}

// written reports whether what is read from flat.tar is what was written.
func (s *Store) written(diffID digest.Digest) bool {
	boot, err := os.ReadFile(filepath.Join(s.layerDir(diffID), unsyncedName))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && len(boot) > 0 && string(boot) == bootID()
}

// Repair checks all derived files of an image thoroughly, but for the bytes of
// a flat.tar that has the right size, and rebuilds what is missing or damaged.
func (s *Store) Repair(ctx context.Context, img *Image) (*Mountable, error) {
	st, err := s.stage()
	if err != nil {
		return nil, fmt.Errorf("prepare image %s: %w", reference.Short(img.ID), err)
	}
	defer st.close()
	for _, l := range img.Layers {
		if s.intact(l.DiffID) {
			continue
		}
		if err := st.rebuildLayer(ctx, l); err != nil {
			return nil, fmt.Errorf("prepare image %s: %w", reference.Short(img.ID), err)
		}
	}
	if err := st.union(img.Config.RootFS.DiffIDs); err != nil {
		return nil, fmt.Errorf("prepare image %s: %w", reference.Short(img.ID), err)
	}
	if err := st.publish(nil); err != nil {
		return nil, fmt.Errorf("prepare image %s: %w", reference.Short(img.ID), err)
	}
	m, complete := s.mountable(img)
	if !complete {
		return nil, fmt.Errorf("prepare image %s: %w any more: a file of its layers has just been removed", reference.Short(img.ID), ErrNotFound)
	}
	return m, nil
}

// intact is findDerived with the index's checksum. It also settles the files
// that a kernel no longer running had not promised to have written.
func (s *Store) intact(diffID digest.Digest) bool {
	_, index, ok := s.findDerived(diffID)
	x, err := layer.OpenIndex(index)
	if err != nil {
		return false
	}
	x.Close()
	return ok || s.settle(diffID)
}

// settle hashes a flat.tar that is marked as perhaps not written, makes it
// durable and takes the mark away. It reports false if the content is wrong.
func (s *Store) settle(diffID digest.Digest) bool {
	f, err := os.Open(s.flatPath(diffID))
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, chunkSize)); err != nil || sum(h) != diffID {
		return false
	}
	if f.Sync() != nil {
		return false
	}
	os.Remove(filepath.Join(s.layerDir(diffID), unsyncedName))
	return true
}

// rebuildLayer makes a layer's derived files again: the index from flat.tar if
// that still has its digest, else both from the blob.
func (st *staging) rebuildLayer(ctx context.Context, l oci.Layer) error {
	want := oci.Layer{DiffID: l.DiffID}
	if f, err := os.Open(st.s.flatPath(l.DiffID)); err == nil {
		_, err = st.layer(ctx, f, want, false, nil)
		f.Close()
		if err == nil {
			return nil
		}
	}
	if st.borrow(ctx, l.DiffID) {
		return nil
	}
	f, err := os.Open(st.s.findBlob(l.Digest))
	if err != nil {
		return oci.Damaged(l.Digest, "is missing")
	}
	defer f.Close()
	want.Digest = l.Digest
	if _, err := st.layer(ctx, f, want, false, nil); err != nil {
		// Say which it is: a blob that is not what it was, or no space for it.
		if got, herr := hashFile(f); herr == nil && got != l.Digest {
			return oci.Damaged(l.Digest, fmt.Sprintf("its content has digest %s", got))
		}
		return fmt.Errorf("layer %s: %w", l.Digest, err)
	}
	return nil
}

// hashFile is the digest of a file's content, from its start.
func hashFile(f *os.File) (digest.Digest, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, 1<<62), make([]byte, chunkSize)); err != nil {
		return "", err
	}
	return sum(h), nil
}

// openIndex opens the index of a layer, staged or in the store.
func (st *staging) openIndex(diffID digest.Digest) (*layer.Index, error) {
	x, err := layer.OpenIndex(st.path("layers", diffID.Encoded(), indexName))
	if errors.Is(err, fs.ErrNotExist) {
		_, index, _ := st.s.findDerived(diffID)
		return layer.OpenIndex(index)
	}
	return x, err
}

// openUnion opens the merged index of a chain, staged or in the store.
func (st *staging) openUnion(chain digest.Digest) (*layer.Index, error) {
	x, err := layer.OpenIndex(st.path("unions", chain.Encoded()))
	if errors.Is(err, fs.ErrNotExist) {
		return layer.OpenIndex(st.s.findUnion(chain))
	}
	return x, err
}

// union stages the merged index of a stack of layers, unless there is a good
// one already. It starts from the highest stack below that has one: after a
// commit there is one layer to merge.
func (st *staging) union(diffIDs []digest.Digest) error {
	var merged *layer.Tree
	n := len(diffIDs)
	for ; n > 0; n-- {
		x, err := st.openUnion(chainID(diffIDs[:n]))
		if err != nil {
			continue
		}
		defer x.Close()
		if n == len(diffIDs) {
			return nil
		}
		merged = x.Tree()
		break
	}
	for i := n; i < len(diffIDs); i++ {
		x, err := st.openIndex(diffIDs[i])
		if err != nil {
			return fmt.Errorf("merge the layers: %w", err)
		}
		defer x.Close() // the trees have strings in it until they are encoded
		if merged, err = union.Merge(merged, x.Tree(), uint16(i)); err != nil {
			return fmt.Errorf("merge layer %s: %w", diffIDs[i], err)
		}
	}
	if merged == nil { // no layers at all
		merged = &layer.Tree{Root: layer.NewDir(0o755)}
	}
	return writeFile(st.path("unions", chainID(diffIDs).Encoded()), merged.Encode(), false)
}
