// Package ns is everything between clone(2) and execve(2): how an ordinary process becomes a
// container's.
//
// # Processes
//
//	client       your namespaces, your user id                    UserNS.Start
//	 └─ supervisor   + user, mount, pid                           Entered, Start.Run, Exec.Run
//	     ├─ init → command   + user, mount, pid, net, uts, ipc, cgroup  InitMain; PID 1
//	     └─ exec helper      the container's user, else the supervisor's    ExecMain
//	         └─ command      joins those of the container
//
// All but the client are one program, the runtime (internal/programs), executed under an internal
// name, with one connection (internal/wire) on an inherited descriptor. Its first line is what the
// process must know (Spec). Errors travel back the same way, and the process that the user started
// prints them. A Go program cannot fork and go on, because the child would lack its other threads.
// So a program is executed anew for each process, which costs about a millisecond.
//
// The client creates the user namespace and writes the id maps from outside, while the supervisor
// is already coming up. The supervisor has every capability there, and a mount namespace in which
// nothing is changed: the container's mounts exist in init's copy only, so that the supervisor,
// which serves the root file system, never meets a path that waits for its own answer. It is PID
// 1 of a pid namespace of its own, so that killing it, however rudely, makes the kernel kill all
// that is below. The parent-death signal (step "parent-death") does the same for supervisors that
// were started in another way.
//
// # Sharing a network
//
// The network namespace of a container belongs to its user namespace, and setns(2) lets only those
// in who have capabilities there. So a container that shares the network of another shares that
// one's user namespace (Start.Beside), and its supervisor is beside the other's (UserNS.Beside),
// which the user who owns both may enter. It gives up ids of its own, and a wall: what keeps the
// two apart is only that neither sees the other's processes and files. In return its root has the
// same power over the network, which lives as long as one of them.
//
// # Steps
//
// Init and the exec helper do nothing but walk through a table: Steps, in table.go. A Step has
// its reason, its manual page, its kernel calls and what a person would type to do the same.
// Whatever explains the runner prints that table, and the reports (Report) come from the
// functions that make the calls, so that the explanation is what happened. Init waits until a
// report was read. Spec.Without leaves steps and single namespaces out, to show what they are
// for; without.go. What to type for each step, byhand.go, makes a shell script in script.go, and
// a test of internal/cli runs that script and compares the two processes in /proc. Each file has
// the functions of some steps:
//
//	userns.go idmap.go     the user namespace, and which ids it has
//	launch.go exe.go       starting init and the exec helper, from a program nobody can write
//	mounts.go overlay.go volumes.go
//	                       the tree: root, /proc, /dev, /sys, volumes, covered paths, pivot_root
//	inroot.go              paths that stay inside the image
//	net.go tty.go          loopback and host name; terminals
//	creds.go user.go       user, groups, capabilities, limits
//	seccomp.go seccomp/    system calls
//	emulate.go emulation/  those that only root with many ids may make
//	init.go exec.go        the last step, and joining a container; shell.go looks around
//	wire.go                what the processes say to each other
//	probe/                 does this machine allow it?
//	plumbing.go alone.go   namespaces by hand, which need none of the above
//
// # Rules
//
// Nothing in an image is opened by a path that could lead out of it: openat2(2) with
// RESOLVE_IN_ROOT, a walk of single O_NOFOLLOW steps where something must be created, or after
// pivot_root(2), when there is no outside. What comes from the host is picked up, with
// open_tree(2), before the image is there. Mounts are attached to descriptors, not to paths.
// /proc, /dev and /sys must be real directories.
//
// Namespaces of a process and credentials of a thread are different things: setresuid(2),
// capset(2), prctl(2), seccomp(2) and keyctl(2) act on the calling thread alone. Init and the
// exec helper lock their goroutine to one thread; execve(2) from it, or clone(2) in it, gives the
// command that thread's properties. With --init PID 1 stays, so all its threads must follow:
// syscall.AllThreadsSyscall.
//
// # Not done
//
// Ranges of subordinate ids that only a directory service knows (getsubids(1)) are not found.
// Kernels before 5.12 have no mount_setattr(2), and no way around is offered.
package ns
