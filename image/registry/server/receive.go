// A blob is pushed, before it is known what image it is for.

package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// errRefused is wrapped by errors that say that what a client sent is wrong.
var errRefused = errors.New("refused")

// Upload is a blob on its way here, of which nothing is known beforehand. A layer is inflated,
// hashed and indexed while it comes (package ingest); any other blob is kept as it is. Not for use
// by several goroutines at once.
type Upload struct {
	st   *store.Staging
	w    *io.PipeWriter
	size int64         // bytes so far
	disk int64         // bytes of disk in the end; 0 before
	done chan struct{} // closed after the next two have been set
	got  oci.Layer     // DiffID is "" if it is no layer
	err  error
}

// newUpload begins to receive a blob. Close must be called in the end.
func newUpload(s *image.Store) (*Upload, error) {
	s.SweepIncoming()
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	u := &Upload{st: st, w: w, done: make(chan struct{})}
	go func() {
		u.got, u.err = receive(st, r)
		r.CloseWithError(u.err) // whoever writes learns it with the next bytes
		close(u.done)
	}()
	return u, nil
}

// Disk is how many bytes of the disk it fills, with what it inflates to, as far as it has come.
func (u *Upload) Disk() int64 {
	if u.disk == 0 {
		return u.st.Disk()
	}
	return u.disk
}

// Size is the number of bytes that have been taken.
func (u *Upload) Size() int64 { return u.size }

// Write takes the next bytes. After an error nothing more is taken.
func (u *Upload) Write(p []byte) (int, error) {
	n, err := u.w.Write(p)
	u.size += int64(n)
	return n, err
}

// finish ends the blob, which must have the digest want, and puts it where
// PutManifest finds it, also after this process has been killed.
func (u *Upload) finish(want digest.Digest) error {
	u.w.Close()
	<-u.done
	if u.err != nil {
		return u.err
	}
	if u.got.Digest != want {
		return fmt.Errorf("%w: the %d bytes that came have digest %s instead of %s", errRefused, u.size, u.got.Digest, want)
	}
	u.disk = u.st.Disk()
	if err := u.st.KeepIncoming(u.got); err != nil {
		return store.DiskError(fmt.Errorf("store blob %s: %w", want, err))
	}
	return nil
}

// Close drops what has not been finished.
func (u *Upload) Close() {
	u.w.CloseWithError(errors.New("the upload was given up"))
	<-u.done
	u.st.Close()
}

// receive stages a blob, with the derived files if it is a layer.
func receive(st *store.Staging, r io.Reader) (oci.Layer, error) {
	f, err := os.OpenFile(st.Path("received"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return oci.Layer{}, err
	}
	defer f.Close()
	from := &broken{r: io.TeeReader(r, f)}
	b, start, err := peekUpload(from)
	if err != nil {
		return oci.Layer{}, err
	}
	var got oci.Layer
	if startsLayer(start) {
		got, err = ingest.Layer(context.Background(), st, b, oci.Layer{}, ingest.Options{})
		if store.NoSpace(err) {
			return got, err
		}
	}
	if got.Digest == "" || err != nil { // whatever it is
		if _, err := io.Copy(io.Discard, b); err != nil {
			return got, err
		}
		d, err := store.HashFile(f)
		if err != nil {
			return got, err
		}
		got = oci.Layer{Digest: d}
	}
	if from.err != nil {
		return got, from.err
	}
	if err := f.Sync(); err != nil {
		return got, err
	}
	if err := os.Rename(f.Name(), st.BlobPath(got.Digest)); err != nil || got.DiffID != got.Digest {
		return got, err
	}
	flat, err := st.LayerFile(got.DiffID, store.FlatName) // the same bytes: one file is enough
	if err == nil {
		err = os.Remove(flat)
	}
	if err == nil {
		err = store.LinkOrCopy(st.BlobPath(got.Digest), flat)
	}
	return got, err
}

// broken remembers why no more came.
type broken struct {
	r   io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// How much of a blob is looked at to tell what it is, in bytes. A compressed block
// may be read as a whole: 64 KiB in gzip if it is stored (RFC 1951, 3.2.4), 128 KiB in
// zstd (RFC 8878, 3.1.1.2.4). The others get less: an upload holds this while it is open.
const (
	uploadStart           = 512
	uploadStartCompressed = 192 << 10
)

// peekUpload returns a reader of all of r, and what it starts with.
func peekUpload(r io.Reader) (*bufio.Reader, []byte, error) {
	b := bufio.NewReaderSize(r, uploadStart)
	start, err := b.Peek(uploadStart)
	if kind, _ := ingest.Sniff(start); kind != ingest.Plain && err == nil {
		b = bufio.NewReaderSize(b, uploadStartCompressed)
		start, err = b.Peek(uploadStartCompressed)
	}
	if err == io.EOF {
		err = nil // it is shorter
	}
	return b, start, err
}

// startsLayer reports whether the start of a blob is that of a layer: a tarball,
// plain or compressed. Other compressed blobs, such as a list of contents, are not.
func startsLayer(start []byte) bool {
	kind, err := ingest.Sniff(start)
	if err != nil {
		return false // another compression, which layers cannot have here
	}
	content, closeDecoder, err := ingest.Decompress(bytes.NewReader(start), kind)
	if err != nil {
		return false
	}
	defer closeDecoder()
	var block [512]byte // of a tarball
	n, err := io.ReadFull(content, block[:])
	switch {
	case err == io.EOF: // a layer without a byte is read as an empty one
		return true
	case err != nil && err != io.ErrUnexpectedEOF:
		return kind != ingest.Plain // damaged: the error of reading it says how
	}
	return layer.StartsTarball(block[:n])
}

// openBlob opens a blob that an image has or that waits for its manifest.
// Errors wrap fs.ErrNotExist if there is none.
func openBlob(s *image.Store, d digest.Digest) (*os.File, error) {
	if !reference.ValidDigest(d) {
		return nil, fmt.Errorf("%q is no sha256 digest: %w", d, fs.ErrNotExist)
	}
	// What is missing in the first may just have been moved to the second.
	f, err := os.Open(s.Incoming(d, store.IncomingBlob))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.Cache.OpenBlob(d)
	}
	return f, err
}
