// The network program carries packets between containers and the rest of the world: package stack.
// It is started when the first of them comes, and links a network stack that no other program of
// tiffin needs. tiffin carries it: package programs.
package main

import (
	"os"

	"tiffin/internal/network"
	"tiffin/internal/network/stack"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == network.ProgramCommand {
		os.Exit(stack.Main())
	}
	os.Stderr.WriteString("tiffin: this is the program behind the network of tiffin's containers: run `tiffin` instead\n")
	os.Exit(125)
}
