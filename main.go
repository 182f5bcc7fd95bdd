// A supervisor waits most of the time and every start counts: do not read the
// control group's CPU limits, nor look every second whether they have changed.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Tiffin runs containers for people without root, and shows how.
//
// This file is the table of contents. The one binary is several things, told
// apart by how it was called, in this order:
//
//	/bin/ls, /bin/sh …   a command of the built-in image, by its own name
//	tiffin __init        the process that builds a container and becomes its command
//	tiffin __exec        … that joins a running container
//	tiffin __supervisor  … that serves a container's file system and looks after it
//	tiffin __probe       … that tries what this machine allows
//	tiffin __sync        … that has a container's file system write what it holds in memory
//	tiffin __copy        … that copies files into a container, or out of it
//	tiffin __inside      … that reads or removes files which belong to a container's user ids
//	tiffin run …         what the user types
//
// Every `tiffin run` starts it three times, so nothing here or in an imported
// package may do work before it is known what is asked for.
package main

import (
	"os"

	"tiffin/internal/cli"
	"tiffin/internal/container"
	"tiffin/internal/userland"
	"tiffin/ns"
	"tiffin/ns/probe"
)

func main() {
	if status, ok := base.Main(os.Args); ok {
		os.Exit(status)
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case ns.InitCommand:
			ns.InitMain()
		case ns.ExecCommand:
			ns.ExecMain()
		case container.SupervisorCommand:
			container.Supervise()
		case probe.Command:
			probe.Main()
		case container.SyncCommand:
			os.Exit(container.Sync(os.Args[2:]))
		case container.CopyCommand:
			os.Exit(container.Copy(os.Args[2:]))
		case container.InsideCommand:
			os.Exit(container.Inside())
		}
	}
	os.Exit(cli.Main(os.Args[1:]))
}
