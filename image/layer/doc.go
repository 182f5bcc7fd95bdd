// Package layer turns a tarball into something that can be looked things up in
// without unpacking it, and an upper directory back into a tarball.
//
// # Why an index
//
// An image is a stack of tarballs, and a tarball can only be read from the
// front: to find etc/passwd one has to pass everything before it. The usual
// answer is to unpack every layer into a directory. That writes each byte of
// the image once more, needs an inode of the host for each file, and without
// root it cannot be done faithfully: an ordinary user cannot make a device node
// or a file that belongs to another user.
//
// tiffin keeps the tarball as it is (flat.tar, whose SHA-256 is the layer's
// diffID) and writes a table of contents next to it. Scan makes that table
// while the tarball streams by; OpenIndex reads it into memory; Reader reads a
// file straight out of flat.tar at the offset that the table says. Owners,
// modes and device numbers are just numbers in it.
//
//	        Scan       WriteFile                OpenIndex
//	tarball ────► Tree ─────────► index (file) ──────────► Index
//	               ▲ │                  │
//	               │ └► union.Merge ◄───┘ ReadTree
//	               └─────────┘
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
// Its bytes are in appendix A of the book (tutorial/book/a-formats.md), with the dump of a whole
// one. Inode 0 is the root; the others are numbered by a depth-first walk in the order of names.
// So the numbers follow from the tree alone, and a number that is remembered (user.tiffin.origin)
// means the same file after the index has been made again. A directory's number is higher than
// its parent's, so that no loop is possible. OpenIndex reads the file once, and checks the checksum
// and every reference in what it has read: whatever becomes of the file, no lookup fails later,
// leaves the tables or shows something else, and none allocates. MapIndex maps the file, with a
// lease that makes the same true.
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
// "/" and "./" mean nothing, "a/../b" is "b"). A name that leads outside is
// refused, and so is an entry below a file. A symbolic link of the same layer in
// the path of an entry is followed as tar does, inside of the root: bin
// may be a link to usr/bin, and bin/tool an entry. AUFS's own files are left
// out, but hard links into its directory find theirs. Memory is bounded by the
// limits in scan.go, extended headers by 1 MiB each as in archive/tar; nothing
// is allocated because a header claims a size. A tree is tables, not objects:
// a layer of 999,000 files takes 90 MB while its index is written.
//
// # The upper directory
//
// What a container changes is kept as real files that a person can look at; appendix A of the
// book has the rules, with examples. Attributes are those of the files, or package sidecar has
// them.
//
// WriteDiff reads that directory alone. For each path it compares what is there
// with what the image's index has at the same path, never the image's tree:
// the cost is that of the changes. Two things take one mark in the upper and
// many entries in a layer. A renamed directory is written with all that is in
// it, its data copied from the flat files, because a layer has no word for
// "moved". And if one name of a hard-linked file of the image is written, all
// names that can still be seen are, as links to the first: a layer's hard link
// must lead into the same layer, since docker and podman unpack each into a
// directory of its own.
//
// # Locking
//
// An Index is immutable; any number of goroutines share it. A Tree belongs to one goroutine at a
// time. Nothing may write to an upper directory during
// WriteDiff or Changes: fs.FS.Freeze sees to that.
package layer
