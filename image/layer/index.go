// The index file: its tables, how it is read into memory, and how it is checked.

package layer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The index file, version 2. All integers are in the byte order of the machine
// that wrote it: an index is derived data, rebuilt from flat.tar wherever it is
// missing, stale or foreign, and never travels.
//
//	header   128 bytes (struct header)
//	inodes   NumInodes  × 88 bytes (struct Inode)
//	dirents  NumDirents × 12 bytes (struct dirent)
//	links    NumLinks   ×  8 bytes (struct link)
//	xattrs   NumXattrs  × 16 bytes (struct xattr)
//	extents  NumExtents × 24 bytes (struct Extent)
//	heap     HeapLen bytes: names, link targets, attribute values, no terminators
//
// Every table starts at a multiple of 8 bytes.
const (
	magic      = "tiffinIX"
	version    = 2
	orderMark  = 0x01020304
	headerSize = 128

	// An index has no more inodes, and bytes of names, link targets and attributes.
	maxMerged     = 16_000_000
	maxMergedHeap = 2 << 30
)

type header struct {
	Magic      [8]byte
	Version    uint32
	Order      uint32 // orderMark as the writer stored it
	CRC        uint32 // CRC-32C of everything after the header
	_          uint32
	FlatSize   int64 // bytes of the flat.tar this index describes; 0 in a merged index
	NumInodes  uint32
	NumDirents uint32
	NumLinks   uint32
	NumXattrs  uint32
	NumExtents uint32
	_          uint32
	HeapLen    uint64
	Place      [32]byte // where the file belongs, see placeOf; 0 in memory
	_          [32]byte
}

// Flags of an Inode. The first three occur only in the index of a single
// layer; union.Merge resolves them, so a merged index has none of them.
const (
	// Whiteout marks a name that hides what the layers below have under it.
	// OCI image-spec v1.1 layer.md, "Whiteouts".
	Whiteout uint16 = 1 << iota
	// Opaque marks a directory that hides everything the layers below have in
	// it. OCI image-spec v1.1 layer.md, "Opaque Whiteout".
	Opaque
	// Implicit marks a directory that the tarball has no entry of its own for;
	// it keeps the attributes of the layers below, if they have it.
	Implicit
	// HardLink marks a name that is another name of Target, a path from the
	// root of the layers below, because the layer itself does not have it.
	HardLink
	// Sparse marks a file whose bytes are given by Extents, with holes between.
	Sparse
)

// Inode is one file, directory, link or device, 88 bytes, as they are in the index:
// callers must not write to it.
type Inode struct {
	Mode  uint32 // type and permission bits, inode(7)
	UID   uint32
	GID   uint32
	Nlink uint32 // names of a file; 2 + subdirectories of a directory
	Size  int64  // bytes
	Mtime int64  // seconds since 1970
	Nsec  uint32 // nanoseconds of Mtime
	Rdev  uint32 // device number as struct fuse_attr carries it: minor&0xff | major<<8 | (minor&^0xff)<<12

	Offset    int64  // bytes into flat.tar of layer Layer where the data starts
	Layer     uint16 // 0 is the bottom layer; always 0 in the index of a single layer
	Flags     uint16
	numXattr  uint32
	first     uint32 // directory: first dirent; other: first link, if Nlink > 1
	count     uint32 // directory: number of dirents
	target    uint32 // heap offset of a symlink's target (or a HardLink's path)
	targetLen uint32
	xattr     uint32 // first xattr
	extent    uint32 // first extent
	numExtent uint32
	parent    uint32
}

// IsDir reports whether the inode is a directory.
func (n *Inode) IsDir() bool { return n.Mode&unix.S_IFMT == unix.S_IFDIR }

// Extent says that Length bytes at Logical in the file are at Physical in
// flat.tar. Units: bytes. What no extent covers reads as zeros.
type Extent struct{ Logical, Length, Physical int64 }

// Xattr is one extended attribute, xattr(7).
type Xattr struct{ Name, Value string }

type dirent struct {
	name    uint32
	nameLen uint32
	ino     uint32
}
type link struct{ dir, dirent uint32 }
type xattr struct{ name, nameLen, value, valueLen uint32 }

// Index is a directory tree as a flat table. Inode numbers are positions in
// it: 0 is the root, the others follow in the order of a depth-first walk with
// the names of each directory sorted by byte value; a hard link takes the
// number of its first name. The numbering is thus a function of the tree
// alone, a promise that upper directories rely on (see XattrOrigin).
//
// An Index is immutable and safe for concurrent use.
type Index struct {
	flatSize int64
	inodes   []Inode
	dirents  []dirent
	links    []link
	xattrs   []xattr
	extents  []Extent
	heap     string
	raw      []byte // all of it
}

// ErrCorrupt is wrapped by every error that says an index file cannot be
// trusted. The file is derived: delete and rebuild it.
var ErrCorrupt = errors.New("index is damaged")

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// OpenIndex reads the index file at path into memory of its own, whatever happens to the file
// afterwards, and checks its checksum and every reference in it, so that no later call can fail.
// Errors: those of OpenStored and read(2), or one wrapping ErrCorrupt.
func OpenIndex(path string) (*Index, error) {
	f, h, err := openHeader(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, h.size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, noEOF(err))
	}
	x, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

