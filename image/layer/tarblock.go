// Why not archive/tar: it reads tarballs well, but does not say where in the stream a
// file's bytes are, least of all those of a sparse file, and reports every
// mistake as "invalid tar header". So this file and the two after it read
// the format themselves, to the letter of
//
//	POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"
//	GNU tar manual, "Basic Tar Format" and "Storing Sparse Files"
//
// and where these leave a choice they take archive/tar's, because that is
// what docker, podman and umoci read the same bytes with: two programs that
// see different files in one digest are a security hole. The tests compare.

package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// blockSize is the unit of a tarball: headers are one block, data is padded.
const blockSize = 512

// maxMeta bounds what one entry may say about itself (PAX records, a long
// name, a sparse map), in bytes. archive/tar has the same limit.
const maxMeta = 1 << 20

// stream counts the bytes of r and hands them out by the block.
type stream struct {
	r      io.Reader
	buf    []byte
	lo, hi int   // unread bytes of buf
	off    int64 // position in r of buf[lo]
}

// discarder is a reader that can skip bytes without copying them.
type discarder interface{ Discard(n int) (int, error) }

// next returns the next n bytes (n at most len(buf)), valid until the next
// call. At the end of r the error is io.EOF if there were none at all, else
// io.ErrUnexpectedEOF.
func (s *stream) next(n int) ([]byte, error) {
	if s.hi-s.lo < n {
		s.hi, s.lo = copy(s.buf, s.buf[s.lo:s.hi]), 0
		m, err := io.ReadAtLeast(s.r, s.buf[s.hi:], n-s.hi)
		if s.hi += m; err != nil {
			if err == io.EOF && s.hi > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	b := s.buf[s.lo : s.lo+n]
	s.lo += n
	s.off += int64(n)
	return b, nil
}

// skip passes over n bytes.
func (s *stream) skip(n int64) error {
	m := min(n, int64(s.hi-s.lo))
	s.lo += int(m)
	s.off += m
	d, canDiscard := s.r.(discarder)
	for n -= m; n > 0; n -= m {
		var k int
		var err error
		if canDiscard {
			k, err = d.Discard(int(min(n, 1<<30)))
		} else {
			k, err = s.r.Read(s.buf[:min(n, int64(len(s.buf)))])
		}
		m = int64(k)
		if s.off += m; m < n && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// drain reads r to its end, whatever is there.
func (s *stream) drain() error {
	s.off += int64(s.hi - s.lo)
	s.lo, s.hi = 0, 0
	for {
		n, err := s.r.Read(s.buf)
		s.off += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// meta reads the data of an entry that describes the next one.
func (s *stream) meta(size int64) (string, error) {
	if size < 0 || size > maxMeta {
		return "", fmt.Errorf("its extended header has %d bytes, more than %d", size, maxMeta)
	}
	var b strings.Builder
	for n := int(size); n > 0; n -= blockSize {
		p, err := s.next(blockSize)
		if err != nil {
			return "", noEOF(err)
		}
		b.Write(p[:min(n, blockSize)])
	}
	return b.String(), nil
}

// noEOF turns io.EOF into io.ErrUnexpectedEOF, where the stream must not end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// padded is n rounded up to whole blocks.
func padded(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// Forms of a header block, by its magic.
const (
	formV7    = iota // no magic
	formUSTAR        // "ustar\0", PAX too
	formSTAR         // ustar, "tar\0" in the last four bytes
	formGNU          // "ustar  \0"
)

func form(b []byte) int {
	switch {
	case string(b[257:265]) == "ustar  \x00":
		return formGNU
	case string(b[257:263]) != "ustar\x00":
		return formV7
	case string(b[508:512]) == "tar\x00":
		return formSTAR
	}
	return formUSTAR
}

// checksum reports whether the block's checksum is right: the sum of its
// bytes, with the checksum's own as spaces, unsigned or (old Sun) signed.
func checksum(b []byte) bool {
	want, err := number(b[148:156])
	var unsigned, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return err == nil && (want == unsigned || want == signed)
}

// StartsTarball reports whether b starts as a tarball does: with a header, or with
// the zeros at the end of an empty one.
func StartsTarball(b []byte) bool {
	return len(b) >= blockSize && (checksum(b[:blockSize]) || allZero(b[:blockSize]))
}

// text is a field that ends at its first NUL, if it has one.
func text(f []byte) string {
	if i := bytes.IndexByte(f, 0); i >= 0 {
		f = f[:i]
	}
	return string(f)
}

var errNumber = errors.New("a number in its header is malformed")

// number reads an octal field, with blanks or NULs around it, or a GNU
// base-256 field: first bit set, the rest two's complement, big endian.
func number(f []byte) (int64, error) {
	if f[0]&0x80 == 0 {
		f = bytes.Trim(f, " \x00")
		if i := bytes.IndexByte(f, 0); i >= 0 {
			f = f[:i]
		}
		if len(f) == 0 {
			return 0, nil
		}
		n, err := strconv.ParseUint(string(f), 8, 63)
		if err != nil {
			return 0, errNumber
		}
		return int64(n), nil
	}
	x := int64(f[0]&0x7f) << 57 >> 57 // sign-extends the 7 bits
	for _, c := range f[1:] {
		if x > 1<<54 || x < -1<<54 {
			return 0, errNumber
		}
		x = x<<8 | int64(c)
	}
	return x, nil
}
