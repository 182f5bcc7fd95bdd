// Archives, which ADD unpacks: an archive is indexed as a layer is, and its files are copied out of
// it.

package build

import (
	"bytes"
	"errors"
	"io"
	"os"

	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/internal/errs"
)

// magic is where a tar archive says that it is one: tar(5), "POSIX ustar Archives".
const (
	magicAt = 257
	magic   = "ustar"
)

// StartLen is how much of a file IsArchive looks at, in bytes: a header of tar(5).
const StartLen = 512

// IsArchive tells by its first bytes whether something is a tarball, or compressed.
func IsArchive(start []byte) bool {
	kind, err := ingest.SniffArchive(start)
	return isTar(start) || len(start) >= ingest.SniffLen && (err != nil || kind != ingest.Plain)
}

// inflated reads an archive, whatever it is compressed with; nil if it is none. close frees the
// decoder.
func inflated(r io.Reader) (content io.Reader, close func(), err error) {
	var start [StartLen]byte
	n, err := ingest.Fill(r, start[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	whole := io.MultiReader(bytes.NewReader(start[:n]), r)
	if isTar(start[:n]) {
		return whole, func() {}, nil
	}
	if n < ingest.SniffLen {
		return nil, nil, nil
	}
	content, close = decompress(whole, start[:n])
	if content == nil {
		return nil, nil, nil
	}
	n, _ = ingest.Fill(content, start[:]) // what cannot be inflated so far is no archive
	if !isTar(start[:n]) {
		close()
		return nil, nil, nil
	}
	return io.MultiReader(bytes.NewReader(start[:n]), content), close, nil
}

func isTar(start []byte) bool {
	return len(start) >= magicAt+len(magic) && string(start[magicAt:magicAt+len(magic)]) == magic
}

// decompress returns the content, or nil if it is in no compression that is known.
func decompress(r io.Reader, start []byte) (io.Reader, func()) {
	kind, err := ingest.SniffArchive(start)
	if err != nil || kind == ingest.Plain {
		return nil, nil
	}
	content, done, err := ingest.Decompress(r, kind)
	if err != nil {
		return nil, nil
	}
	return content, done
}

// openArchive is the tree of an archive; nil if r is none. It is inflated into a file without a
// name. The caller closes it.
func openArchive(dir string, r io.Reader) (*imageTree, error) {
	in, done, err := inflated(r)
	if err != nil || in == nil {
		return nil, err
	}
	defer done()
	flat, err := os.CreateTemp(dir, "archive-")
	if err != nil {
		return nil, err
	}
	os.Remove(flat.Name())
	var scanned *layer.Tree
	content, err := Bounded(in)
	if err == nil {
		scanned, err = layer.Scan(io.TeeReader(content, flat))
	}
	var index *layer.Index
	if err == nil {
		index, err = layer.Decode(scanned.Encode())
	}
	if err != nil {
		flat.Close()
		return nil, err
	}
	return &imageTree{index: index, flats: []io.ReaderAt{flat}, close: func() { flat.Close() }}, nil
}

// Bounded is r, which ends with an error after $TIFFIN_INFLATE_LIMIT bytes.
func Bounded(r io.Reader) (io.Reader, error) {
	limit, err := ingest.BombLimit()
	return &bounded{r, limit}, err
}

type bounded struct {
	io.Reader
	left int64 // bytes
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errs.Hint(errors.New("it is too big"), "TIFFIN_INFLATE_LIMIT sets the limit")
	}
	return n, err
}
