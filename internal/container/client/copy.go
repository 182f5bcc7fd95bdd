// Files of a container, for cp and export: read and written inside it.

package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
	"tiffin/ns"
	"tiffin/ns/probe"
)

// Tree is a container's files: methods of treecopy.Tree, done in the container. Close it.
type Tree struct {
	c    *disk.Container
	conn *control.Conn // of a container that does not run: to the supervisor that lends its files
	proc *ns.UserProc
	pid  int // of the process that has them as its root
}

// OpenTree gives access to the container's files, also if it does not run: then it cannot be
// started until Close. Volumes and other mounts are only there while it runs.
func OpenTree(c *disk.Container, store *image.Store) (*Tree, error) {
	if s, err := c.State(); err != nil || s.Status == disk.Running {
		return &Tree{c: c}, err
	}
	if c.Upper != "" {
		return nil, fmt.Errorf("container %s does not run, and what it changes is only in memory: nothing can be copied", c.Name)
	}
	_, m, err := mountable(c, store)
	if err != nil {
		return nil, err
	}
	lock, err := c.Lock()
	if errors.Is(err, disk.ErrLocked) {
		if s, e := c.State(); e == nil && s.Status == disk.Running { // by now
			return &Tree{c: c}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	var t *Tree
	err = mended(c, m, func(m *cache.Mountable) (err error) {
		t, err = lend(c, lock, m)
		return err
	})
	return t, err
}

// lend starts a supervisor that serves the files of a container, whose lock the caller holds, and
// runs nothing in it.
func lend(c *disk.Container, lock *os.File, m *cache.Mountable) (*Tree, error) {
	l := NewLaunch(c.Root(), nil, nil).MapIDs(c.SingleID)
	if err := l.ready(); err != nil {
		return nil, errs.Code(probe.Explain(err), 125)
	}
	t := &Tree{c: c, conn: l.conn, proc: l.proc}
	ans, err := l.conn.Call(&control.Message{Op: control.OpStart, Files: []*os.File{lock}, Start: &control.Start{
		Dir: c.Dir(), Union: m.UnionPath, Flats: m.FlatPaths, Blocks: m.BlockPaths, Indexes: m.IndexPaths, Idle: true,
	}})
	if err != nil {
		t.Close()
		return nil, withoutDriver(c, err)
	}
	t.pid = ans.PID
	return t, nil
}

// Lent are the ids of the user namespace in which the files of a container are lent that does not
// run, and the number of a process there whose root they are. A mount of them holds up Close.
func (t *Tree) Lent() (ids ns.IDMap, pid int, err error) {
	if t.conn == nil {
		return ids, 0, errs.Hint(fmt.Errorf("container %s is running", t.c.Name), "`tiffin stop "+t.c.Name+"` first")
	}
	return t.proc.IDs, t.pid, nil
}

// Open reads the file that says who users are, or which groups there are; nil if there is none.
func (t *Tree) Open(path string) (io.ReadCloser, error) {
	info, err := t.Stat(path, true)
	if err != nil || !info.File {
		return nil, err
	}
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		w.CloseWithError(t.Pack(w, path, "file", true))
		close(packed)
	}()
	file := tar.NewReader(r)
	var text []byte
	if _, err = file.Next(); err == nil {
		text, err = io.ReadAll(io.LimitReader(file, ns.UserFileLimit+1))
	}
	r.Close()
	<-packed // one request at a time
	return io.NopCloser(bytes.NewReader(text)), err
}

// Close ends the access. What has been copied is in the container's directory when it returns.
func (t *Tree) Close() {
	if t.conn != nil {
		t.conn.Close()
		_, _ = t.proc.Wait()
	}
}

// ask has one request done. tarball, if not nil, is closed here once the helper has it.
func (t *Tree) ask(req *control.Copy, tarball *os.File) (*control.Copied, error) {
	if at := t.covered(req.Path); at != "" {
		return nil, errs.Hint(fmt.Errorf("container %s does not run: what is mounted at %s is there only while it does", t.c.Name, at), "`tiffin start "+t.c.Name+"` first")
	}
	m := &control.Message{Op: control.OpCopy, Copy: req}
	if tarball != nil {
		m.Files = []*os.File{tarball}
		defer tarball.Close()
	}
	c := t.conn
	if c == nil {
		var err error
		if c, err = dial(t.c); err != nil {
			return nil, err
		}
		defer c.Close()
	}
	if err := c.Send(m); err != nil {
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	}
	if tarball != nil {
		tarball.Close() // or the other end would never see that the helper has closed its copy
	}
	ans, err := c.Answer()
	if err != nil {
		return nil, err
	}
	if ans.Copied == nil {
		return nil, errors.New("control connection: no result of a copy")
	}
	return ans.Copied, nil
}

// covered is where something is mounted over a path while the container runs, which it does not: a
// copy of what is below, or to there, is nothing that anybody wants. Links are not followed.
func (t *Tree) covered(name string) string {
	for _, v := range t.c.Volumes {
		if t.conn != nil && strings.HasPrefix(path.Clean(name)+"/", v.Target+"/") {
			return v.Target
		}
	}
	return ""
}

// Stat is treecopy.Tree.Stat.
func (t *Tree) Stat(path string, follow bool) (treecopy.Info, error) {
	res, err := t.ask(&control.Copy{Op: control.CopyStat, Path: path, Follow: follow}, nil)
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
	_, err = t.ask(&control.Copy{Op: control.CopyPack, Path: path, Name: as, Follow: follow}, theirs)
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
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, struct{ io.Reader }{r}) // by splice(2), errors of r would be said to be of w
		copied <- err                                // before the helper sees the end
		w.Close()
	}()
	res, err := t.ask(&control.Copy{Op: control.CopyUnpack, Path: dir, Name: top, Owners: owners}, theirs)
	if err != nil {
		return 0, err
	}
	select {
	case err = <-copied: // an r that fails at once looks like a tarball with nothing in it
		if errors.Is(err, unix.EPIPE) {
			err = nil // more than the tarball
		}
	default: // the tarball has an end, and r has not yet
	}
	return res.Bytes, err
}
