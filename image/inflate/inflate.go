// Package inflate decompresses gzip, as fast as Go code can.
//
// # Why there is one more
//
// Of the time that an image takes to get here, most is that of inflating its
// layers, and it cannot be divided: a byte may be a copy of any of the 32 KiB
// before it. compress/gzip of the standard library and that of
// klauspost/compress produce a byte at a time into a ring of 32 KiB, from which
// what they produce is copied, and take their input byte by byte through an
// interface. This package does what libdeflate does in C:
//
//   - The bits of the input are in one 64-bit word, filled up with one load of
//     eight bytes and without a branch (block.go).
//   - A table says for the next 11 bits at once which symbol they begin with,
//     how long it is, and what is to be done (huffman.go). After one filling
//     up to three bytes, or a whole copy, are decoded without looking at the
//     input's end again.
//   - Output goes into a buffer that begins with the 32 KiB before it, so that
//     a copy is a copy within one slice, eight bytes at a time.
//   - The end of the input is followed by zeros, so that no second, careful loop is
//     needed: if any of them have been used, the input was too short.
//
// There is no package unsafe in it; every index is checked by the compiler or
// at run time, and what it is fed comes from strangers.
package inflate

import (
	"errors"
	"hash/crc32"
	"io"
)

// Errors of Read, besides io.ErrUnexpectedEOF and those of the source.
var (
	ErrHeader   = errors.New("this is no gzip stream")
	ErrCorrupt  = errors.New("the compressed data is damaged")
	ErrChecksum = errors.New("the checksum is wrong")
)

const (
	window = 32 << 10 // bytes; RFC 1951, 2: how far back a copy may reach
	inSize = 64 << 10
	// padding is how many zeros follow the end of the input.
	padding = 64
	// inSlack is what one turn of the decoding loop may load: two words.
	inSlack = 16
	// outSize is the output that is kept and made; all of it stays in the
	// processor's second-level cache.
	outSize = window + 128<<10
	// outSlack is what one turn of the decoding loop may write: a byte or two
	// and a copy of at most 258, in words.
	outSlack = 2 + 258 + 16
)

// Reader reads the content of a gzip stream, of all its members.
type Reader struct {
	src io.Reader
	err error // why there is no more to be decoded

	// in[pos:end] has not been looked at; the lowest n of bits come before it.
	// With eof, src has ended and zeros follow.
	in       [inSize + padding]byte
	pos, end int
	eof      bool
	bits     uint64
	n        uint

	// out[read:made] is to be handed out, out[summed:made] to be added to the
	// checksum, and before out[first] is nothing that a copy may reach.
	out         [outSize]byte
	read, made  int
	first       int
	summed      int
	crc, length uint32

	state func(*Reader) error // what comes next
	last  bool                // this is the member's last block
	plain int                 // bytes that a stored block still has
	lit   [litTable]uint32
	dist  [distTable]uint32
}

// NewReader returns a reader of what src has in compressed form. It reads
// src to its end, and further than it has to for what it hands out.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, state: (*Reader).header} }

// Read implements io.Reader. When it fails, the last bytes before what is wrong
// may not have been handed out.
func (r *Reader) Read(p []byte) (int, error) {
	for r.read == r.made {
		if r.err != nil {
			return 0, r.err
		}
		if r.err = r.decode(); r.err != nil && r.err != io.EOF {
			r.read = r.made
		}
	}
	n := copy(p, r.out[r.read:r.made])
	r.read += n
	return n, nil
}

// decode makes output until there is no more room for it.
func (r *Reader) decode() (err error) {
	// What was made last stays before what comes now.
	if gone := r.made - window; gone > 0 {
		copy(r.out[:window], r.out[gone:r.made])
		r.first = max(0, r.first-gone)
		r.read, r.made, r.summed = window, window, window
	}
	for err == nil && r.made <= outSize-outSlack {
		err = r.state(r)
	}
	if err != nil && r.used() > r.end {
		err = io.ErrUnexpectedEOF // what is wrong are the zeros
	}
	r.sum()
	return err
}

// sum brings the checksum up to date.
func (r *Reader) sum() {
	b := r.out[r.summed:r.made]
	r.crc = crc32.Update(r.crc, crc32.IEEETable, b)
	r.length += uint32(len(b))
	r.summed = r.made
}

// load sees to it that there are inSlack bytes of input, or all that there will
// be and zeros. It fails if zeros have been used.
func (r *Reader) load() error {
	for r.end-r.pos < inSlack && !r.eof {
		gone := r.used() // not pos: align may give back what bits has
		copy(r.in[:], r.in[gone:r.end])
		r.pos, r.end = r.pos-gone, r.end-gone
		n, err := r.src.Read(r.in[r.end:inSize])
		r.end += n
		if err != nil && err != io.EOF {
			return err
		}
		if r.eof = err == io.EOF; r.eof {
			clear(r.in[r.end : r.end+padding])
		}
	}
	if r.used() > r.end {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// used is the end of the input that has been decoded.
func (r *Reader) used() int { return r.pos - int(r.n>>3) }

// take takes the next k bits of input, at most 16.
func (r *Reader) take(k uint) (uint, error) {
	if r.n < k {
		if err := r.load(); err != nil {
			return 0, err
		}
		r.refill()
	}
	v := uint(r.bits) & (1<<k - 1)
	r.bits >>= k
	r.n -= k
	return v, nil
}

// refill fills up the bits.
func (r *Reader) refill() { r.bits, r.pos, r.n = fillUp(r.bits, r.in[:], r.pos, r.n) }

// align gives back the bytes that bits has, but for the rest of one that has
// been begun.
func (r *Reader) align() {
	r.pos = r.used()
	r.bits, r.n = 0, 0
}
