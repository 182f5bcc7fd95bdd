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
//	tiffin __supervisor  the process that looks after a container, and the others of the runtime:
//	tiffin __init …      package supervisor
//	tiffin __probe       … that tries what this machine allows
//	tiffin run …         what the user types
//
// As scripts/setup builds it, tiffin carries the runtime as a smaller program of its own (package
// programs), and these processes start quicker.
package main

import (
	"os"

	"tiffin/internal/cli"
	"tiffin/internal/container/supervisor"
	"tiffin/internal/userland"
	"tiffin/ns/probe"
)

func main() {
	if status, ok := base.Main(os.Args); ok {
		os.Exit(status)
	}
	if status, ok := supervisor.Main(os.Args); ok {
		os.Exit(status)
	}
	if len(os.Args) > 1 && os.Args[1] == probe.Command {
		probe.Main()
	}
	os.Exit(cli.Main(os.Args[1:]))
}
