// A supervisor waits most of the time and every start counts: do not read the
// control group's CPU limits, nor look every second whether they have changed.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Runtime is the program that stays with a container: its supervisor and the processes that come up
// on the way to its command. Each start of a container executes it two times, so it links only what
// these need. tiffin carries it: package programs.
package main

import (
	"os"

	"tiffin/internal/container/supervisor"
)

func main() {
	if status, ok := supervisor.Main(os.Args); ok {
		os.Exit(status)
	}
	os.Stderr.WriteString("tiffin: this is the program behind tiffin's containers: run `tiffin` instead\n")
	os.Exit(125)
}
