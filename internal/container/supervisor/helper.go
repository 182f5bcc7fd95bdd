// The helpers of the supervisor: each copies, syncs, or reads and removes files, answers in the
// control protocol, and ends.

package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// help is the main function of a helper. It returns the exit status.
func help(inside bool) int {
	var ids ns.IDMap
	var conn *wire.Conn
	var err error
	if inside {
		conn, ids, err = ns.Entered()
	} else {
		conn, err = wire.Inherited()
	}
	if err != nil {
		return 125 // nobody is there to be told
	}
	c := &control.Conn{Conn: conn}
	m, err := c.Receive()
	if err != nil {
		return 125
	}
	ans := &control.Message{Op: control.AnsOK}
	err = do(m, ids, ans)
	m.Close() // whoever reads its output has all of it before the answer
	if err != nil {
		c.Fail(err)
		return 1
	}
	_ = c.Send(ans)
	return 0
}

// do does what m asks for, and puts the result into ans.
func do(m *control.Message, ids ns.IDMap, ans *control.Message) error {
	switch {
	case m.Op == control.OpSync:
		return syncRoot(m.PID)
	case m.Op == control.OpNames:
		return rewriteFiles(m, ans)
	case m.Op == control.OpCopy && m.Copy != nil:
		ans.Copied = new(control.Copied)
		return copyFiles(m, ids, ans.Copied)
	case m.Op == control.OpUsage && m.Upper != nil && len(m.Files) == 1:
		_, err := fmt.Fprint(m.Files[0], usage(m.Upper.Dir))
		return err
	case m.Op == control.OpErase && m.Upper != nil && len(m.Files) == 1:
		return eraseTree(m.Upper.Dir, m.Files[0])
	case m.Upper != nil && len(m.Files) == 1:
		return readUpper(m.Op, m.Upper, ids, m.Files[0])
	}
	return fmt.Errorf("control connection: %q is nothing that a helper does", m.Op)
}

// syncRoot writes out the root file system of a process: syncfs(2). /proc/pid/root, proc(5),
// opens it without entering any namespace.
func syncRoot(pid int) error {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/root")
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// rewriteFiles replaces the text of files that still have the one they were given, and names the
// others. They are mounts of their own, which the container can write to, and may have taken away:
// no link leads out of its root, openat2(2), and what is found must be a small file.
func rewriteFiles(m *control.Message, ans *control.Message) error {
	root, err := unix.Open("/proc/"+strconv.Itoa(m.PID)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root of process %d, which has perhaps ended: %w", m.PID, err)
	}
	for _, r := range m.Names {
		if rewriteFile(root, r) != nil {
			ans.Names = append(ans.Names, r)
		}
	}
	return nil
}

func rewriteFile(root int, r control.Rewrite) error {
	how := unix.OpenHow{Flags: unix.O_RDWR | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, r.Path, &how)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), r.Path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return os.ErrInvalid
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(len(r.Old))+1))
	if err == nil && string(text) != r.Old {
		err = os.ErrExist
	}
	if err == nil { // whoever reads meanwhile finds no empty file
		_, err = f.WriteAt([]byte(r.New), 0)
	}
	if err == nil {
		err = f.Truncate(int64(len(r.New)))
	}
	return err
}

// copyFiles copies files from below the root of a process, or to there. From outside of its mount
// namespace: nothing of the image, not even a library, is loaded (docker's CVE-2019-14271). Or,
// without a process, into the directory that is the second file; an owner who is not one of ids
// becomes root, as for files that a container is shown.
func copyFiles(m *control.Message, ids ns.IDMap, res *control.Copied) error {
	if m.PID == 0 && len(m.Files) == 2 {
		t := treecopy.Rooted(int(m.Files[1].Fd()))
		t.MapUID, t.MapGID = ids.MapUID, ids.MapGID
		_, err := t.Unpack(m.Files[0], "/", "", m.Copy.Owners)
		return err
	}
	root, err := unix.Open("/proc/"+strconv.Itoa(m.PID)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root of process %d, which has perhaps ended: %w", m.PID, err)
	}
	t, r := treecopy.Rooted(root), m.Copy
	if r.Op != control.CopyStat && len(m.Files) != 1 {
		return fmt.Errorf("control connection: %q without a tarball", r.Op)
	}
	switch r.Op {
	case control.CopyStat:
		res.Info, err = t.Stat(r.Path, r.Follow)
	case control.CopyPack:
		if r.Remembered {
			t.OwnerAttr = fs.OwnerXattr
		}
		err = t.Pack(m.Files[0], r.Path, r.Name, r.Follow)
	case control.CopyUnpack:
		res.Bytes, err = t.Unpack(m.Files[0], r.Path, r.Name, r.Owners)
	default:
		err = fmt.Errorf("control connection: unknown operation %q", r.Op)
	}
	return err
}

