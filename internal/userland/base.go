// Package base makes tiffin/base, the image that is always there: a root file
// system with a shell and about a hundred commands, generated from the running
// binary itself, so that the first container needs no network, no registry and
// no other image on the machine.
//
// # One binary, many names
//
// In the image the tiffin binary is /bin/tiffin, and /bin/sh, /bin/ls and all
// others are hard links to it: entries of type '1' in the layer's tarball, 512
// bytes each, no content. Which command a process is, is decided by the base
// name of its argv[0] ([Main], called first thing by main), the way busybox
// does it. The shell is package sh (mvdan.cc/sh's parser and interpreter with
// job control, line editing and process handling of our own); the commands are
// package box.
//
// # Deterministic
//
// [Layer] writes the same bytes for the same binary: fixed order, fixed time
// ([Epoch]), no user names. So the same tiffin binary gives the same diff ID on
// every machine, and an exercise can name it.
//
// # What a process of the image looks like to the kernel
//
// Go's runtime installs handlers for most signals at start. A C program has
// none, and that difference shows: PID 1 without a handler is immune to
// SIGTERM (pid_namespaces(7)), and `grep SigCgt /proc/PID/status` is a lesson.
// [Main] therefore puts the terminating and stopping signals back to their
// default actions before the command runs; the shell installs handlers for
// what it traps.
package base

import (
	"path/filepath"
	"strings"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/userland/box"
	"tiffin/internal/userland/sh"
	"tiffin/internal/userland/sig"
)

// Path is the PATH of the image. /usr/bin, /sbin and /usr/sbin are links to
// /bin, so naming them would only make "which ls" answer something odd.
const Path = "/usr/local/bin:/bin"

// Main runs args (argv of the process) if args[0] names one of the image's
// commands, and returns its exit status; ok is false if it does not, and then
// nothing has happened. Some commands replace or end the process themselves.
func Main(args []string) (exit int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	name := strings.TrimPrefix(filepath.Base(args[0]), "-")
	if name == "sh" {
		sig.Defaults()
		return sh.Main(args), true
	}
	if _, ok := box.Find(name); !ok {
		return 0, false
	}
	sig.Defaults()
	return box.Run(args)
}

// Config is the image's configuration.
func Config() ispec.ImageConfig {
	return ispec.ImageConfig{
		Cmd: []string{"sh"},
		Env: []string{"PATH=" + Path},
	}
}
