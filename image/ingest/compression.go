// What a layer is compressed with, told by its first bytes, and how far it may grow.

package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	units "github.com/docker/go-units"
	"github.com/klauspost/compress/zstd"

	"tiffin/image/inflate"
	"tiffin/internal/errs"
)

// compression is told by the first bytes, whatever a media type or a file name
// says: in practice both lie.
type compression int

const (
	Plain compression = iota
	gzipped
	zstandard
	xzipped // these two: not a layer, see SniffArchive
	bzipped
)

var magics = []struct {
	magic string
	kind  compression
	other string // name of what no layer may have
}{
	{"\x1f\x8b", gzipped, ""},           // RFC 1952, 2.3.1
	{"\x28\xb5\x2f\xfd", zstandard, ""}, // RFC 8878, 3.1.1
	{"BZh", bzipped, "bzip2"},
	{"\xfd7zXZ\x00", xzipped, "xz"},
	{"\x04\x22\x4d\x18", 0, "lz4"},
	{"\x5d\x00\x00", 0, "lzma"},
	{"PK\x03\x04", 0, "zip"},
}

// SniffLen is how many bytes Sniff and SniffArchive want to see.
const SniffLen = 6

// SniffArchive is Sniff for archives, which may be compressed with xz and bzip2 as well.
func SniffArchive(start []byte) (compression, error) {
	for _, m := range magics {
		if m.kind > zstandard && bytes.HasPrefix(start, []byte(m.magic)) {
			return m.kind, nil
		}
	}
	return Sniff(start)
}

// Sniff tells what the layer that starts with these bytes is compressed with.
func Sniff(start []byte) (compression, error) {
	for _, m := range magics {
		if !bytes.HasPrefix(start, []byte(m.magic)) {
			continue
		}
		if m.other != "" {
			return 0, errs.Hint(fmt.Errorf("%s compression is not supported", m.other), "uncompress it first, or use gzip or zstd")
		}
		return m.kind, nil
	}
	// A zstd stream may begin with skippable frames: RFC 8878, 3.1.2.
	if len(start) >= 4 && start[0]&0xf0 == 0x50 && start[1] == 0x2a && start[2] == 0x4d && start[3] == 0x18 {
		return zstandard, nil
	}
	return Plain, nil
}

// maxWindow is the most memory that a zstd stream may ask for, in bytes: that
// of `zstd --long`. RFC 8878, 3.1.1.1.2 recommends at least 8 MiB.
const maxWindow = 128 << 20

// Decompress returns the content of r, which starts with a stream of that kind.
// A gzip stream may have several members. close frees the decoder.
func Decompress(r io.Reader, kind compression) (content io.Reader, close func(), err error) {
	switch kind {
	case gzipped:
		return &named{"gzip", inflate.NewReader(r)}, func() {}, nil
	case zstandard:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return &named{"zstd", z}, z.Close, nil
	case xzipped, bzipped:
		return decompressRare(r, kind), func() {}, nil
	}
	return r, func() {}, nil
}

// named is a reader whose errors say which decoder they come from.
type named struct {
	name string
	r    io.Reader
}

func (n *named) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return k, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return k, fmt.Errorf("%s: the data ends too early: %w", n.name, err)
	}
	return k, fmt.Errorf("%s: %w", n.name, err)
}

// A decompression bomb is what grows to more than bombSize bytes and to more
// than bombRatio times its compressed size. gzip cannot do better than 1032:1,
// and real layers stay below 20:1; zstd can do 30,000:1.
const (
	bombSize  = 1 << 30
	bombRatio = 1000
)

// BombLimit is bombSize, or $TIFFIN_INFLATE_LIMIT, a size such as 20GiB.
func BombLimit() (int64, error) {
	v := os.Getenv("TIFFIN_INFLATE_LIMIT")
	if v == "" {
		return bombSize, nil
	}
	n, err := units.RAMInBytes(v)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("TIFFIN_INFLATE_LIMIT=%q is no size such as 20GiB", v)
	}
	return n, nil
}

// BombGuard stops a stream that grows beyond the limits. in is the number of
// compressed bytes that out was made of.
type BombGuard struct {
	R       io.Reader
	In      func() int64
	out     int64
	Maximum int64
}

func (g *BombGuard) Read(p []byte) (int, error) {
	n, err := g.R.Read(p)
	if g.out += int64(n); g.out > g.Maximum && g.out > bombRatio*g.In() {
		return 0, errs.Hint(
			fmt.Errorf("%s of data have grown to %s: this looks like a decompression bomb",
				units.BytesSize(float64(g.In())), units.BytesSize(float64(g.out))),
			"if it is none, allow that much with TIFFIN_INFLATE_LIMIT=20GiB")
	}
	return n, err
}
