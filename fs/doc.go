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
//	   │ yes                                                  (binary search in mapped
//	   ▼                                                      memory, no lock, no heap)
//	node 7       what does its upper directory say about "hosts"?
//	   │           a real entry  ──►  that one, layer "upper"
//	   │           a whiteout    ──►  no such name
//	   └─────────  nothing       ──►  index of the layers, in the lower directory
//	                                  that node 7 continues
//
// The layers have been merged into one index before (package union), so that
// below the upper there is one question and one answer. READ of a lower file
// then is a slice of the mapped flat.tar, copied once, by the kernel.
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
// Its format is in package layer (attrs.go). What this package promises about
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
//     again and the error goes to the writer: with the writeback cache that is
//     whoever calls close(2) or fsync(2).
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
// # Asking less
//
// Nothing but this server changes the tree, so every reply is good for ever,
// also "no such name" (node id 0). OPEN, OPENDIR, CREATE, FLUSH, ACCESS and
// STATX are answered with ENOSYS once and never come again; reading and
// writing go by node id, and a file that is unlinked while open lives until
// FORGET. default_permissions leaves all checks to the kernel. What the kernel
// itself changes it also forgets by itself (the directory of a created,
// removed or renamed name, a link count, the number of blocks after a write);
// nothing else ever changes under it, so the server sends no invalidations,
// with one exception: Lseek.
//
// Config.Uncached is for watching: without time-outs and without the writeback
// cache each use of a name or an attribute, and each write(2), is a request.
//
// # What was found out on a real kernel
//
// Linux 6.18, go-fuse 2.12.1. The tests hold on to these numbers.
//
//   - Creating, removing and renaming a name make the kernel forget the
//     attributes of the directory, modes included. So the next path walk
//     through it costs a GETATTR; making many files in one directory costs one
//     for each.
//   - With the writeback cache the kernel keeps the times of regular files, and
//     sends a changed ctime at once: unlink, link and rename of a regular file
//     cost a SETATTR besides. For what has no name left nothing is copied up.
//   - The first write to an inode asks for security.capability, in spite of
//     HANDLE_KILLPRIV_V2, and again after each refresh of its attributes. So
//     create + write + close is LOOKUP, MKNOD, GETXATTR, WRITE, and SETATTR
//     for the time if the clock has moved on by a tick (4 ms) since MKNOD.
//   - WRITE comes after the write(2), and the real file takes the time of its own change. The kernel tells of
//     its time only if that has changed in its own inode, and two stamps in a tick are one unless
//     somebody has looked at the first (multigrain timestamps, Linux 6.13). So after a remount a new file was often a
//     fraction of a millisecond younger: 100 of 140 that were made one after the other. In the tick of
//     the file's last change the real file therefore gets its time back after each WRITE (keepTick). What is left is a file
//     that is written just before a tick and closed just after it. To do it
//     in any tick would mend that too, and loses times for an ordinary user: see the next.
//   - A time that a kernel thread writes back (sync(2), a remount, dirty for 30 s) never arrives if root has no number in
//     the mount's user namespace: root's mount gets WRITE and SETATTR, an ordinary user's WRITE alone, whereas
//     fsync(2) and close(2), which ask as the user, bring both. So the time of the WRITE has to stand.
//   - rename(2) looks its target up anew, although a missing name is cached;
//     so does open(2) with O_EXCL.
//   - With the writeback cache every close(2), also of a file that was only
//     read, makes st_blocks unknown: the next stat(2) of that file costs a
//     GETATTR. That is the price of writing 4 KiB blocks without a request each.
//   - "Dirty pages": syncfs(2) waits for FUSE's pages to be sent, not for the
//     replies (the kernel marks these mappings as having no data integrity).
//     Seen: 64 MiB written, syncfs, and the last megabytes not there yet.
//     fsync(2) of the file waits, and close(2) does. Freeze waits for the
//     requests under way, which is the best a server can do.
//   - SEEK_DATA and SEEK_HOLE are asked without writing dirty pages back, so
//     that a new file looks like one hole; cp(1) and tar(1) believe it. Before
//     answering "hole", Lseek has the range invalidated, which makes the kernel
//     write its dirty pages. The WRITEs arrive while Lseek waits, so it holds
//     no lock then. Data is answered without that.
//   - WRITE, SETATTR say when set-user-ID is to go; FALLOCATE and
//     COPY_FILE_RANGE do not, and chown(2) with -1 for both ids arrives as a
//     change of ctime alone.
//   - Times of a fifo are not updated by writing to it, and truncate(2) to the
//     size a file has does not change its times (POSIX asks for neither): the
//     kernel does not tell the server.
//   - A read that overtakes a truncation sees zeros up to the old size: the
//     kernel truncates here first and in its own inode afterwards.
//   - A FUSE mount in a user namespace is nodev whatever mount(2) says.
//   - Reading through the map of flat.tar counts as resident memory, 64 KiB for
//     each page fault. Giving the pages back every 4 MiB keeps it near 16 MB
//     (of which the index and the program are 6) while 18,000 files are read;
//     the page cache keeps the data.
//
// # What a request costs
//
// `scripts/bench fs -w request` is the price of one LOOKUP. With go-fuse's own readers,
// measured on two virtual CPUs, interleaved, client and server pinned to one CPU / free:
// fuse-overlayfs 11 / 28 µs, this server 13-19 / 23-41 µs, a bare Go loop of
// read(2) and write(2) without any library 9-11 / 12-27 µs. Most of the
// difference was waking up: two or three readers sat in read(2), the
// kernel woke them in turn, so that every request met a cold thread, and a
// blocked reader holds a P until sysmon takes it away (per request one read,
// one writev, but 0.9 futex and 1.4 naps of sysmon). GOMAXPROCS=4 made no
// clear difference. So one reader holds a token, reads without blocking for up to
// 50 µs (sched_yield(2) in between), answers short requests itself and gives the
// token away for long ones: loop.go. Against go-fuse's readers, on a machine with other
// work to do, medians of five interleaved rounds: create, rename, unlink, mkdir and rmdir of
// 5,000 files take 0.7-0.8 of the time pinned and 0.7-0.95 free; reading a lower file of 256 MiB
// on a quiet machine 0.77 pinned and 0.6 free. With a limit of 64 KiB for what the reader does
// itself, half of the kernel's read-ahead, that was 0.8 and 0.98.
//
// What that took to find out:
//
//   - Whoever spins is a bad neighbour to himself when the CPU has other work: the scheduler
//     lets what slept run before what ran last. Without the second reason to go to sleep
//     (giving way took longer than 15 µs, so somebody else has run) the free figures were
//     worse than go-fuse's when the machine was loaded.
//   - The token must be given away, to a new worker if need be, for whatever waits for another
//     request: LSEEK waits for WRITEs. A fixed number of workers came to a halt.
//   - What reads a disk must not keep others from being answered: a READ of what mincore(2)
//     does not find in memory is done without the token.
//   - Buffers of workers that have gone are kept. New ones from the collected heap are zeroed,
//     and so resident: 46 MB instead of 25 after writing 200 MiB. At most four large
//     WRITEs are in memory at a time.
//   - READ is not given to go-fuse, whose HandleRequest copies what it gets from the map.
//   - splice(2) from flat.tar through a pipe to /dev/fuse, instead of writev(2) from the map, saves
//     page faults and costs two system calls more: 512 MiB, interleaved, take 139 instead of 144 ms free
//     (medians of 15, fastest 118 and 128) and 237 instead of 238 ms pinned. That is not worth a second way. Moving
//     pages (SPLICE_F_MOVE) would take them out of the page cache, which the next container needs.
//
// Affinity that follows the requester is not promising: a request names the
// process but not its CPU.
//
// The times that the kernel sends after each rename and unlink are set by name
// (utimensat(2)), and a new directory is opened only when something is done in
// it. To create, rename and unlink 10,000 files now takes 9,900 openat(2) and
// 10,000 close(2) instead of 28,800 and 29,000. On a busy machine that could
// not be told from noise then; later, pinned, renaming took 0.85-0.9 of the time.
// An unlinked file is kept open instead of being moved to Work and removed from there, and
// its times, which the kernel sends after unlink(2), are not written: five interleaved rounds, free
// and pinned, 0.87 of the time. Whiteouts that are names of one file: 0.84-0.88 for rm -rf of 5,000 lower
// files. What is left is what the kernel asks for, 15 µs free and 13 pinned apiece, and ext4's own time: GETATTR of the
// directory each time and, besides, an unlink UNLINK and SETATTR (three in all), a rename LOOKUP, RENAME and SETATTR (four),
// a new file with some bytes LOOKUP, MKNOD, GETXATTR, WRITE and SETATTR (six), one out of an archive, whose time, owner and mode
// are set, SETATTR twice and GETXATTR once more (nine).
//
// An ext4 without a journal is no disk to measure on: it looks for a free inode among those that were
// deleted lately, one by one (recently_deleted in fs/ext4/ialloc.c), and whoever makes files after
// others were removed pays. Untar of 20,000 files with kernel overlayfs took 1.1 s first and 14 s
// later there, and twice 1.1 s with a journal; removing those lower files 1.2 to 2.5 s with a new file for each whiteout.
//
// Did not help: preadv2(2) with RWF_NOWAIT into a buffer instead of the map for reads of up to
// 16 KiB (50,000 small files 1.04 free, 0.99 pinned); leaving out a SETATTR that sets the time a renamed file
// has already (0.96 and 0.96 of the time of rename, for one fstatat(2) more and a ctime that is not quite right after a remount).
// Not tried: to push the bytes of neighbours into the page cache before they are asked for (FUSE_NOTIFY_STORE)
// would overwrite what a process has written to them and the kernel has not sent yet.
//
// Appending a byte to a lower file of 64 MiB, in one interleaved run on ext4:
// 400 ms with kernel overlayfs, 83 ms with fuse-overlayfs, 0.9 ms here. While
// it was copied it took 127 ms here, in spite of copy_file_range(2), which without
// reflinks is a copy through the page cache. fuse-overlayfs does not sync it,
// kernel overlayfs does. To write where the origin has data still costs that.
// FICLONERANGE would add nothing: copy_file_range(2) tries to clone first, and
// data in a tarball, at multiples of 512 bytes, cannot be cloned by blocks.
//
// # The mount is not for the server
//
// The server must never look a path up in its own mount, nor start a program
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
// copyup.go, names.go, remove.go and rename.go the changes of the tree; attr.go,
// data.go, copydata.go, dataops.go and xattr.go those of a file; upper.go the real files,
// event.go what others can watch.
package fs
