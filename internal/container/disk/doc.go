// Package disk keeps containers on disk: configuration, state, name, lock and log of each, and the
// set of all in a store. Nothing here talks to a process.
//
// # On disk
//
//	containers/
//	  lucky_lentil -> 4f1c…    a name: symlink(2) fails if it is taken
//	  4f1c…/                   64 hexadecimal digits, the ID
//	    config.json            what it is; written once, but for its name [Config]
//	    state.json             how it is; replaced as a whole             [State]
//	    state.last             while it runs: room for how it ends        [Container.Reserve]
//	    lock                   locked as long as a process looks after it
//	    control                socket of the supervisor, see package control
//	    upper/  work/          what it changed, as ordinary files; see package image/layer
//	    upper.attrs            the attributes of its files, if the disk has none; package sidecar
//	    memory/                instead, with [Config.InMemory]: where a tmpfs is mounted
//	    overlay/               with [DriverOverlay], the directory that has upper/ and work/
//	    root/                  where init mounts the root; outside its namespace it is empty
//	    log  log.1             what it printed
//	networks/NAME.json         [Set.CreateNetwork]
//	volumes/NAME/              see volumes.go
//
// With [DriverOverlay] the kernel's overlayfs writes upper/ and work/, in its own form and with
// the owners and modes that the container sees; overlay/ keeps others out, see package supervisor.
// Only in a user namespace with the container's ids can all of it be read and removed, so commit,
// diff and rm start a helper that enters one; it reads the directory and writes a layer, the same
// bytes as tiffin's own file system gives for the same changes. overlayfs leaves a directory
// without permissions in work/, which the supervisor removes at the end, so that with one id
// rm -rf of the store does not stumble over it.
//
// # States
//
//	          Create              start                 the command ends
//	(nothing) ──────► incomplete ───────► running ─────────────────► exited
//	                      │   └─ Commission ─► created ─ start ─┐      │
//	                      │                     ▲     running ◄─┴─ start ┘
//	                      ▼                     └─ start of a fresh one failed
//	                  (nothing)
//
// A directory without state.json is incomplete: being made, if its lock is held,
// else left by a killed command, and [Set.Sweep] deletes it. One that
// says "running" while its lock is free has lost its supervisor: [Container.State]
// shows it as exited with 137, and if it had --rm, Sweep deletes it.
//
// # Locks
//
// The lock of a container is an open file description lock (fcntl(2)). The
// client takes it, and passes the open file to the supervisor; it is free when
// the last of them is gone, however it went. flock(2) on the directory of
// containers guards taking over a stale name; nothing is locked inside of it.
package disk
