// Package control is what clients say to a supervisor, and both to their helpers, in lines of
// package wire.
//
// A connection carries one request. The operations are the constants Op…, what they answer is
// Ans…; conversations that can be tried by hand are in appendix A of the book
// (tutorial/book/a-formats.md).
//
// There are two ways to a connection: a process inherits one, or it connects to the socket
// `control` in a container's directory ([Dial], [Listen]). That socket is its owner's alone.
package control
