// Package treecopy copies files between two trees that do not trust each other, as a stream of
// tar: `tiffin cp`.
//
// A [Tree] is a root directory and a rule for symbolic links. A container's is its root file
// system, and links, also absolute ones, are followed inside of it as its own processes would;
// this machine's is /, and what comes out of a container may not lead outside of the directory it
// is copied to, whatever links the container has made, and however fast it changes them. Programs
// that unpacked by path have been led astray by that: docker's CVE-2018-15664 and CVE-2019-14271,
// kubectl's CVE-2019-1002101.
//
// So no path is ever followed twice. A directory is opened once, by openat2(2) with
// RESOLVE_IN_ROOT or with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; all that happens in it is
// relative to that descriptor, by a single name and without following a link there.
//
//	source                                 destination
//	Stat("/etc", …)                        Stat("/tmp/x", …)
//	            └──────► Place(…) ◄────────────┘        which directory, which name: cp(1)'s rules
//	Pack(w, "/etc", ".") ──── tar ────► Unpack(r, "/tmp", "x")
//
// Either half may be another process's. In the tarball the thing that is copied is ".", and what
// is below it "./NAME"; any other tarball can be unpacked, too, and Pack can give the top another
// name for a reader who wants a plain one.
package treecopy
