// Compose reads the files of a project, compose.yaml and what it mentions, for `tiffin compose`:
// package compose has the question on its standard input and the answer on its standard output.
// tiffin carries it: package programs.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/internal/compose"
	"tiffin/internal/compose/parser"
	"tiffin/ns/seccomp"
)

// What a project may cost: a file that needs more was not written to be read. getrlimit(2).
const (
	memory = 1 << 30 // bytes
	time   = 30      // seconds of a processor
)

func main() {
	var r compose.Request
	err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory})
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: time, Max: time})
	}
	if err == nil {
		err = seccomp.Enter(0) // it opens what the files name, and does nothing else
	}
	if err == nil {
		err = json.NewDecoder(os.Stdin).Decode(&r)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(parser.Read(r))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "tiffin: this is the program behind `tiffin compose`: %v\n", err)
		os.Exit(125)
	}
}
