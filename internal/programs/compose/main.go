// Compose reads the files of a project, compose.yaml and what it mentions, for `tiffin compose`,
// and under the name kube those of Kubernetes, for `tiffin play kube`: packages compose and kube
// have the question on its standard input and the answer on its standard output. tiffin carries
// it: package programs.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/internal/compose/parser"
	kubeparser "tiffin/internal/kube/parser"
	"tiffin/ns/seccomp"
)

// What a project may cost: a file that needs more was not written to be read. getrlimit(2).
const (
	memory = 1 << 30 // bytes
	time   = 30      // seconds of a processor
)

func main() {
	err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory})
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: time, Max: time})
	}
	if err == nil {
		err = seccomp.Enter(0) // it opens what the files name, and does nothing else
	}
	if err == nil && os.Args[0] == "kube" {
		err = answer(kubeparser.Answer)
	} else if err == nil {
		err = answer(parser.Read)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "tiffin: this is the program behind `tiffin compose` and `tiffin play kube`: %v\n", err)
		os.Exit(125)
	}
}

// answer reads a request, and writes what of says about it.
func answer[Request, Answer any](of func(Request) Answer) error {
	var r Request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(of(r))
}
