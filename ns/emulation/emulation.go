// Package emulation lets root of a container that has one id do what root with many ids does: give
// files away, become another user, make devices. It pretends, and it remembers.
//
// A user without subordinate ids (subuid(5)) can map one id into a user namespace: their own, as 0.
// To the kernel, no other id exists there: chown(2) to it is EINVAL, and so is setuid(2). Package
// managers and servers need both. So a filter hands these calls to a supervisor
// (seccomp_unotify(2)), and the supervisor answers in the kernel's place:
//
//	chown lchown fchown fchownat      the file server remembers the owner, and commit writes it
//	mknod mknodat of devices          the file server makes the node; nobody could open it anyway
//	setuid setgid setre* setres*      the process has these ids from then on (Identity),
//	setfs* setgroups                  and so have its children: they own what they create
//	getuid geteuid … getgroups        are answered accordingly
//	stat lstat fstat fstatat statx    show the owner that is remembered, if that is asked for
//
// All other calls, and chown to ids that are mapped, go to the kernel as before: the filter looks
// at registers only, and the kernel remembers for which numbers it says "allow" whatever the
// arguments (package ns/seccomp). capset(2) needs no help: the process has the
// capabilities of the container, in its user namespace, whoever it pretends to be.
//
// # Who does what
//
//	process     chown("/srv/www", 33, 33)             stops in the kernel
//	   │
//	supervisor  Server.Serve: whose identity, may it?  registers and a table; no memory, no path
//	   │
//	helper      Help: reads the path from the memory of the process, finds the file as the process
//	   │        would, does the kernel's part of the call, and tells the inode number
//	   │
//	supervisor  Files.Own(inode, 33, 33)               kept: user.containers.override_stat
//	   │
//	process     0
//
// The supervisor serves the container's file system. If it looked up a path there, or read memory
// that is a mapped file of it, it would wait for itself. So a process of its own does that, started
// when it is first needed, in the container's user namespace and with the container's capabilities
// and two more: CAP_SYS_PTRACE to look into a process, and CAP_SYS_CHROOT to walk from its root. It
// is outside of the container's pid namespace, where no process of the container can see it.
//
// # Identities
//
// Where does the supervisor keep who a process pretends to be? A table by process number would
// have to follow fork(2), execve(2) and exit(2), which are not stopped here, and numbers are used
// again. The kernel has a place that does all that: a resource limit belongs to a process with
// all its threads, is inherited by fork, and survives execve. RLIMIT_LOCKS has had no effect
// since Linux 2.4.25 (getrlimit(2)), and prlimit(2) sets it from outside. Its soft value is a
// number in the table of identities (mark); any other value is that of a process which is still
// root. The filter keeps the container from changing it.
//
// # Hostile containers
//
// Everything that a process says is taken as hostile. What the answer depends on is in registers,
// which the process cannot change while it waits, or is read once; the process's own call is
// never continued, so that changing the memory afterwards changes nothing. The number of a
// process means it as long as the notification is valid: SECCOMP_IOCTL_NOTIF_ID_VALID is asked
// after something was opened or read by that number, and before anything is done with it. The
// helper has no right that the container lacks, but to look into the container's own processes,
// and it acts on nothing but what such a process could reach. If the supervisor goes, all of the
// container's processes go; if the helper goes, those that wait for it get ENOSYS.
//
// # What cannot be right
//
// stat(2) shows your id for every file, /proc/pid/status for every process, and permissions are
// checked by the kernel, for which all processes have the same id. A process that has become
// another user may do what root may. To show other owners every stat(2) has to stop, since a filter
// sees neither the caller nor the file. So it is done only where somebody asks for it.
package emulation

// maxTable is how much the supervisor remembers of identities, in bytes. Then those that no process
// has are forgotten, and if that does not help, set*id and setgroups are ENOMEM.
const maxTable = 4 << 20

// maxGroups is NGROUPS_MAX, getgroups(2).
const maxGroups = 65536
