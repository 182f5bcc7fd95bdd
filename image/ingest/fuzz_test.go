package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzSniff decompresses anything, within bounds.
func FuzzSniff(f *testing.F) {
	text := []byte("some content, some content, some content")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(text)
	z.Close()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	bz, _ := base64.StdEncoding.DecodeString(bzipText)
	for _, b := range [][]byte{text, zipped.Bytes(), e.EncodeAll(text, nil), bz, xzOf(f, string(text)), []byte("\x50\x2a\x4d\x18\x00\x00\x00\x00")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, err := SniffArchive(b)
		if err != nil {
			return
		}
		r, done, err := Decompress(bytes.NewReader(b), kind)
		if err != nil {
			return
		}
		defer done()
		g := &BombGuard{R: r, In: func() int64 { return int64(len(b)) }, Maximum: 1 << 20}
		n, err := io.Copy(io.Discard, g)
		if err == nil && n > max(1<<20, int64(len(b))*bombRatio) {
			t.Errorf("%d bytes became %d", len(b), n)
		}
	})
}
