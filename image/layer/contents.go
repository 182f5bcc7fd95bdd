// A layer that is not here yet, described by a table of contents: its index is made of that, and
// the chunks are listed that its files' bytes come in.

package layer

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Member is an entry of a tarball as a table of contents has it.
type Member struct {
	Name, Link             string
	Type                   byte // typeflag of the tar header
	Mode                   int64
	UID, GID, Major, Minor int64
	Sec                    int64 // of the last change, since 1970
	Nsec                   uint32
	Size                   int64 // bytes of a regular file
	Xattrs                 []Xattr
}

// Chunk is a piece of a file that is fetched as a whole, and checked.
type Chunk struct {
	At       int64 // where it belongs in the sparse tarball of this layer, in bytes
	Len      int64 // bytes
	From, To int64 // the compressed bytes that it is in, offsets into the blob
	Skip     int64 // bytes that these inflate to before the first one of the chunk
	Off      int64 // in its file
	Inode    uint32
	_        uint32
	Digest   [32]byte // SHA-256
}

// Limits of a table of contents, besides those of Scan.
const (
	MaxChunk  = 64 << 20 // bytes that a chunk and what is before it inflate to
	maxChunks = 1 << 21
)

// Contents is a layer being described, entry by entry, in the order of its tarball. What Scan makes
// of the same entries is the same tree, with other offsets: inodes have the same numbers.
//
// The bytes of files have a place in a tarball that has nothing else: each file begins at a
// multiple of 512 bytes, in the order of the entries.
type Contents struct {
	s      *scanner
	chunks []Chunk
	size   int64 // of the sparse tarball so far, bytes
	limit  int64 // of the same
	blob   int64 // bytes of compressed data before the table
}

// NewContents begins. The layer's data is the first blob bytes of its blob, and may inflate to
// limit bytes.
func NewContents(blob, limit int64) *Contents {
	c := &Contents{s: &scanner{t: NewTree(NewDir(0o755))}, blob: blob, limit: min(limit, 1<<40)}
	c.s.t.Mark(0, Implicit, 0, 0)
	return c
}

// Add takes the next entry. The chunks of a file follow one another and are all of it; of each,
// Off, From, Skip and Digest count, and where it ends is found out here. An error names the entry.
func (c *Contents) Add(e *Member, chunks []Chunk) error {
	m := &member{name: e.Name, link: e.Link, typ: e.Type, mode: e.Mode, uid: e.UID, gid: e.GID,
		major: e.Major, minor: e.Minor, sec: e.Sec, nsec: e.Nsec, size: e.Size, xattrs: e.Xattrs}
	err := c.place(m, chunks)
	if err == nil {
		err = c.s.add(m)
	}
	if err != nil {
		return m.bad("%w", err)
	}
	return nil
}

// place gives a file its bytes' place in the sparse tarball.
func (c *Contents) place(m *member, chunks []Chunk) error {
	if m.typ != typeFile {
		m.size = 0
	}
	switch {
	case m.size == 0 && len(chunks) > 0:
		return errors.New("it has chunks, and no bytes")
	case m.size == 0:
		return nil
	case m.size < 0 || m.size > c.limit-c.size:
		return fmt.Errorf("with its %d bytes the layer would be larger than %d", m.size, c.limit)
	case len(chunks) == 0:
		return errors.New("no chunks say where its bytes are")
	case len(c.chunks)+len(chunks) > maxChunks:
		return fmt.Errorf("the layer has more than %d chunks", maxChunks)
	case m.nsec >= 1e9:
		return errors.New("its time is none")
	}
	m.offset = c.size
	for i, k := range chunks {
		end := m.size
		if i+1 < len(chunks) {
			end = chunks[i+1].Off
		}
		k.At, k.Len = m.offset+k.Off, end-k.Off
		switch {
		case i == 0 && k.Off != 0, k.Off < 0, k.Len <= 0, end > m.size:
			return fmt.Errorf("its chunks are not, one after the other, its %d bytes", m.size)
		case k.From < 0 || k.From >= c.blob:
			return fmt.Errorf("a chunk begins at byte %d of the blob, of which %d are data", k.From, c.blob)
		case k.Skip < 0 || k.Skip > MaxChunk-k.Len:
			return fmt.Errorf("for a chunk more than %d MiB would have to be inflated", MaxChunk>>20)
		}
		c.chunks = append(c.chunks, k)
	}
	c.size += padded(m.size)
	return nil
}

// Size is how many bytes the layer has so far.
func (c *Contents) Size() int64 { return c.size }

// Write writes the layer to dir, which is named as its diff ID: index, list of chunks, and a
// tarball that is a hole.
func (c *Contents) Write(dir string) error {
	c.s.t.FlatSize = c.size
	index := filepath.Join(dir, "index")
	if err := c.s.t.WriteFile(index); err != nil {
		return err
	}
	x, err := OpenIndex(index)
	if err != nil {
		return err
	}
	c.bind(x)
	if err := writeChunks(filepath.Join(dir, "blocks"), c.chunks, c.size); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "flat.tar"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(c.size), f.Close())
}

