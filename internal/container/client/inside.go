// The helper that enters a container's user namespace to read, write or remove files of its other
// ids.

package client

import (
	"errors"
	"io"
	"os"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/programs"
	"tiffin/ns"
	"tiffin/ns/probe"

	"golang.org/x/sys/unix"
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
		// Until the helper closes its copy, or ends. It does not answer before it has written all:
		// if w does not take it, nobody waits for the answer.
		if _, err := io.Copy(w, out); err != nil {
			return err
		}
	}
	// Why it did not take the request is the better reason.
	if _, answered := sock.Answer(); answered != nil {
		return answered
	}
	return err
}

// Unpack reads a tarball into a directory, whose files get the owners that a container's user
// namespace gives them. It returns the ids of that namespace. With one id, all belong to it.
func Unpack(c *disk.Config, root string, dir *os.File, r io.Reader) (ns.IDMap, error) {
	sock, proc, err := startHelper(root, c.SingleID)
	if err != nil {
		return ns.IDMap{}, errs.Code(probe.Explain(err), 125)
	}
	defer proc.Wait()
	defer sock.Close()
	theirs, w, err := os.Pipe()
	if err != nil {
		return ns.IDMap{}, err
	}
	req := &control.Copy{Op: control.CopyUnpack, Path: "/", Owners: !proc.IDs.Single()}
	err = sock.Send(&control.Message{Op: control.OpCopy, Copy: req, Files: []*os.File{theirs, dir}})
	theirs.Close()
	var read error
	if err == nil {
		_, read = io.Copy(w, struct{ io.Reader }{r}) // by splice(2), errors of r would be said to be of w
	}
	if read != nil && !errors.Is(read, unix.EPIPE) {
		sock.Close() // what has come is not all, and the helper must not take it for that
		w.Close()
		return ns.IDMap{}, read
	}
	w.Close()
	if _, answered := sock.Answer(); answered != nil {
		return ns.IDMap{}, answered
	}
	return proc.IDs, errors.Join(err, read)
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
