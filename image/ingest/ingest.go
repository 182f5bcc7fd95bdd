// Package ingest takes a layer in, in one pass: the blob that arrives is hashed, inflated, hashed
// again, parsed and written, by goroutines that share the pieces of the stream. What comes out is
// flat.tar and its index in a staging directory, and the blob if it is wanted.
//
// Layers are hostile input: what a compressed stream may grow to and the memory that it may ask
// for are bounded, and digests that were promised are compared before anything has its name.
//
// Archives are not unpacked but looked into, so the names in them can do no harm.
//
//	entries of an image archive        100,000 (of the layers in it: see layer.Scan)
//	window of zstd, dictionary of xz   128 MiB, as `zstd --long` may ask for
//	inflated layer or archive          1 GiB, or 1000 times its size if that is more
//
// The last is against decompression bombs; TIFFIN_INFLATE_LIMIT=20GiB in the environment replaces
// the 1 GiB.
package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/store"
)

// pass is one layer on its way into a staging directory, in one pass:
//
//	          ┌─ SHA-256 of the blob ─ write blob
//	r ─ fan ──┤
//	          └─ inflate ─ fan ──┬─ SHA-256 of the content
//	                             ├─ codes of its blocks
//	                             ├─ write flat.tar
//	                             └─ layer.Scan ─ index
//
// A layer that is not compressed has only the second fan, and its blob and its
// flat.tar are two names of one file.
type pass struct {
	st   *store.Staging
	want oci.Layer // "" and 0 for what is not known beforehand
	Options

	in      atomic.Int64 // compressed bytes so far
	blob    *sink
	flat    *sink
	blobSum hash.Hash
	flatSum hash.Hash
	blocks  *layer.Blocks
	tree    *layer.Tree
}

// Layer ingests the layer that r holds. It fails if r does not have the
// digests in want, those that are not empty; got has all of them.
func Layer(ctx context.Context, st *store.Staging, r io.Reader, want oci.Layer, opt Options) (got oci.Layer, err error) {
	return newIngest(st, want, opt).run(ctx, r)
}

// Options say what is made of a layer besides its derived files.
type Options struct {
	KeepBlob bool           // false: only the derived files are wanted
	Partial  *store.Partial // where the blob is to be written, or nil: a file in the staging directory
	Progress func(int64)    // is told of bytes that have been read. May be nil
}

func (in *pass) run(ctx context.Context, r io.Reader) (got oci.Layer, err error) {
	defer in.discard()
	defer Economize()()
	var start [SniffLen]byte
	n, err := Fill(r, start[:])
	if err != nil && err != io.EOF {
		return got, err
	}
	kind, err := Sniff(start[:n])
	if err != nil {
		return got, err
	}
	if err := in.openSinks(kind); err != nil {
		return got, err
	}
	r = io.MultiReader(bytes.NewReader(start[:n]), r)
	if kind == Plain {
		err = in.readPlain(ctx, r)
	} else {
		err = in.readCompressed(ctx, r, kind)
	}
	if err != nil {
		return got, store.DiskError(err)
	}
	return in.finish(kind)
}

func newIngest(st *store.Staging, want oci.Layer, opt Options) *pass {
	if opt.Progress == nil {
		opt.Progress = func(int64) {}
	}
	return &pass{st: st, want: want, Options: opt, blobSum: sha256.New(), flatSum: sha256.New(), blocks: layer.NewBlocks()}
}

// openSinks makes the files: the blob has to be durable, and so has flat.tar
// when it is the blob.
func (in *pass) openSinks(kind compression) (err error) {
	if in.KeepBlob && kind == Plain {
		in.flat, err = in.blobSink()
		return err
	}
	if in.flat, err = newSink(in.st, false); err == nil && in.KeepBlob {
		in.blob, err = in.blobSink()
	}
	return err
}

func (in *pass) blobSink() (*sink, error) {
	if in.Partial != nil {
		return &sink{f: in.Partial.File, durable: true, have: in.Partial.Have, stays: true}, nil
	}
	return newSink(in.st, true)
}

