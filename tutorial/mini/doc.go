// Package mini judges a container program that a student writes from nothing, of about 300 lines:
//
//	mini run DIR COMMAND…          the command, with DIR for its root directory
//	mini merge LAYER.tar… OUT      the files of the layers, the lowest first, in directory OUT
//
// It is built in nine stages, and each adds a wall or a duty to those before. The program may be
// written in any language. So it is looked at from outside only: it is started in the sandbox of
// `lab grade`, and what it has made of the command is read from /proc of this side (proc(5)), never
// from what it or the command prints.
//
//	Bench        the sandbox, and a run of the program in it
//	view         what /proc says of a process
//	stages       what must hold, in order, and the misconception that each failure suggests
//	stack        a stack of layers: by chance, valid, as tarballs, smaller
//	Ours         what this program does in the same place, as source text
package mini