// PeekFlatSize reads only the header of the index file at path and returns the size in bytes of the
// flat.tar that it describes. The tables are not checked. Errors: as for OpenIndex.
func PeekFlatSize(path string) (int64, error) {
	f, h, err := openHeader(path)
	if err != nil {
		return 0, err
	}
	return h.FlatSize, f.Close()
}

// openHeader opens an index file at its start. Its size is what the header says.
func openHeader(path string) (*os.File, *header, error) {
	f, err := OpenStored(filepath.Split(path))
	if err != nil {
		return nil, nil, err
	}
	h := &header{}
	st, err := f.Stat()
	if err == nil {
		_, err = f.ReadAt(bytesOf(h), 0)
	}
	switch {
	case err == io.EOF:
		err = fmt.Errorf("%w: shorter than its header", ErrCorrupt)
	case err != nil:
	case !h.known():
		err = errVersion
	case h.Place != placeOf(path):
		err = errPlace
	case uint64(st.Size()) != h.size():
		err = fmt.Errorf("%w: %d bytes instead of %d", ErrCorrupt, st.Size(), h.size())
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, h, nil
}

var (
	errSum     = errors.New("its checksum does not match")
	errTables  = errors.New("its tables do not fit each other")
	errPlace   = fmt.Errorf("%w: it belongs to another layer or image", ErrCorrupt)
	errVersion = fmt.Errorf("%w: not an index of version %d for this machine", ErrCorrupt, version)
)

// placeOf binds a derived file to where it is in the store, by the hash of the last two elements of
// its path: a digest and the kind of file. What is valid is so in that place alone.
func placeOf(path string) [32]byte {
	return sha256.Sum256([]byte(filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)))
}

func (h *header) known() bool {
	return string(h.Magic[:]) == magic && h.Version == version && h.Order == orderMark &&
		h.NumInodes <= maxMerged && h.HeapLen <= maxMergedHeap
}

// size is that of the file, in bytes.
func (h *header) size() uint64 {
	return headerSize + tableSize[Inode](h.NumInodes) + tableSize[dirent](h.NumDirents) + tableSize[link](h.NumLinks) +
		tableSize[xattr](h.NumXattrs) + tableSize[Extent](h.NumExtents) + h.HeapLen
}

// tableSize is what n records take in the file, in bytes.
func tableSize[T any](n uint32) uint64 {
	var t T
	return align8(uint64(n) * uint64(unsafe.Sizeof(t)))
}

// Decode reads an index from memory, which it keeps and does not copy; b must
// start at a multiple of 8 bytes, as what make returns does. Errors
// wrap ErrCorrupt.
func Decode(b []byte) (*Index, error) {
	if len(b) < headerSize {
		return nil, fmt.Errorf("%w: shorter than its header", ErrCorrupt)
	}
	h := (*header)(unsafe.Pointer(unsafe.SliceData(b)))
	if !h.known() {
		return nil, errVersion
	}
	if crc32.Checksum(b[headerSize:], crcTable) != h.CRC {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, errSum)
	}
	x := &Index{flatSize: h.FlatSize, raw: b}
	rest, ok := b[headerSize:], true
	x.inodes = table[Inode](&rest, h.NumInodes, &ok)
	x.dirents = table[dirent](&rest, h.NumDirents, &ok)
	x.links = table[link](&rest, h.NumLinks, &ok)
	x.xattrs = table[xattr](&rest, h.NumXattrs, &ok)
	x.extents = table[Extent](&rest, h.NumExtents, &ok)
	if !ok || uint64(len(rest)) != h.HeapLen {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, errTables)
	}
	x.heap = unsafe.String(unsafe.SliceData(rest), len(rest))
	if err := x.check(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return x, nil
}

