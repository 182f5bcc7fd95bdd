// What can be known of an index from its header alone.

package layer

import (
	"fmt"
	"io"
	"os"
	"unsafe"
)

// PeekFlatSize reads only the header of the index file at path and returns the
// size in bytes of the flat.tar that it describes. It costs one small read, where
// OpenIndex reads all of the file; the tables are not checked. Errors: those of
// open(2) and read(2), or one wrapping ErrCorrupt.
func PeekFlatSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var h header
	b := unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize)
	if _, err := io.ReadFull(f, b); err == io.EOF || err == io.ErrUnexpectedEOF {
		return 0, fmt.Errorf("%s: %w: shorter than its header", path, ErrCorrupt)
	} else if err != nil {
		return 0, err
	}
	if string(h.Magic[:]) != magic || h.Version != version || h.Order != orderMark {
		return 0, fmt.Errorf("%s: %w: not an index of version %d for this machine", path, ErrCorrupt, version)
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	want := uint64(headerSize) + align8(uint64(h.NumInodes)*uint64(unsafe.Sizeof(Inode{}))) +
		align8(uint64(h.NumDirents)*uint64(unsafe.Sizeof(dirent{}))) + align8(uint64(h.NumLinks)*uint64(unsafe.Sizeof(link{}))) +
		align8(uint64(h.NumXattrs)*uint64(unsafe.Sizeof(xattr{}))) + align8(uint64(h.NumExtents)*uint64(unsafe.Sizeof(Extent{}))) + h.HeapLen
	if uint64(st.Size()) != want {
		return 0, fmt.Errorf("%s: %w: %d bytes instead of %d", path, ErrCorrupt, st.Size(), want)
	}
	return h.FlatSize, nil
}
