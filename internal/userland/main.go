// Userland is the shell and the commands of tiffin/base, the image that is always there: a root
// file system with a shell and about a hundred commands, so that the first container needs no
// network, no registry and no other image on the machine.
//
// It is a module of its own, so that tiffin has none of its dependencies, and a program of its own,
// which tiffin carries (scripts/setup builds it in): a container that runs true(1) reads little
// more than a shell, and not a registry client.
//
// # One program, many names
//
// In the image the program is /bin/sh, and /bin/ls and all others are hard links to it: entries of
// type '1' in the layer's tarball, 512 bytes each, no content. Which command a process is, is
// decided by the base name of its argv[0], the way busybox does it. The shell is package sh
// (mvdan.cc/sh's parser and interpreter with job control, line editing and process handling of our
// own); the commands are package box. tiffin itself is not in the image: nothing in it could start
// a container in a container, which has no /dev/fuse.
//
// # Deterministic
//
// `userland --layer` writes the image's layer, the same bytes for the same program: fixed order,
// fixed time, no user names. So the same program gives the same diff ID on every machine, and an
// exercise can name it.
//
// # What a process of the image looks like to the kernel
//
// Go's runtime installs handlers for most signals at start. A C program has none, and that
// difference shows: PID 1 without a handler is immune to SIGTERM (pid_namespaces(7)), and
// `grep SigCgt /proc/PID/status` is a lesson. [run] therefore puts the terminating and stopping
// signals back to their default actions before the command runs; the shell installs handlers for
// what it traps.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tiffin/userland/box"
	"tiffin/userland/sh"
	"tiffin/userland/sig"
)

func main() {
	if status, ok := run(os.Args); ok {
		os.Exit(status)
	}
	if len(os.Args) == 2 && os.Args[1] == "--layer" {
		if err := writeLayer(); err != nil {
			fmt.Fprintln(os.Stderr, "userland:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "userland: this is the shell and the commands of tiffin/base, by their names; `userland --layer` writes its layer")
	os.Exit(2)
}

// writeLayer writes the layer, with this program in it, to standard output.
func writeLayer() error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	st, err := self.Stat()
	if err != nil {
		return err
	}
	return Layer(os.Stdout, self, st.Size())
}

// Path is the PATH of the image. /usr/bin, /sbin and /usr/sbin are links to
// /bin, so naming them would only make "which ls" answer something odd.
const Path = "/usr/local/bin:/bin"

// run runs args (argv of the process) if args[0] names one of the image's
// commands, and returns its exit status; ok is false if it does not, and then
// nothing has happened. Some commands replace or end the process themselves.
func run(args []string) (exit int, ok bool) {
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