// readUpper writes to w what a container has changed, if the kernel has written its files.
func readUpper(op string, d *disk.Upper, ids ns.IDMap, w io.Writer) error {
	if d.Whole && !unpackedBefore(filepath.Dir(d.Dir)) {
		return untouched(op, w)
	}
	u, closeAll, err := d.Open(&layer.KernelUpper{MapUID: ids.MapUID, MapGID: ids.MapGID, Whole: d.Whole})
	if err != nil {
		return err
	}
	defer closeAll()
	if _, err := wall(filepath.Dir(d.Dir), ids); err != nil { // the container may never have run
		return err
	}
	switch op {
	case control.OpDiff:
		list, err := layer.Changes(u)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(list)
	case control.OpPack:
		return layer.WriteDiff(w, u)
	}
	return fmt.Errorf("control connection: unknown operation %q", op)
}

// ask starts a helper in the container's user namespace, has it do one thing, and returns its
// answer. Outside of that namespace, the supervisor's processes cannot look at the root.
func (s *supervisor) ask(m *control.Message) (*control.Message, error) {
	helper, conn, err := s.child.Helper(control.HelperCommand, 0)
	if err != nil {
		return nil, err
	}
	defer helper.Close()
	c := &control.Conn{Conn: conn}
	defer c.Close()
	ans, err := c.Call(m)
	if status, e := helper.Wait(); e == nil && errors.Is(err, control.ErrGone) {
		err = fmt.Errorf("a helper has gone away with exit status %d", status)
	}
	return ans, err
}

// sync has a helper write out what the kernel keeps of the container's files in memory.
func (s *supervisor) sync() error {
	s.mu.Lock()
	pid, over := s.state.Pid, s.state.Status != disk.Running
	s.mu.Unlock()
	if _, err := s.ask(&control.Message{Op: control.OpSync, PID: pid}); err != nil {
		limit := 100 * time.Millisecond
		if over || pid > 0 && disk.Ending(pid) {
			limit = unmounting
		}
		select {
		case <-s.ended: // nothing is left to be written
			return nil
		case <-time.After(limit):
		}
		return errs.Hint(fmt.Errorf("write out what the container has in memory: %w", err), "see syncfs(2)")
	}
	return nil
}

// copy has a helper do what the client asks for, and answers with what it says.
func (s *supervisor) copy(c *control.Conn, m *control.Message) {
	defer m.Close()
	pid, err := s.child.HostPid()
	if err != nil {
		c.Fail(err)
		return
	}
	m.Copy.Remembered = s.ids.Single()
	s.paused.RLock() // whoever reads the changes waits for this one
	defer s.paused.RUnlock()
	ans, err := s.ask(&control.Message{Op: control.OpCopy, PID: pid, Copy: m.Copy, Files: m.Files})
	if err = s.reason(err); err != nil {
		c.Fail(err)
		return
	}
	_ = c.Send(ans)
}

// lend serves the files of a container that does not run, for as long as the client wants to copy,
// or somebody has a copy of the mount: ns.Enter.RootAt.
func (s *supervisor) lend(c *control.Conn) {
	pid, err := s.child.HostPid()
	if err != nil {
		c.Fail(err)
	} else if c.Send(&control.Message{Op: control.AnsOK, PID: pid}) == nil {
		for m, err := c.Receive(); err == nil && m.Op == control.OpCopy; m, err = c.Receive() {
			s.copy(c, m)
		}
	}
	_ = s.child.Signal(unix.SIGKILL)
	_, _ = s.child.Wait()
	<-s.served // all is in the upper directory
	if s.c.Walled() {
		s.clearWork()
	}
}
