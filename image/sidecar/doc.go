// Package sidecar keeps the extended attributes of an upper directory in a file beside it, for
// disks that have none: NFSv3, many mounts of Lustre, sshfs, ramfs, tmpfs before Linux 6.6.
//
// # The file
//
// upper.attrs is a log of lines that are only ever added:
//
//	CRC VERB NUMBER "PATH" "PATH" "NAME" "VALUE" …
//
//	tiffin 1 "" ""          the first line: the version of the format
//	new  INO "p" "" …       a file with these attributes gets the name p
//	set  0   "p" "" …       p has these attributes, and no others
//	link 0   "p" "q"        q becomes a further name of p
//	move 0   "p" "q"        p is renamed to q, with all that is below
//	swap INO "p" "q"        p and q change places
//	gone 0   "p" ""         the name p is removed
//	done 0   "" ""          the change of the line before has been made
//
// Paths are relative to the upper directory. Strings are quoted as in Go, so that a line is a line,
// and nothing in it can look like another. CRC is the CRC-32C of the rest of the line, as 8
// hexadecimal digits. It can be read with cat(1); appendix A of the book has an example.
//
// # How it is kept equal to the directory
//
// An attribute that stands alone changes with one line: it is there or it is not, since a line
// without its end, or with a wrong CRC, was never written.
//
// A change of names happens in two places, here and in the directory, and a crash may come between.
// So each is announced: its line is written, and is on the disk (fdatasync(2)), before the
// directory is changed. Until the next line follows, the last one is in doubt, and whoever opens
// the log asks the directory which of the two it is:
//
//	new          made if p is there          (with a number: if p has that inode number)
//	link         made if q is there
//	move, gone   made if p is not there
//	swap         made if q has the inode number
//
// If it was not made, the line is taken back. For that nothing but the announced change may happen
// to names while a line is in doubt: Change lets one in at a time, and writes "done" before one
// that needs no line of its own. Names that nothing is known about need none: for a disk with
// ordinary files of root the log stays short.
//
// The same holds when power fails, as far as the disk keeps the order of its journal: what a line
// announces was not begun before the line was on the disk, and a line that follows is there only if
// the change before it is.
//
// A directory without its log, or a log without its directory, is refused by who opens them: owners
// would be lost in silence.
//
// # Locks
//
// A Store has one lock, held while a change is announced, made and remembered. Nothing else of
// tiffin's is locked under it but the table of descriptors (package fs).
package sidecar