func (in *pass) discard() {
	in.blob.discard()
	in.flat.discard()
}

// blobWrite takes compressed bytes.
func (in *pass) blobWrite(b []byte) error {
	in.blobSum.Write(b)
	if in.blob == nil {
		return nil
	}
	return in.blob.write(b)
}

// counted counts what passes and stops when the context ends.
type counted struct {
	r   io.Reader
	ctx context.Context
	in  *pass
}

func (c *counted) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(p)
	c.in.in.Add(int64(n))
	c.in.Progress(int64(n))
	return n, err
}

func (in *pass) readPlain(ctx context.Context, r io.Reader) error {
	g, ctx := errgroup.WithContext(ctx)
	f := in.content(g, ctx)
	g.Go(func() error { return f.run(&counted{r, ctx, in}) })
	return g.Wait()
}

func (in *pass) readCompressed(ctx context.Context, r io.Reader, kind compression) error {
	maximum, err := BombLimit()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	outer, inner := newFan(g, ctx), in.content(g, ctx)
	outer.each(in.blobWrite)
	outer.reader(func(r io.Reader) error {
		z, done, err := Decompress(r, kind)
		if err != nil {
			return err
		}
		defer done()
		return inner.run(&BombGuard{R: z, In: in.in.Load, Maximum: maximum})
	})
	g.Go(func() error { return outer.run(&counted{r, ctx, in}) })
	return g.Wait()
}

// content is the fan for the uncompressed bytes.
func (in *pass) content(g *errgroup.Group, ctx context.Context) *fan {
	f := in.tables(g, ctx)
	f.each(in.flat.write)
	return f
}

// tables is the fan for the uncompressed bytes if they are not written.
func (in *pass) tables(g *errgroup.Group, ctx context.Context) *fan {
	f := newFan(g, ctx)
	f.each(func(b []byte) error { in.flatSum.Write(b); return nil })
	f.each(func(b []byte) error { in.blocks.Write(b); return nil })
	f.reader(func(r io.Reader) (err error) {
		if in.tree, err = layer.Scan(r); err != nil {
			return fmt.Errorf("read the tarball: %w", err)
		}
		return nil
	})
	return f
}

// finish compares the digests and puts the files under their names.
func (in *pass) finish(kind compression) (got oci.Layer, err error) {
	got = oci.Layer{DiffID: digest.NewDigest(digest.SHA256, in.flatSum), Size: in.in.Load(), MediaType: MediaType(kind)}
	got.Digest = got.DiffID
	if kind != Plain {
		got.Digest = digest.NewDigest(digest.SHA256, in.blobSum)
	}
	if in.want.Digest != "" && got.Digest != in.want.Digest {
		return got, fmt.Errorf("layer %s is %w: its content has digest %s", in.want.Digest, oci.ErrDamaged, got.Digest)
	}
	if in.want.DiffID != "" {
		if err := sameContent(oci.Layer{Digest: got.Digest, DiffID: in.want.DiffID}, got.DiffID); err != nil {
			return got, err
		}
	}
	if err := errors.Join(in.writeDerived(got.DiffID), in.st.NoteInflates(got)); err != nil {
		return got, store.DiskError(fmt.Errorf("store layer %s: %w", got.Digest, err))
	}
	if in.KeepBlob {
		if err := in.storeBlob(got, kind); err != nil {
			return got, store.DiskError(fmt.Errorf("store layer %s: %w", got.Digest, err))
		}
	}
	return got, nil
}

func (in *pass) writeDerived(diffID digest.Digest) error {
	dir, err := in.st.LayerFile(diffID, "")
	if err != nil {
		return err
	}
	for _, name := range store.DerivedNames {
		os.Remove(filepath.Join(dir, name)) // pin may have made it a name of the store's own file
	}
	if err := writeTables(dir, in.tree, in.blocks); err != nil {
		return err
	}
	in.tree = nil // there may be others to come
	if !in.flat.durable {
		if err := store.WriteFile(filepath.Join(dir, store.UnsyncedName), []byte(store.BootID()), false); err != nil {
			return err
		}
	}
	return in.flat.moveTo(filepath.Join(dir, store.FlatName))
}

