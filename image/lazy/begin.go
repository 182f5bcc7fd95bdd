// Package lazy pulls images so that they can be run before they are here: of each layer the table
// of contents comes first, the bytes when they are read.
//
// Begin fetches manifest, config and the tables, and makes of them what it takes to serve the image
// as a file system: package image says what is on the disk, and package layer how it is read. One
// program for each such image, Fill, fetches the rest: at once what a container waits for, chunk by
// chunk with Range requests, each compared with its digest in the table; and in the background all
// layers as every pull does, blob by blob. What is wanted and has come already it takes from there.
// When all is here, blobs and diff IDs are checked, and so is that each table has said what is in
// its tarball. Then the image gets its place among the others, and nothing is left of all this.
//
// # What is believed
//
// A chunk is believed by its digest in the table, the table by its digest in the manifest, and the
// manifest as in any pull. Whoever has made the image could have written a table that is not that
// of the tarball. Such an image is never published: Fill writes down what differs, it can be run no
// more, and a container that runs gets EIO for what it has not read. A layer without the annotation
// of a table's digest is not begun.
//
// # When the registry goes away
//
// A read waits until the bytes come, up to a minute; then it is EIO. A later read asks again. The
// program that fetches goes on trying for an hour. If it is killed, each command that needs the
// image, and `exec`, starts it again, and so does one that waits for its container. A reboot only
// costs the chunks that came before it, if the layer had not come as a whole.
package lazy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/image/union"
)

// Begun is what Begin did.
type Begun struct {
	Manifest, Top digest.Digest
	Left          int64 // bytes of the layers that are to come
}

// ErrHere is the error for an image whose layers are all here.
var ErrHere = errors.New("all its layers are here")

// Begin makes the image called r ready to be run, and notes that it is to get that name. Errors
// wrap ErrNotLazy if it has to be pulled as a whole, and ErrHere.
func Begin(ctx context.Context, s *image.Store, from transfer.Source, r reference.Reference, asked *oci.Platform, insecure bool) (*Begun, error) {
	fail := func(err error) (*Begun, error) { return nil, fmt.Errorf("pull %s: %w", r.Familiar(), err) }
	img, err := transfer.FromRegistry(ctx, from, r, asked)
	if err != nil {
		return fail(err)
	}
	ranger, ok := from.(transfer.Ranger)
	if !ok {
		return fail(ErrNotLazy)
	}
	st, err := s.Stage()
	if err != nil {
		return fail(err)
	}
	defer st.Close()
	manifest := img.Document.Digest
	b := &beginning{s: s, dir: st.Path(manifest.Encoded()), img: img, from: ranger,
		begun: Begun{Manifest: manifest, Top: manifest}}
	if img.Index != nil {
		b.begun.Top = digest.FromBytes(img.Index)
	}
	if !store.Readable(s.LazyDir(manifest)) {
		if err := b.stage(ctx); err != nil {
			return fail(store.DiskError(err))
		}
	}
	if err := b.publish(r.Stored(), insecure); err != nil {
		return fail(store.DiskError(err))
	}
	have, total := s.LazyProgress(&image.Image{Layers: img.Layers})
	b.begun.Left = total - have
	return &b.begun, nil
}

// beginning is an image whose directory is being made.
type beginning struct {
	s     *image.Store
	dir   string
	img   *transfer.Image
	from  transfer.Ranger
	begun Begun
}

// here reports whether a layer need not be fetched.
func (b *beginning) here(l oci.Layer) bool { return b.s.Inflates(l) && b.s.IsDerived(l.DiffID) }

