// Huffman codes as tables, of which one look-up answers most codes. RFC 1951, 3.2.2.

package inflate

import "math/bits"

// A table is indexed with the next bits of the input, and an entry says what
// they begin with:
//
//	bit 31      literal: a byte of output
//	bits 16–30  that byte; or the smallest length or distance that the symbol
//	            stands for; or where in the table the second part is
//	bit 15      special: not a length or distance, but
//	bit 14        a code too long for the first part of the table
//	bit 13        the end of the block
//	              neither: no code
//	bits 8–11   how many bits the code has; or those that index the second part
//	bits 0–5    how many bits to take: the code and the extra bits after it
//
// A code that is longer than litBits or distBits is looked up twice: those bits
// lead to a second part, which the remaining ones index.
const (
	literal  = 1 << 31
	special  = 1 << 15
	indirect = 1 << 14
	endBlock = 1 << 13

	litBits  = 11
	distBits = 8
	maxCode  = 15 // bits; RFC 1951, 3.2.7

	// A code is complete, so each second part has two symbols at least: of
	// 288 that can be 144 parts, of 32 distances 16.
	litTable  = 1<<litBits + 144<<(maxCode-litBits)
	distTable = 1<<distBits + 16<<(maxCode-distBits)
)

// lengths and distances are the entries of the symbols without their codes.
// RFC 1951, 3.2.5.
var (
	lengths   = lengthEntries()
	distances = distanceEntries()
)

func lengthEntries() (e [288]uint32) {
	for i := range 256 {
		e[i] = literal | uint32(i)<<16
	}
	e[256] = special | endBlock
	base := uint32(3)
	for i := 257; i < 285; i++ {
		extra := uint32(max(0, (i-261)/4))
		e[i] = base<<16 | extra
		base += 1 << extra
	}
	e[285] = 258 << 16
	e[286], e[287] = special, special // "will never actually occur": 3.2.6
	return e
}

func distanceEntries() (e [32]uint32) {
	base := uint32(1)
	for i := range 30 {
		extra := uint32(max(0, (i-2)/2))
		e[i] = base<<16 | extra
		base += 1 << extra
	}
	e[30], e[31] = special, special
	return e
}

// build makes a table whose first part is indexed by primary bits, of the
// lengths of the symbols' codes. It reports false if there is no such code.
//
// RFC 1951, 3.2.2: codes of one length are numbers that count up in the order of
// the symbols, and those that are shorter come before those that are longer.
func build(table []uint32, primary uint, lens []byte, symbols []uint32) bool {
	var count [maxCode + 1]uint
	for _, l := range lens {
		count[l]++
	}
	count[0] = 0
	var next [maxCode + 1]uint
	longest, code := uint(0), uint(0)
	for l := uint(1); l <= maxCode; l++ {
		code <<= 1
		next[l] = code
		if code += count[l]; count[l] > 0 {
			longest = l
		}
		if code > 1<<l {
			return false // more codes than there can be
		}
	}
	// All codes must be used, with two exceptions that compressors make use
	// of: no symbol, and one of one bit. RFC 1951, 3.2.7: "one distance code …
	// is encoded using one bit, not zero bits".
	if code != 1<<maxCode && longest > 1 {
		return false
	}
	first := table[:1<<primary]
	for i := range first {
		first[i] = special
	}
	end := len(first)
	for s, l := range lens {
		l := uint(l)
		if l == 0 {
			continue
		}
		// The first bit of a code comes first, in the lowest bit: 3.1.1.
		at := int(bits.Reverse16(uint16(next[l])) >> (16 - l))
		next[l]++
		part, e := first, symbols[s]
		if l > primary {
			from := at & (len(first) - 1)
			if first[from] == special {
				first[from] = special | indirect | uint32(end)<<16 | uint32(longest-primary)<<8 | uint32(primary)
				end += 1 << (longest - primary)
			}
			start := int(first[from] >> 16)
			part = table[start : start+1<<(longest-primary)]
			at, l = at>>primary, l-primary
		}
		for e += uint32(l)<<8 | uint32(l); at < len(part); at += 1 << l {
			part[at] = e
		}
	}
	return true
}
