// Package tutorial is the labs: small tasks on the parts of a container, each
// with a text to read, commands to type, and a check of what they have changed.
//
// # What a student sees
//
//	tiffin lab start 3     makes ~/tiffin-labs/03-user-namespace, the work directory
//	tiffin lab show        prints the text, which ends with the task
//	tiffin lab check       looks at the state, says what holds and what does not yet
//	tiffin lab hint        prints the next of three hints
//	tiffin lab reset       makes the start state again
//	tiffin lab solution    prints the solution, once the lab is passed
//	tiffin lab next        starts the next lab that is not passed
//	tiffin lab clean       removes all that a lab has made
//
// Beside the work directories are the seed, and a signed record for each lab (see Entry). Nothing
// is watched and nothing runs between two commands, so a home directory on NFS is as good as any,
// and nothing ever needs a network.
//
// # A lab is a directory
//
// No Go is needed to make one: it is a directory of plain text and shell, NN-name/. Those of this
// package are embedded in the binary; those of others come in packs and directories (see Pack).
// `tiffin lab new 50-name` writes one that works. The files, what scripts may do, how a check is
// judged and how a lab is tested itself are in appendix A of the book
// (tutorial/book/a-formats.md).
package tutorial
