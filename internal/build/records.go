// Records: what is known of each file of a COPY, or of a context. There may be a million, so that
// they are kept in files, in the order of their paths, and not in memory.
//
// A file of records is a sequence of
//
//	length of the key, key, length of the value, value
//
// where lengths are those of binary.AppendUvarint, and a key is a path whose slashes are NUL: so
// the order of bytes is that of a walk, which gives what is in a directory right after it.

package build

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
)

func keyOf(path string) string { return strings.ReplaceAll(path, "/", "\x00") }
func pathOf(key []byte) string { return strings.ReplaceAll(string(key), "\x00", "/") }
func temporary(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "records-")
	if err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

// appendRecord appends a record.
func appendRecord[K, V string | []byte](b []byte, key K, value V) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// maxRecord is how long keys and values may be, in bytes: of a damaged file no more is read.
const maxRecord = 16 << 20

// records reads a file of records.
type records struct {
	r          *bufio.Reader
	key, value []byte // of the last record; good until the next one
	off        int64  // behind it
	run        int    // of a sorter
}

func readRecords(f io.ReaderAt, from, to int64) *records {
	return &records{r: bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 16<<10), off: from}
}

// next reads the next record; io.EOF: there is none.
func (r *records) next() (err error) {
	if r.key, err = r.bytes(r.key); err != nil {
		return err
	}
	if r.value, err = r.bytes(r.value); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (r *records) bytes(b []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r.r)
	if err == nil && n > maxRecord {
		err = errors.New("it is no file of records")
	}
	if err != nil {
		return b, err
	}
	b = slices.Grow(b[:0], int(n))[:n]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return b, io.ErrUnexpectedEOF
	}
	r.off += int64(len(binary.AppendUvarint(nil, n))) + int64(n)
	return b, nil
}

// sorter takes records in any order. What does not fit into its memory is in a file, as runs that
// are sorted each.
type sorter struct {
	dir   string // of the file
	n     int    // records
	arena []byte
	spans []span
	file  *os.File // nil: all is in the arena
	ends  []int64  // of the runs
}

// span is a record in the arena.
type span struct{ key, value, end uint32 }

// maxArena is how many bytes of records a sorter has in memory.
var maxArena = 4 << 20

func (s *sorter) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// add adds a record.
func (s *sorter) add(key string, value []byte) error {
	if len(s.arena) > 0 && len(s.arena)+len(key)+len(value) > maxArena {
		if err := s.spill(); err != nil {
			return err
		}
	}
	at := uint32(len(s.arena))
	s.arena = append(append(s.arena, key...), value...)
	s.spans = append(s.spans, span{at, at + uint32(len(key)), uint32(len(s.arena))})
	s.n++
	return nil
}

// sort sorts what is in the arena. Of the same key, the record that came first stays the first.
func (s *sorter) sort() {
	slices.SortStableFunc(s.spans, func(a, b span) int { return bytes.Compare(s.arena[a.key:a.value], s.arena[b.key:b.value]) })
}

// spill writes a run.
func (s *sorter) spill() (err error) {
	start := int64(0)
	if s.file == nil {
		if s.file, err = temporary(s.dir); err != nil {
			return err
		}
	} else {
		start = s.ends[len(s.ends)-1]
	}
	s.sort()
	w := bufio.NewWriterSize(s.file, 64<<10)
	var b []byte
	for _, x := range s.spans {
		b = appendRecord(b[:0], s.arena[x.key:x.value], s.arena[x.value:x.end])
		start += int64(len(b))
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	s.ends, s.arena, s.spans = append(s.ends, start), s.arena[:0], s.spans[:0]
	return w.Flush()
}

// each gives all records in the order of their keys, and those with the same one as they came.
// They are good until f returns.
func (s *sorter) each(f func(key, value []byte) error) error {
	if s.file == nil {
		s.sort()
		for _, x := range s.spans {
			if err := f(s.arena[x.key:x.value], s.arena[x.value:x.end]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.arena, s.spans = nil, nil
	var all runs
	start := int64(0)
	for i, end := range s.ends {
		r := readRecords(s.file, start, end)
		r.run, start = i, end
		if err := r.next(); err == nil {
			all = append(all, r)
		} else if err != io.EOF {
			return err
		}
	}
	heap.Init(&all)
	for len(all) > 0 {
		r := all[0]
		if err := f(r.key, r.value); err != nil {
			return err
		}
		switch err := r.next(); err {
		case nil:
			heap.Fix(&all, 0)
		case io.EOF:
			heap.Pop(&all)
		default:
			return err
		}
	}
	return nil
}

// runs is a heap.Interface: the run with the least key is the first.
type runs []*records

func (h runs) Len() int      { return len(h) }
func (h runs) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runs) Push(r any)   { *h = append(*h, r.(*records)) }
func (h runs) Less(i, j int) bool {
	c := bytes.Compare(h[i].key, h[j].key)
	return c < 0 || c == 0 && h[i].run < h[j].run
}

func (h *runs) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	*h = (*h)[:last]
	return r
}

// fields writes and reads the fields of a value. After an error all that is read is zero.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) putNumber(n uint64) { f.b = binary.AppendUvarint(f.b, n) }
func (f *fields) putText(s string)   { f.b = append(binary.AppendUvarint(f.b, uint64(len(s))), s...) }

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) text() string {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.b, f.bad = nil, true
		return ""
	}
	s := string(f.b[:n])
	f.b = f.b[n:]
	return s
}
