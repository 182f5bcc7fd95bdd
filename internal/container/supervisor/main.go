// Package supervisor is the process that runs beside a container and looks after it.
//
//	tiffin run          the client: your terminal, your signals, your exit status
//	 └─ supervisor      process 1 of a pid namespace of its own, in a new user namespace
//	     ├─ init → command    process 1 of the container
//	     ├─ exec helper → command of `tiffin exec`
//	     ├─ helper            syncs, or copies files: what the supervisor must not do itself
//	     ├─ helper            looks into processes, if root is emulated (package emulation)
//	     ├─ helper            carries bytes between ports, while there are clients (package port)
//	     └─ helper            makes a further interface, or a route (ns.CableMain)
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
//   - The client holds a connection to the supervisor. If it is closed without a word, the
//     supervisor ends a container that nobody could find again (hangUp). Any other goes on.
//   - SIGTERM to all of them ends the command, and then what looks after it (terminate).
//   - Mounts are in the container's own mount namespace and go with its last process.
//   - On disk, a lock tells the living from the dead; see package disk.
//
// The supervisor's /proc is the host's, where it has another number than in its
// own namespace: what it records are the numbers that the host sees.
//
// As soon as it serves, it gives up the rights that it no longer needs: Spec.Seal of package ns.
//
// Inside a supervisor, mu guards state; no goroutine takes it while it holds
// another lock of this package.
//
// The supervisor never touches the file system that it serves: it would wait for itself. It knows
// no store of images, no registry and no command line: it runs in the runtime, a smaller program
// that tiffin carries (package programs), linked without these. If no runtime is built in, tiffin
// itself takes its place.
package supervisor

import (
	"tiffin/internal/container/control"
	"tiffin/internal/network/port"
	"tiffin/ns"
)

// Main runs the part of a running container that args (the whole argument vector) name, such as the
// supervisor or init, and returns its exit status. ok is false if they name none. Nothing before it
// may cost time: every `tiffin run` comes here twice.
func Main(args []string) (status int, ok bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[1] {
	case ns.InitCommand:
		ns.InitMain() // becomes the container's command
	case ns.ExecCommand:
		ns.ExecMain()
	case ns.EmulateCommand:
		withstand()
		return ns.EmulateMain(), true
	case ns.CableCommand:
		return ns.CableMain(), true
	case port.Command:
		withstand()
		return port.Main(), true
	case control.SupervisorCommand:
		return supervise(), true
	case control.HelperCommand:
		return help(false), true
	case control.InsideCommand:
		return help(true), true
	default:
		return 0, false
	}
	return 0, true
}
