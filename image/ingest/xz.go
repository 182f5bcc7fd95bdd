// Archives may be compressed with xz and bzip2; layers of an image may not. Of xz the library
// decodes the data; the frame around it is read here, so that no block gets more memory than
// another: The .xz File Format 1.2.1.

package ingest

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
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
	n int64 // bytes
}

func (c *inputCount) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// decompressRare is Decompress for xz and bzip2.
func decompressRare(r io.Reader, kind compression) io.Reader {
	if kind == bzipped {
		return &named{"bzip2", bzip2.NewReader(r)}
	}
	return &named{"xz", &xzReader{in: inputCount{r: bufio.NewReader(r)}}}
}

// xzReader decodes streams of xz, one after the other.
type xzReader struct {
	in      inputCount
	streams int
	flags   []byte // of the stream; nil: none has begun
	records [][2]int64

	// Of the block that is being read.
	data   io.Reader // nil: none
	check  hash.Hash // nil: none
	header int64     // bytes
	start  int64     // in.n where its data begins
	size   int64     // bytes decoded
	sizes  [2]int64  // that it says it has, compressed and not; -1: it does not say
}

func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.data == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.data.Read(p)
		x.size += int64(n)
		if x.check != nil {
			x.check.Write(p[:n])
		}
		if err == io.EOF {
			x.data, err = nil, x.endBlock()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the data of the next block; io.EOF: there is none.
func (x *xzReader) next() error {
	for {
		if x.flags == nil {
			if err := x.streamHeader(); err != nil {
				return err
			}
		}
		size, err := x.take(1)
		if err != nil {
			return err
		}
		if size[0] != 0 {
			return x.blockHeader(4*int(size[0]) + 4)
		}
		if err := x.index(); err != nil {
			return err
		}
		x.flags, x.records = nil, nil
	}
}

// take reads the next n bytes, which must be there.
func (x *xzReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(&x.in, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// checks are the checks by their number in the stream's flags, 2.1.1.2.
var checks = map[byte]func() hash.Hash{
	0: func() hash.Hash { return nil }, 1: func() hash.Hash { return littleEndian{crc32.NewIEEE()} },
	4: func() hash.Hash { return littleEndian{crc64.New(crc64.MakeTable(crc64.ECMA))} }, 10: sha256.New,
}

// littleEndian is a hash whose sum has its bytes in the other order.
type littleEndian struct{ hash.Hash }

func (l littleEndian) Sum(b []byte) []byte {
	s := l.Hash.Sum(nil)
	for i := len(s) - 1; i >= 0; i-- {
		b = append(b, s[i])
	}
	return b
}

// crcFits tells whether b ends in the CRC-32 of the rest.
func crcFits(b []byte) bool {
	n := len(b) - 4
	return crc32.ChecksumIEEE(b[:n]) == binary.LittleEndian.Uint32(b[n:])
}

var errFrame = errors.New("the data is damaged: a header or the index is not right")

// streamHeader is 2.1.1; before another stream there may be padding of four zero bytes each, 2.2.
func (x *xzReader) streamHeader() error {
	b := make([]byte, 4)
	for {
		if _, err := io.ReadFull(&x.in, b); err != nil {
			return err // io.EOF: that was all
		}
		if x.streams == 0 || !bytes.Equal(b, []byte{0, 0, 0, 0}) {
			break
		}
	}
	rest, err := x.take(8)
	if err != nil {
		return err
	}
	if string(b)+string(rest[:2]) != "\xfd7zXZ\x00" || !crcFits(rest[2:]) || rest[2] != 0 {
		return errFrame
	}
	if checks[rest[3]] == nil {
		return fmt.Errorf("it has a check of type %d, which is not supported", rest[3])
	}
	x.streams++
	x.flags = rest[2:4]
	return nil
}

// blockHeader is 3.1; all but its first byte is still to be read.
func (x *xzReader) blockHeader(size int) error {
	rest, err := x.take(size - 1)
	if err != nil {
		return err
	}
	h := append([]byte{byte(size/4 - 1)}, rest...)
	if !crcFits(h) {
		return errFrame
	}
	flags, h := h[1], h[2:size-4]
	for i, bit := range []byte{0x40, 0x80} {
		x.sizes[i] = -1
		if flags&bit != 0 {
			v, n := binary.Uvarint(h)
			if n <= 0 || v >= 1<<63 {
				return errFrame
			}
			x.sizes[i], h = int64(v), h[n:]
		}
	}
	if flags&^0xc0 != 0 || len(h) < 3 || h[0] != 0x21 || h[1] != 1 || h[2] > 40 {
		return errors.New("it has a filter besides LZMA2, which is not supported") // 5.3.1
	}
	window := int64(2|h[2]&1) << (h[2]/2 + 11)
	if window > maxWindow {
		return fmt.Errorf("it asks for %d MiB of memory, and gets %d", window>>20, maxWindow>>20)
	}
	x.header, x.start, x.size, x.check = int64(size), x.in.n, 0, checks[x.flags[1]]()
	x.data, err = lzma.Reader2Config{DictCap: int(window)}.NewReader2(&x.in)
	return err
}

// endBlock reads what comes after a block's data: padding and the check, 3.3 and 3.4.
func (x *xzReader) endBlock() error {
	packed := x.in.n - x.start
	var want []byte
	if x.check != nil {
		want = x.check.Sum(nil)
	}
	pad := int(-packed & 3)
	got, err := x.take(pad + len(want))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, append(make([]byte, pad), want...)) {
		return errors.New("the data is damaged: the check of a block is not right")
	}
	if x.sizes[0] >= 0 && x.sizes[0] != packed || x.sizes[1] >= 0 && x.sizes[1] != x.size {
		return errFrame
	}
	x.records = append(x.records, [2]int64{x.header + packed + int64(len(want)), x.size})
	return nil
}

// index reads the index, whose first byte has been read, and the footer: 4 and 2.1.2. The index
// must say of each block what was found.
func (x *xzReader) index() error {
	want := binary.AppendUvarint([]byte{0}, uint64(len(x.records)))
	for _, r := range x.records {
		want = binary.AppendUvarint(binary.AppendUvarint(want, uint64(r[0])), uint64(r[1]))
	}
	want = append(want, make([]byte, -len(want)&3)...)
	want = binary.LittleEndian.AppendUint32(want, crc32.ChecksumIEEE(want))
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(want)/4-1))
	footer = append(footer, x.flags...)
	want = binary.LittleEndian.AppendUint32(want, crc32.ChecksumIEEE(footer))
	want = append(append(want, footer...), "YZ"...)
	got, err := x.take(len(want) - 1)
	if err == nil && !bytes.Equal(got, want[1:]) {
		err = errFrame
	}
	return err
}
