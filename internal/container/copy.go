package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// Contract of this file: files go into a container and come out of it, as a tarball through a pipe. A helper of the
// supervisor's does it, in the container's user namespace and from outside of its mount namespace, through
// /proc/pid/root, proc(5): the supervisor must not touch the file system that it serves, and nothing of the image, not even a
// library, is loaded (docker's CVE-2019-14271). Of a container that does not run a supervisor serves the files alone.

// copyRequest is one thing that the helper does.
type copyRequest struct {
	Op     string `json:"op"` // "stat", "pack", "unpack": methods of treecopy.Tree
	Path   string `json:"path"`
	Name   string `json:"name,omitempty"`
	Follow bool   `json:"follow,omitempty"`
	Owners bool   `json:"owners,omitempty"`
}

type copyResult struct {
	Info  treecopy.Info `json:"info"`
	Bytes int64         `json:"bytes,omitempty"`
	Error *ns.WireError `json:"error,omitempty"`
}

// CopyCommand is the name main dispatches on for the helper.
const CopyCommand = "__copy"

// Copy is the helper's main function: args[0] is the number of a process whose root it is about, standard input has
// the request, descriptor 3 is for the tarball, and the result goes to standard output.
func Copy(args []string) int {
	var req copyRequest
	if len(args) != 1 || json.NewDecoder(os.Stdin).Decode(&req) != nil {
		return 2
	}
	root, err := unix.Open("/proc/"+args[0]+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	var res copyResult
	if err != nil {
		err = fmt.Errorf("open the root of process %s, which has perhaps ended: %w", args[0], err)
	} else {
		err = req.do(treecopy.Rooted(root), os.NewFile(3, "tarball"), &res)
	}
	if err != nil {
		res.Error = ns.ToWire(err)
	}
	if json.NewEncoder(os.Stdout).Encode(&res) != nil {
		return 1
	}
	return 0
}

func (r *copyRequest) do(t *treecopy.Tree, tarball *os.File, res *copyResult) (err error) {
	switch r.Op {
	case "stat":
		res.Info, err = t.Stat(r.Path, r.Follow)
	case "pack":
		err = t.Pack(tarball, r.Path, r.Name, r.Follow)
	case "unpack":
		res.Bytes, err = t.Unpack(tarball, r.Path, r.Name, r.Owners)
	default:
		err = fmt.Errorf("control connection: unknown operation %q", r.Op)
	}
	return err
}

// copy starts the helper for one request, and answers with what it says.
func (s *supervisor) copy(c *conn, m *message) {
	defer func() {
		for _, f := range m.files {
			f.Close()
		}
	}()
	doc, err := json.Marshal(m.Copy)
	pid, err2 := s.child.HostPid()
	if err = errors.Join(err, err2); err != nil || m.Copy == nil {
		c.fail(errors.Join(err, errors.New("control connection: not a copy")))
		return
	}
	s.paused.RLock() // whoever reads the changes waits for this one
	defer s.paused.RUnlock()
	cmd := exec.Command("/proc/self/exe", CopyCommand, strconv.Itoa(pid))
	cmd.Args[0], cmd.Stdin, cmd.ExtraFiles = "tiffin", bytes.NewReader(doc), m.files
	out, err := cmd.Output()
	var res copyResult
	if err == nil {
		err = json.Unmarshal(out, &res)
	}
	switch {
	case err != nil:
		c.fail(fmt.Errorf("copy: %w", err))
	case res.Error != nil:
		c.fail(res.Error.Err())
	default:
		c.send(&message{Op: ansOK, Copied: &res})
	}
}

// lend serves the files of a container that does not run, for as long as the client wants to copy.
func (s *supervisor) lend(c *conn) {
	if c.send(&message{Op: ansOK}) == nil {
		for m, err := c.receive(); err == nil && m.Op == opCopy; m, err = c.receive() {
			s.copy(c, m)
		}
	}
	_ = s.child.Signal(unix.SIGKILL)
	_, _ = s.child.Wait()
	<-s.served // all is in the upper directory
	if s.c.overlay() {
		s.c.clearWork()
	}
}

// Tree is a container's files: methods of treecopy.Tree, done in the container. Close it.
type Tree struct {
	c    *Container
	conn *conn // of a container that does not run: to the supervisor that lends its files
	proc *ns.UserProc
}

// OpenTree gives access to the container's files, also if it does not run; nobody can start it then until Close.
// What is mounted in it, volumes among them, is only there while it runs.
func (c *Container) OpenTree(store *image.Store) (*Tree, error) {
	if s, err := c.State(); err != nil || s.Status == Running {
		return &Tree{c: c}, err
	}
	img, err := store.Resolve(c.ImageID.String())
	if err != nil {
		return nil, fmt.Errorf("find the image of container %s: %w", c.Name, err)
	}
	m, err := store.Mountable(img)
	if err != nil {
		return nil, err
	}
	lock, err := c.Lock()
	if errors.Is(err, errLocked) {
		if s, e := c.State(); e == nil && s.Status == Running { // by now
			return &Tree{c: c}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	l := NewLaunch(c.root(), c.SingleID, nil)
	<-l.done
	if l.err != nil {
		return nil, errs.Code(probe.Explain(l.err), 125)
	}
	_, err = l.conn.call(&message{Op: opStart, files: []*os.File{lock}, Start: &startRequest{
		Dir: c.dir, Union: m.UnionPath, Flats: m.FlatPaths, Indexes: m.IndexPaths, Idle: true,
	}})
	t := &Tree{c, l.conn, l.proc}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close ends the access. What has been copied is in the container's directory when it returns.
func (t *Tree) Close() {
	if t.conn != nil {
		t.conn.Close()
		_, _ = t.proc.Process.Wait()
	}
}

// ask has one request done. tarball, if not nil, is closed here once the helper has it.
func (t *Tree) ask(req *copyRequest, tarball *os.File) (*copyResult, error) {
	m := &message{Op: opCopy, Copy: req}
	if tarball != nil {
		m.files = []*os.File{tarball}
		defer tarball.Close()
	}
	c := t.conn
	if c == nil {
		var err error
		if c, err = t.c.dial(); err != nil {
			return nil, err
		}
		defer c.Close()
	}
	if err := c.send(m); err != nil {
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	}
	if tarball != nil {
		tarball.Close() // or the other end would never see that the helper has closed its copy
	}
	ans, err := c.answer()
	if err != nil {
		return nil, err
	}
	if ans.Copied == nil {
		return nil, errors.New("control connection: no result of a copy")
	}
	return ans.Copied, nil
}

// Stat is treecopy.Tree.Stat.
func (t *Tree) Stat(path string, follow bool) (treecopy.Info, error) {
	res, err := t.ask(&copyRequest{Op: "stat", Path: path, Follow: follow}, nil)
	if err != nil {
		return treecopy.Info{}, err
	}
	return res.Info, nil
}

// Pack is treecopy.Tree.Pack.
func (t *Tree) Pack(w io.Writer, path, as string, follow bool) error {
	r, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, r)
		r.Close() // if w does not take it, the helper shall not wait
		copied <- err
	}()
	_, err = t.ask(&copyRequest{Op: "pack", Path: path, Name: as, Follow: follow}, theirs)
	if e := <-copied; e != nil {
		return e
	}
	return err
}

// Unpack is treecopy.Tree.Unpack.
func (t *Tree) Unpack(r io.Reader, dir, top string, owners bool) (int64, error) {
	theirs, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	go func() {
		_, _ = io.Copy(w, r) // an r that fails leaves a tarball without an end, which Unpack refuses
		w.Close()
	}()
	res, err := t.ask(&copyRequest{Op: "unpack", Path: dir, Name: top, Owners: owners}, theirs)
	if err != nil {
		return 0, err
	}
	return res.Bytes, nil
}
