// A block of DEFLATE: its header, its codes, its bytes. RFC 1951, 3.2.

package inflate

import (
	"encoding/binary"
	"io"
)

// block reads a block's header. RFC 1951, 3.2.3.
func (r *Reader) block() error {
	if r.last {
		r.last = false
		r.state = (*Reader).trailer
		return nil
	}
	h, err := r.take(3)
	if err != nil {
		return err
	}
	r.last = h&1 != 0
	switch h >> 1 {
	case 0:
		return r.storedHeader()
	case 1:
		r.fixed()
	case 2:
		if err := r.dynamic(); err != nil {
			return err
		}
	default:
		return ErrCorrupt
	}
	r.state = (*Reader).symbols
	return nil
}

// storedHeader reads how long a block without compression is. RFC 1951, 3.2.4.
func (r *Reader) storedHeader() error {
	r.align()
	n, err := r.take(16)
	if err != nil {
		return err
	}
	inverse, err := r.take(16)
	if err != nil {
		return err
	}
	if n^inverse != 0xffff {
		return ErrCorrupt
	}
	r.align()
	r.plain = int(n)
	r.state = (*Reader).stored
	return nil
}

// stored copies the bytes of a block without compression, as far as they have come.
func (r *Reader) stored() error {
	if r.plain == 0 {
		r.state = (*Reader).block
		return nil
	}
	if err := r.load(); err != nil {
		return err
	}
	if r.pos == r.end {
		return io.ErrUnexpectedEOF
	}
	n := copy(r.out[r.made:], r.in[r.pos:min(r.end, r.pos+r.plain)])
	r.pos, r.made, r.plain = r.pos+n, r.made+n, r.plain-n
	return nil
}

// fixed makes the tables of blocks that bring none. RFC 1951, 3.2.6.
func (r *Reader) fixed() {
	var lens [288 + 32]byte
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		case i < 288:
			lens[i] = 8
		default:
			lens[i] = 5
		}
	}
	build(r.lit[:], litBits, lens[:288], lengths[:])
	build(r.dist[:], distBits, lens[288:], distances[:])
}

// lengthOrder is the order in which a block says how long the codes are
// that its codes' lengths are written in. RFC 1951, 3.2.7.
var lengthOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes that a block brings. RFC 1951, 3.2.7.
func (r *Reader) dynamic() error {
	h, err := r.take(14)
	if err != nil {
		return err
	}
	nlit, ndist, nlen := int(h&31)+257, int(h>>5&31)+1, int(h>>10)+4
	if nlit > 286 || ndist > 30 {
		return ErrCorrupt
	}
	var of [19]byte
	for _, s := range lengthOrder[:nlen] {
		v, err := r.take(3)
		if err != nil {
			return err
		}
		of[s] = byte(v)
	}
	var lens [286 + 30]byte
	if err := r.codeLengths(of[:], lens[:nlit+ndist]); err != nil {
		return err
	}
	if !build(r.lit[:], litBits, lens[:nlit], lengths[:]) ||
		!build(r.dist[:], distBits, lens[nlit:nlit+ndist], distances[:]) {
		return ErrCorrupt
	}
	return nil
}

// codeLengths reads the lengths of codes, which are in a code themselves.
func (r *Reader) codeLengths(of, lens []byte) error {
	const tableBits = 7 // the longest that three bits can say
	var table [1 << tableBits]uint32
	var symbols [19]uint32
	for i := range symbols {
		symbols[i] = uint32(i) << 16
	}
	if !build(table[:], tableBits, of, symbols[:]) {
		return ErrCorrupt
	}
	for i := 0; i < len(lens); {
		if r.n < tableBits+7 {
			if err := r.load(); err != nil {
				return err
			}
			r.refill()
		}
		e := table[r.bits&(1<<tableBits-1)]
		if e&special != 0 {
			return ErrCorrupt
		}
		if _, err := r.take(uint(e & 63)); err != nil {
			return err
		}
		n, err := r.repeat(e>>16, i, lens)
		if err != nil {
			return err
		}
		i += n
	}
	return nil
}

// repeat sets lens[i], or several from there on, as symbol s says, and returns
// how many.
func (r *Reader) repeat(s uint32, i int, lens []byte) (int, error) {
	value, least, extra := byte(0), 0, uint(0)
	switch s {
	case 16:
		if i == 0 {
			return 0, ErrCorrupt
		}
		value, least, extra = lens[i-1], 3, 2
	case 17:
		least, extra = 3, 3
	case 18:
		least, extra = 11, 7
	default:
		lens[i] = byte(s)
		return 1, nil
	}
	v, err := r.take(extra)
	n := least + int(v)
	if err == nil && n > len(lens)-i {
		err = ErrCorrupt
	}
	if err != nil {
		return 0, err
	}
	for k := range lens[i : i+n] {
		lens[i+k] = value
	}
	return n, nil
}

