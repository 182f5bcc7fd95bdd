// Archives, which ADD unpacks: an archive is indexed as a layer is, and its files are copied out of
// it.

package build

import (
	"bytes"
	"errors"
	"fmt"
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

// inflated reads an archive, whatever it is compressed with; nil if it is none.
func inflated(t tree, path string) (io.ReadCloser, error) {
	f, err := t.open(path)
	if err != nil {
		return nil, err
	}
	var start [512]byte
	n, err := ingest.Fill(f, start[:])
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(start[:n]), f)
	content, done := io.Reader(whole), func() {}
	if n >= ingest.SniffLen && !isTar(start[:n]) {
		content, done = decompress(whole, start[:n])
		if content == nil {
			f.Close()
			return nil, nil
		}
		n, err = ingest.Fill(content, start[:])
		if !isTar(start[:n]) {
			done()
			f.Close()
			return nil, nil
		}
		content = io.MultiReader(bytes.NewReader(start[:n]), content)
	} else if !isTar(start[:n]) {
		f.Close()
		return nil, nil
	}
	return &closing{content, func() error { done(); return f.Close() }}, nil
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

type closing struct {
	io.Reader
	close func() error
}

func (c *closing) Close() error { return c.close() }

// openArchive is the tree of an archive; nil if the file is none. It is inflated into a file
// without a name. The caller closes it.
func openArchive(dir string, t tree, path string) (*imageTree, error) {
	in, err := inflated(t, path)
	if err != nil || in == nil {
		return nil, err
	}
	defer in.Close()
	flat, err := os.CreateTemp(dir, "archive-")
	if err != nil {
		return nil, err
	}
	os.Remove(flat.Name())
	limit, err := ingest.BombLimit()
	var scanned *layer.Tree
	if err == nil {
		scanned, err = layer.Scan(io.TeeReader(&bounded{in, limit}, flat))
	}
	var index *layer.Index
	if err == nil {
		index, err = layer.Decode(scanned.Encode())
	}
	if err != nil {
		flat.Close()
		return nil, fmt.Errorf("unpack %s: %w", shown(path), err)
	}
	return &imageTree{index: index, flats: []io.ReaderAt{flat}, close: func() { flat.Close() }}, nil
}

// bounded ends an archive that inflates to too much.
type bounded struct {
	io.Reader
	left int64 // bytes
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errs.Hint(errors.New("it inflates to too much"), "TIFFIN_INFLATE_LIMIT sets the limit")
	}
	return n, err
}