// writeTables writes what has been found out about a flat.tar.
func writeTables(dir string, tree *layer.Tree, blocks *layer.Blocks) error {
	if err := tree.WriteFile(filepath.Join(dir, store.IndexName)); err != nil {
		return err
	}
	path := filepath.Join(dir, store.BlocksName)
	return store.WriteFile(path, blocks.Encode(path), false)
}

// Flat stages the tables of a flat.tar that is there already, here or in an additional store. It
// fails if that does not have the digest.
func Flat(ctx context.Context, st *store.Staging, r io.Reader, diffID digest.Digest) error {
	defer Economize()()
	in := newIngest(st, oci.Layer{DiffID: diffID}, Options{})
	g, ctx := errgroup.WithContext(ctx)
	f := in.tables(g, ctx)
	g.Go(func() error { return f.run(&counted{r, ctx, in}) })
	if err := g.Wait(); err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, in.flatSum); got != diffID {
		return fmt.Errorf("the tarball of layer %s is %w: it has digest %s", diffID, oci.ErrDamaged, got)
	}
	dir, err := st.LayerFile(diffID, "")
	if err != nil {
		return err
	}
	return writeTables(dir, in.tree, in.blocks)
}

func (in *pass) storeBlob(got oci.Layer, kind compression) error {
	if kind != Plain {
		return in.blob.moveTo(in.st.BlobPath(got.Digest))
	}
	flat, err := in.st.LayerFile(got.DiffID, store.FlatName)
	if err != nil {
		return err
	}
	return store.LinkOrCopy(flat, in.st.BlobPath(got.Digest))
}

func MediaType(kind compression) string {
	switch kind {
	case gzipped:
		return ocispec.MediaTypeImageLayerGzip
	case zstandard:
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

// sink is a file being written in a staging directory, without a name of its
// own yet.
type sink struct {
	f       *os.File
	durable bool  // sync before it is moved
	have    int64 // bytes that were in it before, and are not written again
	stays   bool  // it keeps its old name when it is moved, and when it is not
	size    int64 // bytes written, or found to be there
	flushed int64 // bytes whose write-back has been started
}

// flushEvery is after how many bytes the kernel is told to start writing a
// blob back, so that the fsync at the end finds little left to do.
const flushEvery = 8 << 20

func newSink(st *store.Staging, durable bool) (*sink, error) {
	f, err := os.CreateTemp(st.Dir, "part-")
	if err != nil {
		return nil, store.DiskError(err)
	}
	return &sink{f: f, durable: durable}, nil
}

// Write makes a sink an io.Writer.
func (k *sink) Write(b []byte) (int, error) { return len(b), k.write(b) }

func (k *sink) write(b []byte) error {
	if n := min(int64(len(b)), k.have-k.size); n > 0 {
		k.size += n
		b = b[n:]
	}
	if _, err := k.f.Write(b); err != nil {
		return err
	}
	k.size += int64(len(b))
	if n := k.size - k.flushed; k.durable && n >= flushEvery {
		// sync_file_range(2): starts the write-back, does not wait for it.
		unix.SyncFileRange(int(k.f.Fd()), k.flushed, n, unix.SYNC_FILE_RANGE_WRITE)
		k.flushed = k.size
	}
	return nil
}

// moveTo finishes the file and gives it its name.
func (k *sink) moveTo(path string) error {
	if k.durable {
		if err := k.f.Sync(); err != nil {
			return err
		}
	}
	if k.stays {
		return store.LinkOrCopy(k.f.Name(), path)
	}
	if err := k.f.Close(); err != nil {
		return err
	}
	return os.Rename(k.f.Name(), path)
}

// discard removes the file if it has not been moved.
func (k *sink) discard() {
	if k == nil || k.stays {
		return
	}
	k.f.Close()
	if err := os.Remove(k.f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return // the staging directory goes as a whole
	}
}
