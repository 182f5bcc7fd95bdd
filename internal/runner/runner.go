// Package runner is the processes of a container besides its command, told apart by their first
// argument:
//
//	tiffin __supervisor  serves a container's file system and looks after it
//	tiffin __init        builds a container and becomes its command
//	tiffin __exec        joins a running container
//	tiffin __sync        has a container's file system write what it holds in memory
//	tiffin __copy        copies files into a container, or out of it
//	tiffin __inside      reads or removes files which belong to a container's user ids
//
// They make up the runtime, a program of its own that tiffin carries (package programs); tiffin
// itself has them as well, for when that one is not built in.
package runner

import (
	"os"

	"tiffin/internal/container"
	"tiffin/ns"
)

// Main is the process that args, the arguments of the program, ask for. It returns only if they ask
// for none.
func Main(args []string) {
	if len(args) < 2 {
		return
	}
	switch args[1] {
	case ns.InitCommand:
		ns.InitMain()
	case ns.ExecCommand:
		ns.ExecMain()
	case container.SupervisorCommand:
		container.Supervise()
	case container.SyncCommand:
		os.Exit(container.Sync(args[2:]))
	case container.CopyCommand:
		os.Exit(container.Copy(args[2:]))
	case container.InsideCommand:
		os.Exit(container.Inside())
	}
}
