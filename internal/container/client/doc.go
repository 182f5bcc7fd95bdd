// Package client is what the commands of tiffin do with containers: start one, talk to its
// supervisor, make an image of it. It is where containers meet the store of images.
//
// A function that needs the supervisor of a container that does not run returns [ErrNotRunning];
// one whose supervisor goes away without an answer, control.ErrGone.
package client
