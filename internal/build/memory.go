// What is remembered of a directory's files from build to build: which digests they have, so that
// one that has not changed is not read again. It is a file of records, by the path of each file.

package build

import (
	"bytes"
	"io"
	"math"
	"os"
	"slices"
	"sync"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
)

// version is how a file is recognized.
type version struct {
	size, mtime, ctime int64 // bytes, nanoseconds since 1970
	ino                uint64
}

// memory is the digests of files. Of a million a few hundred kilobytes are in memory.
type memory struct {
	store *image.Store
	path  string

	mu      sync.Mutex // for what follows
	file    *os.File   // nil: not asked for yet, or not there
	asked   bool       // for it
	starts  []start    // of the blocks in file
	block   int        // that is known now; -1: none
	known   map[string][]byte
	learned sorter
}

// start is where a block of file begins, and with which key.
type start struct {
	key string
	off int64
}

// blockLen is how many records are read at once.
const blockLen = 256

func newMemory(s *image.Store, dir string) *memory {
	return &memory{store: s, path: s.Path("build", "sums-"+digest.FromString(dir).Encoded()), block: -1, learned: sorter{dir: s.Path("tmp")}}
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learned.close()
	if m.file != nil {
		m.file.Close()
	}
}

// open finds the blocks, once. What is damaged ends the memory: the rest is read again.
func (m *memory) open() {
	if m.asked {
		return
	}
	m.asked = true
	var err error
	if m.file, err = os.Open(m.path); err != nil {
		return
	}
	r := readRecords(m.file, 0, math.MaxInt64)
	for n := 0; ; n++ {
		off := r.off
		if r.next() != nil {
			break
		}
		if n%blockLen == 0 {
			m.starts = append(m.starts, start{string(r.key), off})
		}
	}
}

// recall is the digest of a file, and of which version of it; the zero version: nothing is known.
func (m *memory) recall(name string) (was version, sum string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open()
	key := keyOf(name)
	i, exact := slices.BinarySearchFunc(m.starts, key, func(s start, key string) int { return bytes.Compare([]byte(s.key), []byte(key)) })
	if !exact {
		i--
	}
	if i < 0 {
		return version{}, ""
	}
	if i != m.block {
		m.read(i)
	}
	value := m.known[key]
	if value == nil {
		return version{}, ""
	}
	f := fields{b: value}
	was = version{int64(f.number()), int64(f.number()), int64(f.number()), f.number()}
	if sum = f.text(); f.bad {
		return version{}, ""
	}
	return was, sum
}

// read reads block i.
func (m *memory) read(i int) {
	m.block, m.known = i, make(map[string][]byte, blockLen)
	r := readRecords(m.file, m.starts[i].off, math.MaxInt64)
	for range blockLen {
		if r.next() != nil {
			return
		}
		m.known[string(r.key)] = bytes.Clone(r.value)
	}
}

// learn notes what a file has for a digest.
func (m *memory) learn(name string, v version, sum string) {
	var f fields
	for _, n := range []uint64{uint64(v.size), uint64(v.mtime), uint64(v.ctime), v.ino} {
		f.putNumber(n)
	}
	f.putText(sum)
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.learned.add(keyOf(name), f.b) // it is no harm to learn nothing
}

// remember keeps the digests for the next build, with those from before. It is no harm if that
// fails.
func (m *memory) remember() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.learned.n == 0 {
		return
	}
	m.open()
	replace(m.store, m.path, func(w io.Writer) error {
		var b []byte
		put := func(key, value []byte) error {
			b = appendRecord(b[:0], key, value)
			_, err := w.Write(b)
			return err
		}
		old, more := readRecords(m.file, 0, math.MaxInt64), m.file != nil
		next := func() { more = more && old.next() == nil }
		next()
		var last []byte
		err := m.learned.each(func(key, value []byte) error {
			if bytes.Equal(key, last) {
				return nil // another stage has read it, too
			}
			last = append(last[:0], key...)
			for ; more && bytes.Compare(old.key, key) < 0; next() {
				if err := put(old.key, old.value); err != nil {
					return err
				}
			}
			if more && bytes.Equal(old.key, key) {
				next()
			}
			return put(key, value)
		})
		for ; more && err == nil; next() {
			err = put(old.key, old.value)
		}
		return err
	})
	m.learned.close()
	m.learned = sorter{dir: m.learned.dir}
}
