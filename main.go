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
//	tiffin __supervisor  the process that looks after a container, and the others of the runtime:
//	tiffin __init …      package supervisor
//	tiffin __probe       … that tries what this machine allows
//	tiffin __keeper      … that starts a container again when it has ended
//	tiffin __userland    … that writes out the shell and commands of tiffin/base, for labs
//	tiffin __man         … that writes the manual pages, for scripts/setup --man
//	tiffin __grade       … that works in the container of a hand-in: package tutorial
//	tiffin __mini        … that tries a student's own container: package mini
//	tiffin run …         what the user types
//
// A tiffin built by scripts/setup carries more programs (package programs): the runtime, which
// is smaller, so that these processes start faster, and the userland and the reader of Dockerfiles,
// which this binary lacks.
package main

import (
	"os"

	"tiffin/image/lazy"
	"tiffin/internal/cli"
	"tiffin/internal/container/client"
	"tiffin/internal/container/supervisor"
	"tiffin/ns/probe"
	"tiffin/tutorial"
)

func main() {
	if status, ok := supervisor.Main(os.Args); ok {
		os.Exit(status)
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case probe.Command:
			probe.Main()
		case client.KeeperCommand:
			client.KeeperMain(os.Args[2:])
			return
		case lazy.Command:
			os.Exit(cli.FetchLazily(os.Args[2:]))
		case cli.ManCommand:
			os.Exit(cli.WriteManuals(os.Args[2:]))
		case cli.UserlandCommand:
			os.Exit(cli.WriteUserland())
		case tutorial.MiniCommand:
			os.Exit(cli.CheckMini(os.Args[2:]))
		case tutorial.GradeCommand:
			os.Exit(cli.InSandbox(os.Args[2:]))
		}
	}
	os.Exit(cli.Main(os.Args[1:]))
}
