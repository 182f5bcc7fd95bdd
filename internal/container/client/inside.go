// The helper that enters a container's user namespace to read or remove files of its other ids.

package client

import (
	"io"
	"os"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/programs"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// inside asks a helper for one operation. Its output goes to w.
func inside(c *disk.Container, op string, upper *disk.Upper, w io.Writer) error {
	return insideOf(c.Root(), c.SingleID, op, upper, w)
}

// insideOf is inside for a store, with the ids of its containers or with one.
func insideOf(root string, single bool, op string, upper *disk.Upper, w io.Writer) error {
	sock, proc, err := startHelper(root, single)
	if err != nil {
		return errs.Code(probe.Explain(err), 125)
	}
	defer proc.Wait()
	defer sock.Close()
	out, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	err = sock.Send(&control.Message{Op: op, Upper: upper, Files: []*os.File{theirs}})
	theirs.Close()
	if err == nil {
		_, err = io.Copy(w, out) // until the helper closes its copy, or ends
	}
	// Why it has stopped early is the better reason than what became of its output.
	if _, answered := sock.Answer(); answered != nil {
		return answered
	}
	return err
}

// startHelper starts the helper, and returns the connection to it.
func startHelper(root string, single bool) (*control.Conn, *ns.UserProc, error) {
	program, err := programs.Open(root, programs.Runtime)
	if err != nil {
		return nil, nil, err
	}
	defer program.Close()
	u := ns.UserNS{Program: program, Args: []string{"tiffin", control.InsideCommand}, Dir: "/", SingleID: single}
	proc, err := u.Start()
	if err != nil {
		return nil, nil, err
	}
	return &control.Conn{Conn: proc.Conn}, proc, nil
}
