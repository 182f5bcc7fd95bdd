// What it may use does not change, and no file can be opened later to find out.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Dockerfile is the program that reads Dockerfiles for tiffin: package dockerfile has the questions
// that it answers.
//
// The text may be a stranger's, and the parser is a large library that nobody wrote against
// attackers. So before the first byte of it arrives, this process gives up what it could do harm
// with: see confine.
package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/dockerfile"
	"tiffin/internal/wire"
	"tiffin/ns/seccomp"
)

func main() {
	if err := serve(); err != nil {
		os.Stderr.WriteString("tiffin: this is the program that reads Dockerfiles: run `tiffin build` instead: " + err.Error() + "\n")
		os.Exit(125)
	}
}

// serve answers questions until nobody asks any more.
func serve() error {
	conn, err := wire.Inherited()
	if err == nil {
		err = confine()
	}
	if err != nil {
		return err
	}
	r := new(reader)
	for {
		var q dockerfile.Request
		if err := conn.Receive(&q); err != nil {
			return nil
		}
		if err := conn.Send(r.answer(&q)); err != nil {
			return err
		}
	}
}

// maxMemory is how much the program may map, in bytes. Most is what the Go runtime reserves.
const maxMemory = 2 << 30

// confine leaves this process its memory and its connection.
func confine() error {
	// Go's runtime opens what its timers wait for when it first has one, which may be late: when it
	// gives memory back.
	time.Sleep(time.Nanosecond)
	for limit, n := range map[int]uint64{
		unix.RLIMIT_NOFILE: 0, // getrlimit(2): no file, socket or pipe can be opened any more
		unix.RLIMIT_FSIZE:  0, // nor grow
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_AS:     maxMemory,
		unix.RLIMIT_CPU:    60, // seconds
	} {
		if err := unix.Setrlimit(limit, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	return seccomp.Enter(0)
}
