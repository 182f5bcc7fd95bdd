// Package container is the life of a container: on disk, and while it runs. It
// is the only place where an image, a file system and a process meet.
//
// # Processes
//
//	tiffin run          the client: your terminal, your signals, your exit status
//	 └─ supervisor      process 1 of a pid namespace of its own, in a new user namespace
//	     ├─ init → command    process 1 of the container
//	     └─ exec helper → command of `tiffin exec`
//
// There is no daemon: each container has one supervisor, which serves its file
// system ([tiffin/fs]), keeps its log, answers its control socket, records how
// it ended, and goes.
//
// Nothing is left when one of them is killed:
//
//   - The supervisor is process 1 of a pid namespace, and the kernel kills all of
//     a namespace with its process 1 (pid_namespaces(7)): init, helpers, and what
//     has changed its credentials, which makes it forget a parent-death signal.
//   - The client holds a connection to the supervisor. If it is closed without a
//     word, a container that runs in the foreground is killed by the supervisor.
//   - Mounts are in the container's own mount namespace and go with its last process.
//   - On disk, a lock tells the living from the dead; see below.
//
// The supervisor's /proc is the host's, where it has another number than in its
// own namespace: what it records are the numbers that the host sees.
//
// # On disk
//
//	containers/
//	  lucky_lentil -> 4f1c…    a name: symlink(2) fails if it is taken
//	  4f1c…/                   64 hexadecimal digits, the ID
//	    config.json            what it is; written once, but for its name [Config]
//	    state.json             how it is; replaced as a whole             [State]
//	    lock                   locked as long as somebody looks after it
//	    control                socket of the supervisor
//	    upper/  work/          what it changed, as ordinary files; see package image/layer
//	    root/                  where init mounts the root; empty for everybody else
//	    log  log.1             what it printed
//
// With [DriverOverlay] the kernel's overlayfs writes upper/ and work/, in its own form and with the owners that the
// container sees. Only in a user namespace with the container's ids can all of it be read and removed, so commit,
// diff and rm start a helper that enters one ([Inside]); it reads the directory and writes a layer, the same bytes as
// tiffin's own file system gives for the same changes. overlayfs leaves a directory without permissions in
// work/, which the supervisor removes at the end, so that rm -rf of the store does not stumble over it.
//
// # States
//
//	          Create              Start                 the command ends
//	(nothing) ──────► incomplete ───────► running ─────────────────► exited
//	                      │   └─ Commission ─► created ─ Start ─┐      │
//	                      │                     ▲     running ◄─┴─ Start ┘
//	                      ▼                     └─ Start of a fresh one failed
//	                  (nothing)
//
// A directory without state.json is incomplete: being made, if its lock is held,
// else the leavings of a killed command, which [Set.Sweep] deletes. One that
// says "running" while its lock is free has lost its supervisor: [Container.State]
// shows it as exited with 137, and if it had --rm, Sweep deletes it.
//
// # Locks
//
// The lock of a container is an open file description lock (fcntl(2)). The
// client takes it, and passes the open file to the supervisor; it is free when
// the last of them is gone, however it went. flock(2) on the directory of
// containers guards taking over a stale name; nothing is locked inside of it.
// Inside a supervisor, mu guards state; it is taken by nobody who holds another
// lock of this package.
//
// # The control protocol
//
// One JSON object a line over a Unix stream socket, either way; descriptors travel with a line
// (SCM_RIGHTS, unix(7)). A connection carries one request. Its messages, and conversations that
// can be tried by hand, are in appendix A of the book (tutorial/book/a-formats.md).
package container