// bind finds the inode of each chunk, and where its compressed bytes end: where those of another
// begin. Chunks of entries that a later one has replaced are left out.
func (c *Contents) bind(x *Index) {
	var froms []int64
	for i := range c.chunks {
		froms = append(froms, c.chunks[i].From)
	}
	froms = append(froms, c.blob)
	slices.Sort(froms)
	owner := make(map[int64]uint32, x.Len())
	for i := range uint32(x.Len()) {
		if n := x.Inode(i); n.Mode&unix.S_IFMT == unix.S_IFREG && n.Size > 0 {
			owner[n.Offset] = i
		}
	}
	kept := c.chunks[:0]
	for _, k := range c.chunks {
		i, ok := owner[k.At-k.Off]
		if !ok {
			continue
		}
		end := froms[sort.Search(len(froms), func(i int) bool { return froms[i] > k.From })]
		// No compression makes more of the data than this; headers of other entries may follow.
		k.Inode, k.To = i, min(end, k.From+(k.Skip+k.Len)*65/64+64<<10)
		kept = append(kept, k)
	}
	c.chunks = kept
}

// SameTree returns an error that names the first file that is another one in the two indexes of one
// layer, of which one was made of a table of contents. Where bytes are does not count, nor what a
// time loses when it is rounded to a second.
func SameTree(a, b *Index) error {
	if a.Len() != b.Len() {
		return fmt.Errorf("there are %d files instead of %d", b.Len(), a.Len())
	}
	for i := range uint32(a.Len()) {
		n, m := *a.Inode(i), *b.Inode(i)
		sec := math.Abs(float64(n.Mtime-m.Mtime) + float64(int64(n.Nsec)-int64(m.Nsec))/1e9)
		same := n.Mode == m.Mode && n.UID == m.UID && n.GID == m.GID && n.Nlink == m.Nlink && n.Rdev == m.Rdev &&
			n.Flags&^Sparse == m.Flags&^Sparse && n.Size == m.Size && n.parent == m.parent && sec <= 0.5 &&
			a.Target(i) == b.Target(i) && slices.Equal(a.Xattrs(i), b.Xattrs(i)) && a.DirLen(i) == b.DirLen(i)
		for k := 0; same && k < a.DirLen(i); k++ {
			name, to := a.Dirent(i, k)
			other, too := b.Dirent(i, k)
			same = name == other && to == too
		}
		if !same {
			return fmt.Errorf("%.300q is not the same", a.Path(i))
		}
	}
	return nil
}

// The list of chunks, in the place of the codes of blocks; integers as in an index:
//
//	offset  bytes        what
//	0       8            "tiffinC1"
//	8       8            size of the sparse tarball in bytes
//	16      16           0
//	32      32           where the file belongs, as in an index
//	64      88 × chunks  struct Chunk, in the order of At
const chunksMagic = "tiffinC1"

type chunksHeader struct {
	Magic [8]byte
	Size  int64
	_     [2]int64
	Place [32]byte
}

func writeChunks(path string, all []Chunk, size int64) error {
	h := chunksHeader{Size: size, Place: placeOf(path)}
	copy(h.Magic[:], chunksMagic)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(bytesOf(&h))
	if err == nil && len(all) > 0 {
		_, err = f.Write(unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), len(all)*int(unsafe.Sizeof(all[0]))))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadChunks reads the list of chunks of a layer that is not all here, in the order of At, and the
// size of its sparse tarball in bytes. Errors: those of OpenStored and read(2), or one that wraps
// ErrCorrupt.
func ReadChunks(path string) ([]Chunk, int64, error) {
	f, err := OpenStored(filepath.Split(path))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	return readChunks(f)
}

func readChunks(f *os.File) ([]Chunk, int64, error) {
	bad := func(why string) ([]Chunk, int64, error) {
		return nil, 0, fmt.Errorf("%s: %w: %s", f.Name(), ErrCorrupt, why)
	}
	var h chunksHeader
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if _, err := f.ReadAt(bytesOf(&h), 0); err != nil || string(h.Magic[:]) != chunksMagic {
		return bad("it is no list of chunks")
	}
	n := (st.Size() - int64(unsafe.Sizeof(h))) / int64(unsafe.Sizeof(Chunk{}))
	if h.Place != placeOf(f.Name()) || n > maxChunks || n*int64(unsafe.Sizeof(Chunk{}))+int64(unsafe.Sizeof(h)) != st.Size() {
		return bad("it belongs elsewhere, or is not whole")
	}
	all := make([]Chunk, n)
	if n > 0 {
		if _, err := f.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), int(n)*int(unsafe.Sizeof(all[0]))), int64(unsafe.Sizeof(h))); err != nil {
			return bad(err.Error())
		}
	}
	end := int64(0)
	for _, k := range all {
		if k.At < end || k.Len <= 0 || k.Len > MaxChunk || k.At > h.Size-k.Len || k.Off < 0 || k.From < 0 || k.To <= k.From {
			return bad("a chunk is not where it can be")
		}
		end = k.At + k.Len
	}
	return all, h.Size, nil
}
