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
// One JSON object a line over a Unix stream socket, either way; descriptors
// travel with a line (SCM_RIGHTS, unix(7)), and "files" says how many. A
// connection carries one request. So with the directory of a container as
// working directory:
//
//	$ echo '{"op":"counts"}' | nc -U control
//	{"op":"ok","counts":{"LOOKUP":23,"READ":7}}
//	$ echo '{"op":"signal","signal":15}' | nc -U control
//	{"op":"ok"}
//	$ echo '{"op":"wait"}' | nc -U control
//	{"op":"exit","exit":143}
//
// A conversation of `tiffin run -i tiffin/base cat`, on the socket pair that the
// supervisor inherits:
//
//	client                                                    supervisor
//	{"op":"start","files":3,"start":{"dir":…,"union":…,…}} ─►            lock, stdout, stderr
//	                                          ◄─ {"op":"ok","files":1}   write end of the pipe that cat reads
//	(writes its standard input to that pipe, closes it)
//	{"op":"signal","signal":10} ─►
//	                                          ◄─ {"op":"exit","exit":0}
//
// Bytes never travel through the socket. The supervisor writes the command's
// output straight to the client's descriptors, as well as to the log; the
// client writes input straight to the command's pipe or terminal. An answer can be
// {"op":"error","error":{…}} instead, with the advice and exit status that the
// client shows.
//
// With "explain":true in a start, the answer comes after the story of how the container is built. The
// supervisor waits for each "next", and init for the supervisor:
//
//	                                          ◄─ {"op":"plan","plan":{"Root":…,"Process":…}}
//	{"op":"next"} ─►
//	                                          ◄─ {"op":"report","report":{"N":2,"Step":"namespaces","Calls":…}}
//	{"op":"next"} ─►                             … 33 more, and "ok" as above
//
// Instead of "next", {"op":"shell","files":1,"shell":{"done":7,"env":…}} runs a shell, on the terminal that comes
// along, in what there is after step 7 ([tiffin/ns.Shell]); the answer is "ok", or an "error" which is only the
// shell's. {"op":"quit"} gives up: init is killed, and the supervisor goes.
//
//	attach   as start, with 2 files
//	exec     as attach; the command is the client's
//	signal   to the first process, or on the connection of start, attach or exec to its command
//	detach   on such a connection: the client goes, the command stays
//	stop     signal, then SIGKILL after some seconds
//	wait     answers when the container has ended
//	freeze   all data is written and nothing changes until the connection ends: commit, diff.
//	         What the kernel's overlayfs writes cannot be held back: its processes are stopped
//	counts   requests that the file system has answered
//	copy     a tarball, which 1 file is a pipe for, is packed or unpacked in the container: tiffin cp.
//	         Of a container that does not run, a supervisor ("idle":true in its start) serves only that
//	trace    each request that it answers, from now on; a trace from the first one on
//	         goes over a socket of its own that comes with start
//
// What a reader of a trace does not take in time is left out and counted: the
// file system never waits for it.
//
//	$ echo '{"op":"trace","trace":{"ops":["LOOKUP"],"path":"/etc"}}' | nc -U control
//	{"op":"ok","info":{"layers":2}}
//	{"op":"event","event":{"time":…,"pid":7,"op":"LOOKUP","path":"/etc/motd","by":"layer 0",…}}
//
// # What was found out
//
//   - A descriptor of 64 or more makes the kernel enlarge the table; with threads it
//     waits for an RCU grace period, some 10 ms. Low numbers only, on the way of a start.
//   - The first garbage collection of a supervisor came while init waited for it.
//     There is none until the container is up.
//   - A client that waits for the supervisor to appear wastes the milliseconds it could
//     use to find the image: [NewLaunch] comes first, and the image then.
//   - Beside other writers to the disk, replacing state.json at the end of `run --rm true` took
//     4 ms in a traced run (writing the first one 0.01 ms; probably auto_da_alloc, ext4(5)),
//     and each unlink and rmdir after it 1 to 2 ms: 14 of 38 ms together. So nobody
//     waits for the removal, and what init found out is written later. Without other
//     writers that gains 4 % only.
//
// Where the time of `run --rm debian true` goes, on two processors, as real-time processes
// (chrt -f) and with the image in the page cache: medians of 15 runs, from the start.
// It is bound by the processors: 26 ms of their time go into three Go programs, two
// id map helpers and the command.
//
//	 3.3 ms  the supervisor is executed
//	 6.8 ms  newuidmap and newgidmap have ended (--userns single: 2 ms less in all)
//	 8.5 ms  init is executed; 0.7 ms of it is clone(2), with all the namespaces
//	16.7 ms  init has come up (about 3 ms), done its steps, and executes the command
//	19.9 ms  the command has ended
//	21   ms  so has the client
//
// A shell script that makes namespaces and a kernel overlay mount takes 7.5 ms on the same machine as tiffin
// 19, and podman 96: 7 ms of processor time instead of 26. What stands in the way is starting: before main, a Go
// program that does nothing needs 1 ms of a processor and 170 page faults, tiffin 3 ms and 650, and it
// is started three times. Of the difference 0.5 ms are regular expressions that packages of the registry client
// compile (built without them), and most of the rest what the other 110 packages do at start and the
// pages they touch. To populate those pages at once, MADV_POPULATE_WRITE in the first package, gained nothing.
//
// Would other processes do? A prototype said, 50 interleaved rounds, medians, with subordinate ids and with one:
//
//	19.4 / 17.6 ms  as it is
//	16.2 / 15.1     the client is the supervisor, and starts init while the ids are mapped: two Go programs
//	15.6 / 14.2     … and init is a small program of its own
//	13.6 / 13.1     … and init is not a Go program at all, but a list of system calls
//
// So a fifth is to be had for giving up what the three are for: a client that is killed leaves no process behind even if
// the command has changed its user (which clears the parent-death signal), one that is stopped or detached does not
// stop the file system, and exec, cp and rm find somebody in the user namespace. It is not done. A file system in
// the kernel, no id maps and no Go remain the script's, and bubblewrap's 3.6 ms.
//
// What did not help: GOMAXPROCS 1, 3 or 6 instead of 2 in client and supervisor; GOMAXPROCS=1 and
// GOGC=off in init. To execute init before the id maps are written (its ambient capabilities do
// not need them) and to send it its Spec afterwards gained 4 % in an experiment.
package container
