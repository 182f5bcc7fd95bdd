// Package control is how the processes of a container talk: clients with the supervisor, and both
// with helpers. There is one protocol.
//
// One JSON object a line over a Unix stream socket, either way; descriptors travel with a line
// (SCM_RIGHTS, unix(7)). A connection carries one request. The operations are the constants Op…,
// what they answer is Ans…; conversations that can be tried by hand are in appendix A of the book
// (tutorial/book/a-formats.md).
//
// There are two ways to a connection: a process inherits one ([Pair], at descriptor [FD]), or it
// connects to the socket `control` in a container's directory ([Dial], [Listen]). That socket is
// its owner's alone.
//
// Whoever sends is not believed: a line of more than 16 MiB, one that is no JSON, one that
// announces more descriptors than came, and descriptors without end are errors, after which the
// connection is of no use. Descriptors that nobody asked for are closed with their message or
// their connection.
package control
