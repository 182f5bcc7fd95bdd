// The files of an archive or directory, by name: nothing is unpacked.

package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// files are those of an archive or a directory, by name. Names are relative and clean.
type files interface {
	// open returns the file and its size in bytes. A file that is not there
	// is an error that wraps fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	has(name string) bool
	Close() error
}

// dirFiles is a directory. os.Root keeps links in it from leading out of it.
type dirFiles struct{ root *os.Root }

func (d dirFiles) Close() error { return d.root.Close() }

func (d dirFiles) has(name string) bool {
	st, err := d.root.Stat(name)
	return err == nil && st.Mode().IsRegular()
}

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	// O_NONBLOCK: opening a fifo must not wait for a writer. fifo(7).
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// tarFiles is an archive in a file that can be read at any place. It is never
// unpacked: a table says where each entry's bytes are.
type tarFiles struct {
	f     *os.File
	files map[string]extent
	links map[string]string // entries that are links, to the name they mean
}

type extent struct{ off, size int64 }

// maxEntries bounds the table of an image archive, which has a handful of
// entries for each layer.
const maxEntries = 100_000

// openTar reads the headers of the archive in f, which it owns from then on.
func openTar(f *os.File) (*tarFiles, error) {
	t := &tarFiles{f: f, files: map[string]extent{}, links: map[string]string{}}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	tr := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF && n > 0 {
			return t, nil
		}
		if err != nil {
			return nil, notAnArchive(err, n)
		}
		if n == maxEntries {
			return nil, fmt.Errorf("the archive has more than %d entries: it is not an image's", maxEntries)
		}
		off, err := f.Seek(0, io.SeekCurrent) // Next leaves the file where the data starts
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg && off+h.Size > st.Size() {
			return nil, fmt.Errorf("the archive ends in the middle of %s", h.Name)
		}
		t.add(h, off)
	}
}

func notAnArchive(err error, entries int) error {
	if entries > 0 {
		return fmt.Errorf("read the archive after entry %d: %w", entries, err)
	}
	return errs.Hint(errors.New("this is not an image archive: it is no tarball"),
		"tiffin load wants what docker save, podman save or skopeo copy wrote; tiffin import takes the tarball of a root file system")
}

// add enters one header. Names that climb out with ".." mean nothing here.
func (t *tarFiles) add(h *tar.Header, off int64) {
	name, ok := cleanName(h.Name)
	if !ok {
		return
	}
	delete(t.links, name)
	delete(t.files, name)
	switch h.Typeflag {
	case tar.TypeReg:
		t.files[name] = extent{off, h.Size}
	case tar.TypeLink:
		if to, ok := cleanName(h.Linkname); ok {
			t.links[name] = to
		}
	case tar.TypeSymlink: // old `docker save`: LAYER/layer.tar -> ../OTHER/layer.tar
		if to, ok := cleanName(path.Join(path.Dir(name), h.Linkname)); ok && !path.IsAbs(h.Linkname) {
			t.links[name] = to
		}
	}
}

func cleanName(name string) (string, bool) {
	name = path.Clean(name)
	return name, name != "." && name != ".." && !strings.HasPrefix(name, "../") && !path.IsAbs(name)
}

// find follows links inside the archive; a circle of them leads nowhere.
func (t *tarFiles) find(name string) (extent, bool) {
	for range 8 {
		if e, ok := t.files[name]; ok {
			return e, true
		}
		to, ok := t.links[name]
		if !ok {
			break
		}
		name = to
	}
	return extent{}, false
}

func (t *tarFiles) has(name string) bool { _, ok := t.find(name); return ok }

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	e, ok := t.find(name)
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(t.f, e.off, e.size)), e.size, nil
}

func (t *tarFiles) Close() error { return t.f.Close() }

// openFiles opens what Load was given: a directory, an archive, or (as a
// reader) a stream, which is spooled into the staging directory unless it is a
// file after all. An archive may be compressed as a whole.
func openFiles(ctx context.Context, st *store.Staging, name string, stdin io.Reader, p ingest.Progress) (files, error) {
	f, isFile := stdin.(*os.File)
	if stdin == nil {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			root, err := os.OpenRoot(name)
			return dirFiles{root}, err
		}
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		stdin, isFile = f, true
	}
	if isFile {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return openArchive(ctx, st, f, p)
		}
	}
	spooled, err := spool(ctx, st, stdin, p, "reading the archive", 0)
	if err != nil {
		return nil, err
	}
	return openArchive(ctx, st, spooled, p)
}

// openArchive opens the archive in a regular file, which it owns from then on.
func openArchive(ctx context.Context, st *store.Staging, f *os.File, p ingest.Progress) (files, error) {
	src, err := uncompressed(ctx, st, f, p)
	if err != nil {
		f.Close()
		return nil, err
	}
	t, err := openTar(src)
	if err != nil {
		src.Close()
		return nil, err
	}
	return t, nil
}

// uncompressed is f, or a temporary file with what f holds compressed.
func uncompressed(ctx context.Context, st *store.Staging, f *os.File, p ingest.Progress) (*os.File, error) {
	var start [ingest.SniffLen]byte
	n, err := f.ReadAt(start[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the archive is empty")
	}
	kind, err := ingest.SniffArchive(start[:n])
	if err != nil || kind == ingest.Plain {
		return f, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	maximum, err := ingest.BombLimit()
	if err != nil {
		return nil, err
	}
	z, done, err := ingest.Decompress(f, kind)
	if err != nil {
		return nil, err
	}
	defer done()
	// Counting the whole file as read makes this guard milder for its start
	// and no milder in the end.
	guard := &ingest.BombGuard{R: z, In: info.Size, Maximum: maximum}
	spooled, err := spool(ctx, st, guard, p, "unpacking the archive", 0)
	if err == nil {
		f.Close()
	}
	return spooled, err
}

// spool writes a stream to a temporary file, which needs no name.
func spool(ctx context.Context, st *store.Staging, r io.Reader, p ingest.Progress, what string, total int64) (*os.File, error) {
	f, err := os.CreateTemp(st.Dir, "spool-")
	if err != nil {
		return nil, store.DiskError(err)
	}
	os.Remove(f.Name())
	add, done := ingest.Start(p, what, total)
	defer done()
	if err := ingest.Copy(ctx, f, r, add); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return f, nil
}

// readJSON reads a JSON file.
func readJSON(in files, name string, v any) error {
	b, err := readAll(in, name)
	if err != nil {
		return err
	}
	if err := oci.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func readAll(in files, name string) ([]byte, error) {
	f, _, err := in.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := oci.ReadMax(f, oci.MaxJSON)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}