// table takes n records of type T off the front of rest, with their padding.
func table[T any](rest *[]byte, n uint32, ok *bool) []T {
	size := tableSize[T](n)
	if !*ok || size > uint64(len(*rest)) {
		*ok = false
		return nil
	}
	b := (*rest)[:size]
	*rest = (*rest)[size:]
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func align8(n uint64) uint64 { return (n + 7) &^ 7 }

// check follows every reference once, in time proportional to the file's size: the tables are used
// from their start to their end, so that no two inodes share a piece of one, and names and targets
// have a length that Linux allows. A directory's number is larger than its parent's, which rules
// out cycles. When a file is copied up, its name becomes one of a real file: a name with a slash
// would lead elsewhere.
func (x *Index) check() error {
	if len(x.inodes) == 0 || !x.inodes[0].IsDir() {
		return errors.New("no root directory")
	}
	names := make([]uint32, len(x.inodes)) // entries that lead to each inode; with atHome, one is in its parent
	var used struct{ dirents, xattrs, extents uint32 }
	for i := range x.inodes {
		n := &x.inodes[i]
		if i > 0 && (n.parent >= uint32(i) || !x.inodes[n.parent].IsDir()) {
			return fmt.Errorf("inode %d has no parent directory", i)
		}
		if n.targetLen > pathMax || !inside(n.target, n.targetLen, len(x.heap)) ||
			!next(&used.xattrs, n.xattr, n.numXattr, len(x.xattrs)) || !next(&used.extents, n.extent, n.numExtent, len(x.extents)) {
			return fmt.Errorf("inode %d points outside its tables", i)
		}
		if n.Size < 0 || n.Offset < 0 || n.Offset%blockSize != 0 || n.Offset/blockSize > 1<<32-1 || !goodExtents(x.extents[n.extent:n.extent+n.numExtent], n.Size) {
			return fmt.Errorf("inode %d has its data in impossible places", i)
		}
		if n.IsDir() {
			if !next(&used.dirents, n.first, n.count, len(x.dirents)) {
				return fmt.Errorf("directory %d points outside its table", i)
			}
			if err := x.checkDir(uint32(i), names); err != nil {
				return err
			}
		}
	}
	for _, a := range x.xattrs {
		if a.nameLen > nameMax || a.valueLen > xattrMax || !inside(a.name, a.nameLen, len(x.heap)) || !inside(a.value, a.valueLen, len(x.heap)) {
			return errors.New("an attribute points outside the heap")
		}
	}
	return x.checkNames(names)
}

// next takes n records of a table from used on, which must be first, and reports whether they are
// in it.
func next(used *uint32, first, n uint32, size int) bool {
	ok := first == *used && inside(first, n, size)
	*used += n
	return ok
}

// atHome marks, in check's counts, an inode that its parent has an entry for.
const atHome = 1 << 31

func (x *Index) checkDir(dir uint32, names []uint32) error {
	n, last := &x.inodes[dir], ""
	for d := n.first; d < n.first+n.count; d++ {
		e := x.dirents[d]
		if !inside(e.name, e.nameLen, len(x.heap)) || int(e.ino) >= len(x.inodes) || e.ino == 0 {
			return fmt.Errorf("an entry of directory %d points outside its tables", dir)
		}
		if !isName(x.str(e.name, e.nameLen)) {
			return fmt.Errorf("an entry of directory %d has a name that no file can have", dir)
		}
		name := x.str(e.name, e.nameLen)
		if name <= last {
			return fmt.Errorf("directory %d is not sorted", dir)
		}
		last = name
		names[e.ino]++
		if x.inodes[e.ino].parent == dir {
			names[e.ino] |= atHome
		}
	}
	return nil
}

// isName reports whether a file can have that name in its directory: path_resolution(7).
func isName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= nameMax && strings.IndexByte(s, '/') < 0 && strings.IndexByte(s, 0) < 0
}

// checkNames makes sure that every inode has the names that it says it has.
func (x *Index) checkNames(names []uint32) error {
	links := uint32(0)
	for i := range x.inodes[1:] {
		i++
		n, count := &x.inodes[i], names[i]&^atHome
		if names[i]&atHome == 0 {
			return fmt.Errorf("inode %d has no name in its parent directory", i)
		}
		if n.IsDir() {
			if count != 1 {
				return fmt.Errorf("directory %d has %d names", i, count)
			}
			continue
		}
		if n.Nlink != count || count > 1 && !next(&links, n.first, count, len(x.links)) {
			return fmt.Errorf("inode %d has %d names and says %d", i, count, n.Nlink)
		}
		if count == 1 {
			continue
		}
		for _, l := range x.links[n.first : n.first+count] {
			if int(l.dir) >= len(x.inodes) || !x.inodes[l.dir].IsDir() {
				return fmt.Errorf("a hard link of inode %d points outside its table", i)
			}
			d := &x.inodes[l.dir]
			if l.dirent < d.first || l.dirent >= d.first+d.count || x.dirents[l.dirent].ino != uint32(i) {
				return fmt.Errorf("a hard link of inode %d leads elsewhere", i)
			}
		}
	}
	return nil
}

// goodExtents reports whether they are in order, apart, and inside a file of
// size bytes.
func goodExtents(es []Extent, size int64) bool {
	at := int64(0)
	for _, e := range es {
		if e.Logical < at || e.Length <= 0 || e.Physical < 0 || e.Logical > size || e.Length > size-e.Logical {
			return false
		}
		at = e.Logical + e.Length
	}
	return true
}

func inside(first, n uint32, size int) bool { return uint64(first)+uint64(n) <= uint64(size) }

func (x *Index) str(off, n uint32) string { return x.heap[off : off+n] }

// The sizes that the format has are checked against the structs at
// build time: a change of a struct is a change of the format.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(header{})-headerSize]
	_ = [1]struct{}{}[unsafe.Sizeof(Inode{})-88]
	_ = [1]struct{}{}[unsafe.Sizeof(dirent{})-12]
	_ = [1]struct{}{}[unsafe.Sizeof(link{})-8]
	_ = [1]struct{}{}[unsafe.Sizeof(xattr{})-16]
	_ = [1]struct{}{}[unsafe.Sizeof(Extent{})-24]
	_ = binary.NativeEndian
)
