package layer

import (
	"bytes"
	"hash/crc32"
	"testing"
	"unsafe"

	tt "tiffin/internal/test/tartest"
)

func FuzzScan(f *testing.F) {
	piece := []tt.Piece{{Off: 1024, Data: "x"}}
	for _, es := range [][]tt.Entry{
		{tt.Dir("a"), tt.File("a/f", "hello", tt.Xattr("user.k", "v")), tt.Hardlink("h", "a/f"), tt.Symlink("l", "a")},
		{tt.Whiteout("a/b"), tt.Opaque("a"), tt.Hardlink("x", "lower"), tt.Char("c", 1, 3), tt.Fifo("p")},
		{tt.SparseOld("s", 9000, piece)}, {tt.Sparse00("s", 9000, piece)}, {tt.Sparse01("s", 9000, piece)}, {tt.Sparse10("s", 9000, piece)},
		{tt.File(string(bytes.Repeat([]byte("n/"), 100)), "x", tt.GNU()), tt.Global("comment", "c")},
	} {
		f.Add(tt.Of(f, es...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		// The mutator cannot compute checksums: right them, for depth.
		for i := 0; i+blockSize <= len(b) && i < 16*blockSize; i += blockSize {
			if h := b[i : i+blockSize]; string(h[257:262]) == "ustar" {
				fixChecksum(h)
			}
		}
		tree, err := Scan(bytes.NewReader(b))
		if err != nil {
			if tree != nil || len(err.Error()) > 4000 {
				t.Errorf("error of %d bytes, tree %v", len(err.Error()), tree)
			}
			return
		}
		enc := tree.Encode()
		x, err := Decode(enc)
		if err != nil {
			t.Fatalf("what Scan accepted does not decode: %v", err)
		}
		if !bytes.Equal(x.Tree().Encode(), enc) {
			t.Error("the index changes when it is read and written again")
		}
		sameAsArchiveTar(t, b, tree)
		if spread(x) < 1<<20 {
			sameTree(t, b, tree)
		}
	})
}

// spread is how many bytes the files have with their holes.
func spread(x *Index) (sum int64) {
	for i := range uint32(x.Len()) {
		if sum += x.Inode(i).Size; sum < 0 || x.Inode(i).Size > 1<<20 {
			return 1 << 20
		}
	}
	return sum
}

func fixChecksum(h []byte) {
	sum := 0
	copy(h[148:156], "        ")
	for _, c := range h {
		sum += int(c)
	}
	for i := 153; i >= 148; i-- {
		h[i] = byte('0' + sum&7)
		sum >>= 3
	}
	h[154] = 0
}

func FuzzDecode(f *testing.F) {
	tree, err := Scan(bytes.NewReader(tt.Of(f, tt.Dir("a"), tt.File("a/f", "hello", tt.Xattr("user.k", "v")), tt.Hardlink("h", "a/f"),
		tt.Symlink("l", "a"), tt.Sparse10("s", 9000, []tt.Piece{{Off: 1024, Data: "x"}}))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tree.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c := bytes.Clone(b) // aligned to 8 bytes
		if len(c) >= headerSize {
			putCRC(c)
		}
		x, err := Decode(c)
		if err != nil {
			return
		}
		// Every call must stay inside the tables, whatever they hold.
		for i := range uint32(x.Len()) {
			for k := range x.DirLen(i) {
				name, ino := x.Dirent(i, k)
				if got, ok := x.Lookup(i, name); !ok || got != ino {
					t.Fatalf("%q is %d by position, %d by name", name, ino, got)
				}
			}
			x.Target(i)
			x.Xattrs(i)
			x.Extents(i)
			x.Path(i)
			x.Names(i)
		}
		x.Tree().Encode()
	})
}

// putCRC gives a damaged index the checksum of an undamaged one.
func putCRC(b []byte) {
	h := (*header)(unsafe.Pointer(unsafe.SliceData(b)))
	h.CRC = crc32.Checksum(b[headerSize:], crcTable)
}
