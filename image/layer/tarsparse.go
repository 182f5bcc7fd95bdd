// A sparse file is stored as its data alone and a map of where it belongs.
// GNU tar has done so in four ways (GNU tar manual, "Storing Sparse Files"):
//
//	old   type S: map in the header block and in blocks that follow it
//	0.0   PAX records GNU.sparse.offset and .numbytes, repeated
//	0.1   PAX record GNU.sparse.map, "offset,bytes,offset,bytes"
//	1.0   GNU.sparse.major=1: the map is text in whole blocks before the data
//
// Numbers are decimal in all PAX forms, octal or base 256 in the old one.

package layer

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// sparseInfo is what the headers say about a sparse file.
type sparseInfo struct {
	name         string
	major, minor string
	size         int64 // of the file with its holes; -1 if not said
	exact        bool  // size is from record size, which counts more than realsize
	blocks       string
	mapText      string
	pairs        []int64 // offset, length, offset, length …
}

// sparseRecord takes PAX record GNU.sparse.KEY.
func (m *member) sparseRecord(key, value string) (err error) {
	if m.sparse == nil {
		m.sparse = &sparseInfo{size: -1}
	}
	s := m.sparse
	switch key {
	case "name":
		s.name, err = value, noNUL(value)
	case "major":
		s.major = value
	case "minor":
		s.minor = value
	case "size":
		s.size, err = decimal(value)
		s.exact = true
	case "realsize":
		if !s.exact {
			s.size, err = decimal(value)
		}
	case "numblocks":
		s.blocks = value
	case "map":
		s.mapText = value
	case "offset", "numbytes":
		if len(s.pairs)%2 == 0 != (key == "offset") {
			return errors.New("offset and numbytes must take turns")
		}
		var n int64
		n, err = decimal(value)
		s.pairs = append(s.pairs, n)
	}
	return err
}

// data reads the map of a sparse file, notes where m's data is, and skips it.
// head is the header block of a file of type S.
func (t *tarReader) data(m *member, head []byte) error {
	switch m.typ {
	case typeLink, typeSymlink, typeChar, typeBlock, typeDir, typeFifo:
		m.size = 0 // whatever the header says, no data follows these
		if m.sparse != nil && m.sparse.isMap() {
			return errors.New("only a regular file can be sparse")
		}
		m.sparse = nil
		return nil
	}
	if m.size < 0 || m.size > math.MaxInt64-2*blockSize-t.off {
		return errors.New("its size is negative or too large")
	}
	m.stored, m.offset = m.size, t.off
	end := t.off + padded(m.size)
	var err error
	switch {
	case m.typ == typeSparse:
		start := t.off
		err = t.oldSparse(m, head)
		m.offset, end = t.off, end+t.off-start // the map's blocks are not counted in the size
		m.typ = typeFile
	case m.sparse == nil:
	case !m.sparse.isMap():
		m.sparse = nil // a version nobody has defined: archive/tar reads it as it is
	case m.sparse.major == "1":
		err = t.sparse10(m)
		m.stored -= t.off - m.offset
		m.offset = t.off
	default:
		err = m.sparse.parse01()
	}
	if err == nil {
		err = m.sparse.check(m)
	}
	if err != nil {
		return err
	}
	return t.skip(end - t.off)
}

// isMap reports whether the records make the file sparse, by the same rules
// as archive/tar.
func (s *sparseInfo) isMap() bool {
	switch v := s.major + "." + s.minor; v {
	case "0.0", "0.1", "1.0":
		return true
	case ".":
		return s.mapText != "" || len(s.pairs) > 0
	}
	return false
}

