// Package layer turns a tarball into something that can be looked things up in
// without unpacking it, and an upper directory back into a tarball.
//
// # Why an index
//
// An image is a stack of tarballs, and a tarball can only be read from the
// front: to find etc/passwd one has to pass everything before it. The usual
// answer is to unpack every layer into a directory. That writes each byte of
// the image once more, needs an inode of the host for each file, and without
// root it cannot be done truly: an ordinary user cannot make a device node or
// a file that belongs to somebody else.
//
// tiffin keeps the tarball as it is (flat.tar, whose SHA-256 is the layer's
// diffID) and writes a table of contents next to it. Scan makes that table
// while the tarball streams by; OpenIndex maps it into memory; Reader reads a
// file straight out of flat.tar at the offset that the table says. Owners,
// modes and device numbers are just numbers in it.
//
//	        Scan                 Encode                 OpenIndex
//	tarball ────► Tree of Nodes ────────► index (file) ──────────► Index
//	                 ▲   │                                  │
//	                 │   └── union.Merge(lower, upper) ◄────┘ Index.Tree
//	                 └───────────┘
//
//	upper directory ──► WriteDiff ──► tarball of the next layer
//	                └─► Changes   ──► the lines of `diff`
//
// The index is derived: whoever finds it missing, stale or damaged makes it
// again from flat.tar. It never leaves the machine. Hence native byte order,
// no versions to be compatible with, and a checksum instead of a signature.
//
// # The index file
//
//	offset      bytes            what
//	0           128              header: magic, version, byte order, CRC-32C, sizes
//	128         88 × inodes      mode, owner, size, time, where the data is, parent
//	…           12 × dirents     name and inode number, sorted by name in each directory
//	…            8 × links       (directory, dirent) of each name of a hard-linked file
//	…           16 × xattrs      name and value, in the heap
//	…           24 × extents     pieces of sparse files: logical, length, physical
//	…           the rest         heap: names, link targets, attribute values
//
// Tables start at multiples of 8 bytes. Inode 0 is the root; the others are
// numbered by a depth-first walk in the order of names. So the numbers follow
// from the tree alone, and whoever remembers one (user.tiffin.origin) finds
// the same file after the index has been made again. A directory's number is
// higher than its parent's: no loop is possible. Decode checks the checksum
// and every reference once; after that no lookup can fail or leave the map,
// and none allocates.
//
// This is the whole index, on a little-endian machine, of a tarball with one
// file: "hi" of 6 bytes, mode 0644, owner 1000:1000, modified at 1700000000.
//
//	00000000  74 69 66 66 69 6e 49 58  01 00 00 00 04 03 02 01  |tiffinIX........|
//	00000010  f7 b2 0b 06 00 00 00 00  00 08 00 00 00 00 00 00  |................|
//	00000020  02 00 00 00 01 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000030  00 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  |................|
//	00000040  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000050  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000060  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000070  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000080  ed 41 00 00 00 00 00 00  00 00 00 00 02 00 00 00  |.A..............|
//	00000090  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000000a0  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000000b0  00 00 04 00 00 00 00 00  00 00 00 00 01 00 00 00  |................|
//	000000c0  02 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000000d0  00 00 00 00 00 00 00 00  a4 81 00 00 e8 03 00 00  |................|
//	000000e0  e8 03 00 00 01 00 00 00  06 00 00 00 00 00 00 00  |................|
//	000000f0  00 f1 53 65 00 00 00 00  00 00 00 00 00 00 00 00  |..Se............|
//	00000100  00 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000110  00 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  |................|
//	00000120  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000130  00 00 00 00 02 00 00 00  01 00 00 00 00 00 00 00  |................|
//	00000140  68 69                                             |hi|
//
// 00: "tiffinIX", version 1, the number 0x01020304 as this machine stores it.
// 10: CRC-32C of all from 80 on; flat.tar has 0x800 bytes (header block, one
// block of data, two blocks of zeros). 20: 2 inodes, 1 dirent, no links,
// xattrs, extents. 38: the heap has 2 bytes.
// 80: inode 0, mode 040755 (0x41ed), 2 links; at b2, flags 4: Implicit, the
// tarball has no entry for it; at b8, it has 1 dirent from number 0 on.
// d8: inode 1, mode 0100644 (0x81a4), owner 0x3e8; at e8, 6 bytes; at 100, its
// data starts at byte 0x200 of flat.tar.
// 130: dirent 0, name at heap offset 0, 2 bytes, inode 1; 4 bytes of padding.
// 140: the heap.
//
// # What Scan makes of a tarball
//
// The index of one layer keeps what belongs to that layer only, so that it can
// be made once, whatever it is stacked on. Names that are whiteouts are in it
// as such; directories that no entry describes are Implicit; a hard link to a
// file that some layer below must have keeps its target as text. union.Merge
// resolves all these. A whiteout never hides something in its own layer,
// wherever in the tarball it stands; a directory that has taken the place of
// something (a whiteout, or an earlier entry that was a file) is Opaque.
//
// Tarballs come from strangers. Names are cleaned as docker does it (leading
// "/" and "./" mean nothing), and what could lead outside is refused: "..",
// and anything that reaches through a symbolic link or file of the same layer.
// Memory is bounded by the limits in scan.go, extended headers by 1 MiB each
// as in archive/tar; nothing is allocated because a header claims a size.
//
// # The upper directory
//
// What a container changes is kept as real files that a person can look at;
// attrs.go has the rules. A few pictures:
//
//	command in the container        in the upper directory
//	echo hi > /etc/motd             etc/ (origin)  etc/motd
//	rm /etc/issue                   etc/ (origin)  etc/.wh.issue
//	chown 5:6 /bin/big              bin/ (origin)  bin/big (origin, metacopy, override_stat 5:6:…)
//	mv /usr /old                    .wh.usr  old/ (origin: the number of /usr), and nothing in it
//	rm -r /srv; mkdir /srv          srv/ (no origin: opaque)
//	ln -s a /b                      b, a regular file with the text "a" (override_stat 0:0:0777:symlink)
//
// WriteDiff reads that directory alone. For each path it compares what is there
// with what the image's index has at the same path, never the image's tree:
// the cost is that of the changes. Two things the upper says briefly have to be
// said at length in a layer. A renamed directory is written with all that is in
// it, its data copied from the flat files, because a layer has no word for
// "moved". And if one name of a hard-linked file of the image is written, all
// names that can still be seen are, as links to the first: a layer's hard link
// must lead into the same layer, since docker and podman unpack each into a
// directory of its own.
//
// # Locking
//
// An Index is immutable; any number of goroutines and processes share its
// pages. A Tree belongs to one goroutine at a time; Encode marks its nodes
// while it runs. Nothing may write to an upper directory during WriteDiff or
// Changes: fs.FS.Freeze sees to that.
//
// # Measured and found out
//
// A Debian image of three layers, tarballs in the page cache, two cores busy
// with other work (best of three):
//
//	layer     flat.tar   inodes     index    Scan    Encode   Merge
//	0          204 MB     6,768    722 KB    52 ms     7 ms   3.6 ms
//	1          163 MB     5,795    637 KB    22 ms     5 ms   1.7 ms
//	2          467 MB    14,775  1,663 KB    63 ms    18 ms   6.9 ms
//	merged               24,634  2,728 KB             31 ms
//
// That is 111 bytes a file. OpenIndex of the merged one takes 0.5 ms, nearly
// all of it the checksum and the check of references, and 6 allocations; a
// lookup in a directory of 100 names takes 28 ns and none. Scan spends its time
// on copying bytes into a buffer it then ignores; a reader with a Discard
// method (bufio.Reader) avoids a second copy of file data. WriteDiff of ten
// small new files over that image takes 0.2 ms and writes 12,800 bytes; after
// `mv /usr /old` it writes all of it, 708 MB with 22,850 entries.
//
//   - GNU tar reads the pieces of a sparse file from whole blocks: pieces that
//     do not start and end at multiples of 512 bytes (but for the last) make it
//     misread the rest of the archive, while archive/tar takes them. GNU tar
//     never writes such; Scan takes them too.
//   - OCI image-spec v1.1 says that sparse files SHOULD NOT be used in layers,
//     and podman (tar-split) cannot reproduce the digest of one that has any.
//     So Scan reads all four forms, and WriteDiff writes zeros.
//   - A PAX record without a value means "take it back" to POSIX, is ignored by
//     archive/tar, and yet an empty extended attribute is a value.
//   - strings cut out of an extended header keep all of it alive: without a
//     copy of each name kept, a million entries of 1 KiB headers would pin 1 GB.
package layer