// symbols decodes a block's symbols until the input or the room for output has
// to be looked after, or the block ends. This loop is where the time goes: what
// it needs is in variables, for the compiler keeps those in registers, and the
// functions that it calls are small enough to be inlined.
func (r *Reader) symbols() error {
	if err := r.load(); err != nil {
		return err
	}
	in := r.in[:r.end]
	if r.eof {
		in = r.in[:r.end+padding]
	}
	lit, dist, out := &r.lit, &r.dist, r.out[:]
	pos, hold, n, made := r.pos, r.bits, r.n, r.made
	var err error
	for pos <= len(in)-inSlack && made <= outSize-outSlack {
		hold, pos, n = fillUp(hold, in, pos, n)
		e := lit[hold&(1<<litBits-1)]
		if e&literal != 0 {
			// Three of these have at most 33 bits.
			hold, n = drop(hold, n, e)
			out[made] = byte(e >> 16)
			made++
			if e = lit[hold&(1<<litBits-1)]; e&literal != 0 {
				hold, n = drop(hold, n, e)
				out[made] = byte(e >> 16)
				made++
				if e = lit[hold&(1<<litBits-1)]; e&literal != 0 {
					hold, n = drop(hold, n, e)
					out[made] = byte(e >> 16)
					made++
					continue
				}
			}
			hold, pos, n = fillUp(hold, in, pos, n)
		}
		// A length and its distance have at most 15 + 5 + 15 + 13 bits.
		if e&special != 0 {
			if e&indirect != 0 {
				hold, n = hold>>litBits, n-litBits
				e = lit[second(e, hold)]
			}
			if e&literal != 0 {
				hold, n = drop(hold, n, e)
				out[made] = byte(e >> 16)
				made++
				continue
			}
			if e&special != 0 {
				if e&endBlock == 0 {
					err = ErrCorrupt
				}
				hold, n = drop(hold, n, e)
				r.state = (*Reader).block
				break
			}
		}
		length := value(e, hold)
		hold, n = drop(hold, n, e)
		e = dist[hold&(1<<distBits-1)]
		if e&special != 0 {
			if e&indirect != 0 {
				hold, n = hold>>distBits, n-distBits
				e = dist[second(e, hold)]
			}
			if e&special != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := value(e, hold)
		hold, n = drop(hold, n, e)
		if distance > made-r.first {
			err = ErrCorrupt // it reaches before the start
			break
		}
		repeatBytes(out[made-distance:], distance, length)
		made += length
	}
	r.pos, r.bits, r.n, r.made = pos, hold, n, made
	return err
}

// fillUp fills up the n bits that hold has to 56 at least, with the bytes at
// pos. The bits above the counted ones are those of the byte at pos already, and
// the same again: or changes nothing.
func fillUp(hold uint64, in []byte, pos int, n uint) (uint64, int, uint) {
	return hold | binary.LittleEndian.Uint64(in[pos:])<<(n&63), pos + int((63-n)>>3), n | 56
}

// drop takes away the bits that an entry says.
func drop(hold uint64, n uint, e uint32) (uint64, uint) { return hold >> (e & 63), n - uint(e&63) }

// second is where in the second part of a table the rest of a code leads.
func second(e uint32, hold uint64) uint32 { return e>>16&0x7fff + uint32(hold)&(1<<(e>>8&15)-1) }

// value is the length or distance that an entry and the extra bits after its
// code stand for.
func value(e uint32, hold uint64) int {
	return int(e>>16 + uint32(hold)&(1<<(e&63)-1)>>(e>>8&15))
}

// repeatBytes copies length bytes of b[0:] to b[distance:], in the order that
// RFC 1951, 3.2.3 gives: what has just been copied may be copied again. It may
// write up to 15 bytes more, which the next symbols overwrite.
func repeatBytes(b []byte, distance, length int) {
	to := b[distance:]
	switch {
	case distance >= 8:
		for i := 0; i < length; i += 16 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(b[i:]))
			binary.LittleEndian.PutUint64(to[i+8:], binary.LittleEndian.Uint64(b[i+8:]))
		}
	case distance == 1:
		word := uint64(b[0]) * 0x0101010101010101
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], word)
		}
	default:
		for i := range length {
			to[i] = b[i]
		}
	}
}