// oldSparse reads the map of type S: 4 × (offset, bytes) of 12 characters
// from byte 386 of the header, then 21 in each further block, while the byte
// after the last is not 0.
func (t *tarReader) oldSparse(m *member, head []byte) error {
	size, err := number(head[483:495])
	if err != nil {
		return err
	}
	s := &sparseInfo{size: size}
	m.sparse = s
	table, more := head[386:482], head[482]
	for read := 0; ; read += blockSize {
		for ; len(table) >= 24 && table[0] != 0; table = table[24:] {
			off, err1 := number(table[:12])
			n, err2 := number(table[12:24])
			if err1 != nil || err2 != nil {
				return errNumber
			}
			s.pairs = append(s.pairs, off, n)
		}
		if more == 0 {
			return nil
		}
		if read >= maxMeta {
			return errors.New("its sparse map is too long")
		}
		b, err := t.next(blockSize)
		if err != nil {
			return noEOF(err)
		}
		table, more = b[:504], b[504]
	}
}

// parse01 reads the map of formats 0.0 and 0.1. The record numblocks must
// agree with it.
func (s *sparseInfo) parse01() error {
	if len(s.pairs) == 0 && s.mapText != "" {
		for f := range strings.SplitSeq(s.mapText, ",") {
			n, err := decimal(f)
			if err != nil {
				return errors.New("its sparse map holds something that is no number")
			}
			s.pairs = append(s.pairs, n)
		}
	}
	if n, err := decimal(s.blocks); err != nil || len(s.pairs)%2 != 0 || n != int64(len(s.pairs)/2) {
		return errors.New("its sparse map does not have the number of entries it says")
	}
	return nil
}

// sparse10 reads the map of format 1.0 from the start of the data: the number
// of entries, then offset and bytes of each, a line a number; the data starts
// at the next block.
func (t *tarReader) sparse10(m *member) error {
	want, left, counted := int64(1), padded(m.size), false
	var line []byte
	for read := 0; want > 0; read += blockSize {
		if read >= maxMeta {
			return errors.New("its sparse map is too long")
		}
		if left < blockSize {
			return errors.New("its sparse map is longer than its data")
		}
		left -= blockSize
		b, err := t.next(blockSize)
		if err != nil {
			return noEOF(err)
		}
		for _, c := range b {
			if want == 0 {
				break // the rest of the block is padding
			}
			if c != '\n' {
				if line = append(line, c); len(line) > 20 {
					return errors.New("its sparse map holds something that is no number")
				}
				continue
			}
			n, err := strconv.ParseInt(string(line), 10, 64)
			if err != nil || n < 0 {
				return errors.New("its sparse map holds something that is no number")
			}
			line = line[:0]
			if !counted {
				if n > maxMeta {
					return errors.New("its sparse map is too long")
				}
				counted, want = true, 2*n
				continue
			}
			m.sparse.pairs = append(m.sparse.pairs, n)
			want--
		}
	}
	return nil
}

// check makes sure that the map is in order, inside the file, and as long as
// the data that is stored. A nil map is that of an ordinary file.
func (s *sparseInfo) check(m *member) error {
	if s == nil {
		return nil
	}
	if m.size = s.size; m.size < 0 {
		return errors.New("a sparse file that does not say its size")
	}
	var at, sum int64
	for i := 0; i < len(s.pairs); i += 2 {
		off, n := s.pairs[i], s.pairs[i+1]
		if off < at || n < 0 || off > m.size || n > m.size-off {
			return errors.New("its sparse map is out of order or beyond the file's end")
		}
		at, sum = off+n, sum+n
	}
	if sum != m.stored {
		return errors.New("its sparse map does not fit its data")
	}
	return nil
}

// extents turns the map into places in the stream. It is nil, and sparse
// false, if the file turns out to have no hole.
func (m *member) extents() (es []Extent, sparse bool) {
	if m.sparse == nil {
		return nil, false
	}
	at := m.offset
	for i := 0; i < len(m.sparse.pairs); i += 2 {
		off, n := m.sparse.pairs[i], m.sparse.pairs[i+1]
		if n == 0 {
			continue
		}
		if k := len(es) - 1; k >= 0 && es[k].Logical+es[k].Length == off {
			es[k].Length += n
		} else {
			es = append(es, Extent{Logical: off, Length: n, Physical: at})
		}
		at += n
	}
	if m.size == 0 || len(es) == 1 && es[0].Length == m.size {
		return nil, false
	}
	return es, true
}
