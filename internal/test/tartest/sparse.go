// Sparse files in the formats that GNU tar has for them.

package tartest

import (
	"archive/tar"
	"fmt"
	"strings"
)

// Piece is data in a sparse file, at offset Off in bytes. GNU tar only writes,
// and only understands, pieces of whole 512-byte blocks, but for the last one.
type Piece struct {
	Off  int64
	Data string
}

// joined is the data of the pieces one after the other.
func joined(ps []Piece) string {
	var s strings.Builder
	for _, p := range ps {
		s.WriteString(p.Data)
	}
	return s.String()
}

// SparseOld is a sparse file in the old GNU format: type S, four map entries
// in the header and 21 in each extension block. GNU tar manual, "Old GNU
// Format".
func SparseOld(name string, size int64, pieces []Piece, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeGNUSparse, Mode: 0o644, Data: joined(pieces),
		gnu: true, oldMap: endMarked(size, pieces), oldReal: size}, opts)
}

// endMarked adds the empty piece at the end that GNU tar writes when the file
// ends in a hole.
func endMarked(size int64, ps []Piece) []Piece {
	if n := len(ps); n == 0 || ps[n-1].Off+int64(len(ps[n-1].Data)) < size {
		return append(append([]Piece(nil), ps...), Piece{Off: size})
	}
	return ps
}

// oldSparse fills the map of the header: 4 × (offset, bytes) of 12 digits
// each from byte 386, "is extended" at 482, the real size at 483.
func (e Entry) oldSparse(b []byte) {
	for i, p := range e.oldMap {
		if i == 4 {
			b[482] = 1
			break
		}
		e.number(b[386+24*i:][:12], p.Off)
		e.number(b[398+24*i:][:12], int64(len(p.Data)))
	}
	e.number(b[483:495], e.oldReal)
}

// extensions are the blocks with the rest of the old map, 21 entries each.
func (e Entry) extensions() string {
	var s strings.Builder
	for rest := e.oldMap[min(4, len(e.oldMap)):]; len(rest) > 0; {
		b := make([]byte, blockSize)
		n := min(21, len(rest))
		for i, p := range rest[:n] {
			e.number(b[24*i:][:12], p.Off)
			e.number(b[24*i+12:][:12], int64(len(p.Data)))
		}
		if rest = rest[n:]; len(rest) > 0 {
			b[504] = 1
		}
		s.Write(b)
	}
	return s.String()
}

// Sparse00 is a sparse file in PAX format 0.0: a pair of records with the same
// two keys for each piece. GNU tar manual, "PAX Format, Versions 0.0 and 0.1".
func Sparse00(name string, size int64, pieces []Piece, opts ...Option) Entry {
	e := Entry{Name: name, Type: tar.TypeReg, Mode: 0o644, Data: joined(pieces)}
	ps := endMarked(size, pieces)
	recs := [][2]string{{"GNU.sparse.size", fmt.Sprint(size)}, {"GNU.sparse.numblocks", fmt.Sprint(len(ps))}}
	for _, p := range ps {
		recs = append(recs, [2]string{"GNU.sparse.offset", fmt.Sprint(p.Off)}, [2]string{"GNU.sparse.numbytes", fmt.Sprint(len(p.Data))})
	}
	e.records = recs
	return entry(e, opts)
}

// Sparse01 is a sparse file in PAX format 0.1: the map is one record, the name
// in the header is made up.
func Sparse01(name string, size int64, pieces []Piece, opts ...Option) Entry {
	ps := endMarked(size, pieces)
	var m []string
	for _, p := range ps {
		m = append(m, fmt.Sprint(p.Off), fmt.Sprint(len(p.Data)))
	}
	e := Entry{Name: "GNUSparseFile.0/" + clip(strings.ReplaceAll(name, "/", "_"), 80), Type: tar.TypeReg, Mode: 0o644, Data: joined(pieces)}
	e.records = [][2]string{{"GNU.sparse.size", fmt.Sprint(size)}, {"GNU.sparse.numblocks", fmt.Sprint(len(ps))},
		{"GNU.sparse.map", strings.Join(m, ",")}, {"GNU.sparse.name", name}}
	return entry(e, opts)
}

// Sparse10 is a sparse file in PAX format 1.0: the map is decimal text in
// whole blocks before the data. GNU tar manual, "PAX Format, Version 1.0".
func Sparse10(name string, size int64, pieces []Piece, opts ...Option) Entry {
	ps := endMarked(size, pieces)
	m := fmt.Sprintf("%d\n", len(ps))
	for _, p := range ps {
		m += fmt.Sprintf("%d\n%d\n", p.Off, len(p.Data))
	}
	e := Entry{Name: "GNUSparseFile.0/" + clip(strings.ReplaceAll(name, "/", "_"), 80), Type: tar.TypeReg, Mode: 0o644, Data: pad(m) + joined(pieces)}
	e.records = [][2]string{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"},
		{"GNU.sparse.name", name}, {"GNU.sparse.realsize", fmt.Sprint(size)}}
	return entry(e, opts)
}

// Content is what a sparse file of that size reads as.
func Content(size int64, pieces []Piece) string {
	b := make([]byte, size)
	for _, p := range pieces {
		copy(b[p.Off:], p.Data)
	}
	return string(b)
}
