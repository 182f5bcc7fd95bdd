// Archives may be compressed with xz and bzip2; layers of an image may not.

package ingest

import (
	"bufio"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz"
)

// Content returns the content of r uncompressed if it is in a compression that layers cannot have,
// else r.
func Content(r io.Reader) (io.Reader, error) {
	in := &inputCount{r: r}
	b := bufio.NewReader(in)
	start, _ := b.Peek(SniffLen) // what is wrong with r is told by whoever reads it
	kind, err := SniffArchive(start)
	if err != nil || kind != xzipped && kind != bzipped {
		return b, err
	}
	maximum, err := BombLimit()
	if err != nil {
		return nil, err
	}
	z, _, err := Decompress(b, kind)
	if err != nil {
		return nil, err
	}
	return &BombGuard{R: z, In: func() int64 { return in.n }, Maximum: maximum}, nil
}

type inputCount struct {
	r io.Reader
	n int64
}

func (c *inputCount) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// decompressRare is Decompress for xz and bzip2.
func decompressRare(r io.Reader, kind compression) (io.Reader, error) {
	if kind == bzipped {
		return &named{"bzip2", bzip2.NewReader(r)}, nil
	}
	b := bufio.NewReader(r)
	if window, err := xzWindow(b); err != nil {
		return nil, fmt.Errorf("xz: %w", err)
	} else if window > maxWindow {
		return nil, fmt.Errorf("xz: it asks for %d MiB of memory, and gets %d", window>>20, maxWindow>>20)
	}
	z, err := xz.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("xz: %w", err)
	}
	return &named{"xz", z}, nil
}

// xzWindow is the size in bytes of the dictionary that the first block asks for: the .xz file
// format 1.2.1, 3.1 "Block Header" and 5.3.1 "LZMA2". A stream may have no block.
func xzWindow(b *bufio.Reader) (int64, error) {
	const streamHeader = 12
	h, err := b.Peek(streamHeader + 1)
	if err != nil {
		return 0, noEnd(err)
	}
	size := 4 * (int(h[streamHeader]) + 1)
	if size == 4 {
		return 0, nil // the index
	}
	if h, err = b.Peek(streamHeader + size); err != nil {
		return 0, noEnd(err)
	}
	flags, h := h[streamHeader+1], h[streamHeader+2:]
	for skip := flags>>7 + flags>>6&1; skip > 0; skip-- { // sizes, compressed and not
		h = h[max(0, uvarint(h)):]
	}
	if flags&3 != 0 || len(h) < 3 || h[0] != 0x21 || h[1] != 1 || h[2] > 40 {
		return 0, errors.New("it has a filter besides LZMA2, which is not supported")
	}
	return int64(2|h[2]&1) << (h[2]/2 + 11), nil
}

// uvarint is the length of a "multibyte integer", 1.2 of the format.
func uvarint(b []byte) int {
	_, n := binary.Uvarint(b)
	return n
}

func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
