// Who creates a file, and which identities are in use: what the /proc of the container tells the
// supervisor.

package emulation

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Creator is who owns what a thread creates. pid is as FUSE has it, in the pid namespace of the
// container; uid and gid are what the kernel says.
func (s *Server) Creator(pid, uid, gid uint32) (uint32, uint32) {
	if s.who.count.Load() == 0 || s.Proc == nil || pid == 0 {
		return uid, gid
	}
	if soft, ok := s.softLimit(strconv.FormatUint(uint64(pid), 10)); ok && soft-mark < s.who.count.Load() {
		i := s.who.marked(soft)
		return i.User.FS, i.Group.FS
	}
	return uid, gid
}

// used are the numbers of the identities that processes have; nil if nobody can tell.
func (s *Server) used() map[uint64]bool {
	dir, err := s.openProc(".")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	used := map[uint64]bool{}
	for _, name := range names {
		if soft, ok := s.softLimit(name); ok {
			used[soft-mark] = true
		}
	}
	return used
}

// softLimit is RLIMIT_LOCKS of a process of the container, by its name in Proc.
func (s *Server) softLimit(process string) (uint64, bool) {
	f, err := s.openProc(process + "/limits")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	buf := make([]byte, 4096)
	n, _ := f.Read(buf)
	_, line, ok := bytes.Cut(buf[:max(n, 0)], []byte("\nMax file locks"))
	fields := bytes.Fields(line)
	if !ok || len(fields) == 0 {
		return 0, false
	}
	soft, err := strconv.ParseUint(string(fields[0]), 10, 64)
	return soft, err == nil
}

// openProc opens a file of the container's /proc.
func (s *Server) openProc(name string) (*os.File, error) {
	if s.Proc == nil {
		return nil, os.ErrNotExist
	}
	// RESOLVE_NO_XDEV: what the container has mounted in its /proc is not the kernel's.
	fd, err := unix.Openat2(int(s.Proc.Fd()), name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
