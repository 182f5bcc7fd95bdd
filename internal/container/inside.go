package container

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"tiffin/image/layer"
	"tiffin/internal/errs"
	"tiffin/internal/programs"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// Contract of this file: what must be done with the user ids of a container, for one whose upper directory the
// kernel's overlayfs has written. Its files may belong to subordinate ids (subuid(5)), which only a user namespace
// that maps them can read and remove: user_namespaces(7), "Effect of capabilities within a user namespace".
// A short-lived helper enters one like the container's and does one thing there.

// InsideCommand is the name main dispatches on for the helper.
const InsideCommand = "__inside"

// insideRequest is what the helper is told. What it makes goes to the file that comes along.
type insideRequest struct {
	Dir   string   `json:"dir"`             // the container's
	Union string   `json:"union,omitempty"` // merged index of the image
	Flats []string `json:"flats,omitempty"` // its layers, the bottom one first
	Made  []string `json:"made,omitempty"`  // paths that were made for mounts: State.Made
}

// inside asks a helper for one operation. Its output goes to w.
func (c *Container) inside(op string, req *insideRequest, w io.Writer) error {
	sock, proc, err := c.startHelper()
	if err != nil {
		return errs.Code(probe.Explain(err), 125)
	}
	defer proc.Process.Wait()
	defer sock.Close()
	out, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	err = sock.send(&message{Op: op, Inside: req, files: []*os.File{theirs}})
	theirs.Close()
	if err == nil {
		_, err = io.Copy(w, out) // until the helper closes its copy, or ends
	}
	// Why it has stopped early is the better reason than what became of its output.
	if _, answered := sock.answer(); answered != nil {
		return answered
	}
	return err
}

// startHelper starts the helper, and returns the connection to it.
func (c *Container) startHelper() (*conn, *ns.UserProc, error) {
	program, err := programs.Open(c.root(), programs.Runtime)
	if err != nil {
		return nil, nil, err
	}
	defer program.Close()
	mine, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	u := ns.UserNS{
		Program: program, Args: []string{"tiffin", InsideCommand}, Dir: "/", SingleID: c.SingleID, Files: []*os.File{theirs},
	}
	proc, err := u.Start()
	if err != nil {
		mine.Close()
	}
	return mine, proc, err
}

// Inside is the helper's main function. It returns the exit status.
func Inside() int {
	ids, err := ns.WaitForMaps()
	if err != nil {
		return 125 // nobody is there to be told
	}
	c, err := newConn(os.NewFile(controlFD, "control"))
	if err != nil {
		return 125
	}
	m, err := c.receive()
	if err != nil || m.Inside == nil || len(m.files) != 1 {
		return 125
	}
	err = m.Inside.do(m.Op, ids, m.files[0])
	m.files[0].Close()
	if err != nil {
		c.fail(err)
		return 1
	}
	_ = c.send(&message{Op: ansOK})
	return 0
}

func (r *insideRequest) do(op string, ids ns.IDMap, w io.Writer) error {
	if op == opErase {
		return os.RemoveAll(r.Dir)
	}
	u, closeAll, err := r.open(ids)
	if err != nil {
		return err
	}
	defer closeAll()
	switch op {
	case opDiff:
		list, err := layer.Changes(u)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(list)
	case opPack:
		return layer.WriteDiff(w, u)
	}
	return fmt.Errorf("control connection: unknown operation %q", op)
}

// open opens what layer.Upper needs.
func (r *insideRequest) open(ids ns.IDMap) (u *layer.Upper, closeAll func(), err error) {
	index, err := layer.OpenIndex(r.Union)
	if err != nil {
		return nil, nil, err
	}
	flats, closeFlats, err := openFlats(r.Flats)
	if err != nil {
		index.Close()
		return nil, nil, err
	}
	u = &layer.Upper{Dir: r.Dir, Lower: index, Flats: flats, Skip: skipping(r.Made),
		Kernel: &layer.KernelUpper{MapUID: ids.MapUID, MapGID: ids.MapGID}}
	return u, func() { closeFlats(); index.Close() }, nil
}

// openFlats opens the layers of an image.
func openFlats(paths []string) (flats []io.ReaderAt, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		files, flats = append(files, f), append(flats, f)
	}
	return flats, closeAll, nil
}
