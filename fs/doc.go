// Package fs serves image layers and one writable directory as a single file
// system over FUSE, fuse(4): what a container sees as its root.
//
// # A lookup, from the process to the tarball
//
//	process      open("/etc/hosts")
//	   │
//	kernel       dentry "etc" known?  "hosts" known?  ── yes: no request at all
//	   │ no
//	   │         LOOKUP(node 7, "hosts")
//	   ▼
//	server       is node 7 in the table of nodes?  ── no ──►  index of the layers
//	   │ yes                                                  (binary search: no
//	   ▼                                                      lock, no heap)
//	node 7       what does its upper directory say about "hosts"?
//	   │           a real entry  ──►  that one, layer "upper"
//	   │           a whiteout    ──►  no such name
//	   └─────────  nothing       ──►  index of the layers, in the lower directory
//	                                  that node 7 continues
//
// The layers have been merged into one index before (package union), so that
// below the upper there is one question and one answer. READ of a lower file
// then is a piece of flat.tar, read and checked by the code of its block (package layer).
//
// # Numbers
//
// A file has a node id, by which the kernel asks about it, and an inode number,
// which programs see:
//
//	                        node id                        st_ino and d_ino
//	in a layer              index number + 1               the same
//	… then copied up        the same                       the same
//	only in the upper       next free, never used again    real number + 2^40
//
// The first two rows make copy-up invisible: an open descriptor, a mapping, a
// lock and the number in stat(2) stay what they were. The upper file remembers
// its index number (user.tiffin.origin), so that this holds over restarts too.
//
// Files that no change has touched have no object in memory. Those that have
// an upper part have a node, as long as the kernel remembers them (it counts
// its lookups and gives them back with FORGET); all a node knows can be read
// from the upper directory again. Only a lower directory that has been moved
// keeps its node: nothing else says where it is.
//
// # The upper directory
//
// Its format is in package layer (attrs.go). Where the disk has no extended attributes, package
// sidecar keeps them (attrs.go here), and the same holds. What this package promises about
// it, at every moment a crash may come (kill -9, or power as far as the disk
// keeps the order of its journal):
//
//   - A change is complete or absent. New things that a real file cannot
//     express by itself are made in Work and renamed into place; what it can
//     express is made in place with one system call. Removing writes the
//     whiteout first and then takes the real entry, which until then wins.
//   - A metacopy becomes a copy in this order: write, fdatasync(2), remove the
//     mark user.tiffin.metacopy. As long as the mark is there the data is the
//     origin's, whatever the file contains. Without space the file is emptied
//     again and the error goes to the writer, at close(2) or fsync(2) at the
//     latest (room.go).
//   - Appending to a lower file, or making it longer, copies nothing: the
//     metacopy gets a tail, and the mark says so (copydata.go). The kernel
//     writes whole pages, so that the first WRITE begins with the end of the
//     lower file: it is compared, and left out.
//   - Changing any name or attribute of a lower file that has several names
//     copies up all those names, as hard links, so that the upper's own link
//     count is the truth. If a crash interrupts that, the next lookup finishes it.
//   - Renaming a lower directory makes one empty directory with its origin,
//     however much is below.
//   - A file that has lost its last name is kept open until the kernel forgets it;
//     a directory moves to Work for that time, as do files if there are too many.
//   - Work is emptied at the start and the end. It also has the empty file whose other
//     names the whiteouts are.
//
// # Locks
//
// In the order in which they may be taken:
//
//	FS.freeze   R: every change, W: Freeze
//	   │
//	FS.tree     R: a question about nodes; W: a change of names, copy-up of
//	   │        metadata, reading a directory or a file's attributes for the first time
//	   │
//	node.mu     R: reading and writing data; W: copy-up of data, changing attributes
//	   │
//	fdCache.mu  nothing else is done under it but closing a descriptor
//
// No request holds two node.mu. Requests about files without a node take no
// lock at all. The kernel orders what could conflict there: it holds the
// directory's lock for every LOOKUP, UNLINK or RENAME in it.
//
// Each is released by defer. A panic ends the file system: the request in which it happened is
// reported (Config.Broken), and /dev/fuse is closed, so that no process waits for an answer
// (loop.go, catch).
//
// # Asking less
//
// Nothing but this server changes the tree, so every reply is good for ever,
// also "no such name" (node id 0). OPEN, OPENDIR, CREATE, FLUSH, ACCESS,
// STATX and LSEEK are answered with ENOSYS once and never come again; reading and
// writing go by node id, and a file that is unlinked while open lives until
// FORGET. default_permissions leaves all checks to the kernel. What the kernel
// itself changes it also forgets by itself (the directory of a created,
// removed or renamed name, a link count, the number of blocks after a write);
// nothing else ever changes under it, so the server sends no invalidations but
// of attributes, when a disk is nearly full (room.go). Those of pages it must not
// send: the kernel would wait, in the call that sends them, for WRITEs to be answered.
//
// Config.Uncached is for watching: without time-outs and without the writeback
// cache each use of a name or an attribute, and each write(2), is a request.
//
// # The mount is not for the server
//
// The server must never look up a path in its own mount, nor start a program
// from it, nor be in a mount namespace that has it. Go's fork keeps one of the
// few places to run code in (a P) until the child's execve(2) has read the
// program, which here means: until this process has answered. A garbage
// collection that wants to stop the world meanwhile waits for ever. So mount(2)
// is called by the container's first process in its own mount namespace, with
// the descriptor that Serve reads from afterwards (MountOptions says how).
//
// A read-only union (no Upper) should be mounted with MS_RDONLY in addition to
// the flags of MountOptions: since OPEN is not asked, only then does open(2)
// for writing fail, and not the first write.
//
// # Names
//
// A name that begins with ".wh." cannot be in an image layer, where it would
// mean a deletion (OCI image-spec v1.1 layer.md, "Whiteouts"). It cannot be
// created (EPERM, with a note in the event) and is never found. A character
// device with number 0:0 is an ordinary device here.
//
// # Reading on
//
// server.go is the beginning: Config, New, Serve. node.go has the numbers,
// dir.go the union of a directory, lookup.go and readdir.go the questions;
// copyup.go, names.go, remove.go and rename.go the changes of the tree; attr.go, times.go,
// data.go, copydata.go, dataops.go, xattr.go and acl.go those of a file; upper.go the real files,
// attrs.go their attributes, room.go a disk that is nearly full,
// event.go what others can watch.
package fs
