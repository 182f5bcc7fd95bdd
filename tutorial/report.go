// The report of a script: the channel on which it writes its records, out of reach of the programs
// that it runs.

package tutorial

import (
	"crypto/rand"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// report is one script's. Descriptor 3 of the shell is a socket, which nobody can open again by way
// of /proc/PID/fd: open(2), ENXIO. lib.sh closes it for the programs that it starts, and each
// record begins with a token, which the shell reads from its standard input and hands on to nobody.
// (What may trace the shell, ptrace(2), can do all that it can: `lab grade` lets nobody.)
type report struct {
	token  string
	script *os.File // its end
	ours   net.Conn
	all    chan []byte // what came, as a whole
}

func newReport() (*report, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "report")
	defer ours.Close()
	r := &report{token: rand.Text(), script: os.NewFile(uintptr(fds[1]), "report"), all: make(chan []byte, 1)}
	if r.ours, err = net.FileConn(ours); err != nil {
		r.script.Close()
		return nil, err
	}
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r.ours, maxRecords+1))
		_, _ = io.Copy(io.Discard, r.ours) // who floods it shall not wait
		r.all <- b
	}()
	return r, nil
}

// read returns the records, once the script has ended. What it has left running may still hold its
// end: unix(7), shutdown(2).
func (r *report) read() ([]Check, error) {
	if err := r.ours.(*net.UnixConn).CloseRead(); err != nil {
		return nil, err
	}
	return parseRecords(<-r.all, r.token)
}

func (r *report) close() {
	r.ours.Close()
	r.script.Close()
}
