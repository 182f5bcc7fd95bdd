// Package control is the protocol in which clients talk to a supervisor, and both to their helpers,
// in lines of package wire.
//
// A connection carries one request. The operations are the constants Op…, the answers are the
// constants Ans…; conversations that can be tried by hand are in appendix A of the book
// (tutorial/book/a-formats.md).
//
// There are two ways to a connection: a process inherits one, or it connects to the socket
// `control` in a container's directory ([Dial], [Listen]). That socket is its owner's alone.
package control