// stage makes the directory.
func (b *beginning) stage(ctx context.Context) error {
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	contents, missing := make([]*layer.Contents, len(b.img.Layers)), false
	for i, l := range b.img.Layers {
		if b.here(l) {
			continue
		}
		missing = true
		g.Go(func() (err error) {
			d := b.img.Document.Layers[i]
			contents[i], err = contentsOf(d, func(off, n int64) ([]byte, error) {
				return b.read(ctx, d, off, n)
			})
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNotLazy) && !errors.Is(err, transfer.ErrInterrupted) {
				err = notLazy{err}
			}
			if err != nil {
				return fmt.Errorf("layer %s: %w", l.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if !missing {
		return ErrHere
	}
	var merged *layer.Tree
	for i, l := range b.img.Layers {
		dir := filepath.Join(b.dir, l.DiffID.Encoded())
		if c := contents[i]; c != nil && !store.Readable(dir) { // a layer may be there twice
			err := os.Mkdir(dir, 0o700)
			if err == nil {
				err = c.Write(dir)
			}
			if err != nil {
				return err
			}
		} else if c == nil {
			dir = b.s.LayerDir(l.DiffID)
		}
		t, err := layer.ReadTree(filepath.Join(dir, store.IndexName))
		if err == nil {
			merged, err = union.Merge(merged, t, uint16(i))
		}
		if err != nil {
			return fmt.Errorf("merge layer %s: %w", l.Digest, err)
		}
	}
	if err := merged.WriteFile(filepath.Join(b.dir, image.LazyUnionName)); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{{image.LazyManifestName, b.img.Document.Bytes}, {image.LazyConfigName, b.img.Config}, {image.LazyTopName, b.img.Index}} {
		if f.b == nil {
			continue
		}
		if err := store.WriteFile(filepath.Join(b.dir, f.name), f.b, true); err != nil {
			return err
		}
	}
	return nil
}

// notLazy is an error because of which a layer has to be fetched as a whole.
type notLazy struct{ error }

func (e notLazy) Unwrap() []error { return []error{e.error, ErrNotLazy} }

// A table is asked for again when its connection breaks, as layers are.
const tableTries = 5

var tablePause = 500 * time.Millisecond // before the second try; doubles

// read reads bytes of a blob for its table.
func (b *beginning) read(ctx context.Context, d ocispec.Descriptor, off, n int64) ([]byte, error) {
	for try := 1; ; try++ {
		got, err := readRange(ctx, b.from, d, off, n)
		if !errors.Is(err, transfer.ErrInterrupted) || try == tableTries {
			return got, err
		}
		select {
		case <-time.After(tablePause << (try - 1)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// readRange reads bytes of a blob.
func readRange(ctx context.Context, from transfer.Ranger, d ocispec.Descriptor, off, n int64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	r, err := from.Range(ctx, d, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: bytes of %s: %w", transfer.ErrInterrupted, d.Digest, err)
	}
	return b, nil
}

// publish gives the directory its place, if it has not got it before, and adds a name.
func (b *beginning) publish(r reference.Reference, insecure bool) error {
	ix, release, err := b.s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	manifest := b.img.Document.Digest
	lz, err := b.s.ReadLazy(ix, manifest)
	if errors.Is(err, os.ErrNotExist) {
		lz, err = &image.Lazy{Dir: b.dir}, nil
	}
	if err == nil && lz.Failed != "" {
		err = notLazy{errors.New(lz.Failed)}
	}
	if err != nil {
		return err
	}
	name := image.LazyName{Name: r.String()}
	if d := ix.Find(r); d != nil {
		name.Before = d.Digest
	}
	lz.From = image.LazySource{Name: r.String(), Insecure: insecure}
	lz.Names = append(slices.DeleteFunc(lz.Names, func(n image.LazyName) bool { return n.Name == name.Name }), name)
	if err := b.s.WriteLazyPull(lz); err != nil {
		return err
	}
	// The name was to be another image's.
	if err := b.s.TakeLazyName(r, b.s.LazyDir(manifest)); err != nil {
		return err
	}
	if lz.Dir != b.dir {
		return nil
	}
	for _, l := range b.img.Layers {
		if !b.here(l) && !store.Readable(filepath.Join(b.dir, l.DiffID.Encoded())) {
			return fmt.Errorf("layer %s was removed just now", l.Digest)
		}
	}
	to := b.s.LazyDir(manifest)
	if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Rename(b.dir, to)
}

// Command is the first argument of the program that fetches.
const Command = "__lazy"

const lockName = "lock"

// Start starts the program that fetches the rest of the image whose directory is dir, unless it
// runs. It outlives this one, and its terminal.
func Start(root, dir string) error {
	_, err := start(root, dir)
	return err
}

// Keep is Start, and starts that program again, for as long as this one runs, when it has been
// killed before all is here.
func Keep(root, dir string) error {
	err := Start(root, dir)
	go func() {
		for pause := lookAgain; err == nil && store.Readable(dir) && !store.Readable(filepath.Join(dir, image.LazyFailedName)); {
			time.Sleep(pause)
			if begun, err := start(root, dir); begun || err != nil {
				pause = min(2*pause, mostPause) // it may have ended by itself
			}
		}
	}()
	return err
}

// start reports whether it was necessary.
func start(root, dir string) (begun bool, err error) {
	lock, err := lockFill(dir)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return false, nil // it runs; or all is here
	}
	if err != nil {
		return false, fmt.Errorf("start what fetches the image: %w", err)
	}
	defer lock.Close()
	cmd := exec.Cmd{Path: "/proc/self/exe", Args: []string{"tiffin", Command, root, filepath.Base(dir)}, Dir: "/",
		ExtraFiles: []*os.File{lock}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start what fetches the image: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	return true, nil
}

// lockFill takes the lock of the program that fetches: flock(2). It is the child's then, which has
// inherited the open file.
func lockFill(dir string) (*os.File, error) {
	if !store.Readable(dir) {
		return nil, os.ErrNotExist
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
