// How this program is executed for a container without being writable from inside it.

package ns

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readOnly returns a descriptor through which a program can be executed but never written. link
// leads to its file: /proc/self/exe or /proc/self/fd/N, proc(5).
//
// Until init has become the command, and while a command of `tiffin exec` comes up, processes in
// the container can open /proc/PID/exe, which is this program, and later open that descriptor
// again for writing: CVE-2019-5736 in runc. The file is yours, so permissions do not stop root of
// the container, who is you. A read-only mount does (EROFS): open_tree(2) makes a clone of the
// mount the file is on, attached nowhere, with nothing but the file in it; mount_setattr(2) makes
// it read-only. After the last descriptor is closed (right after the start) the clone belongs to
// no mount namespace any more, and the kernel refuses to change its flags even to a privileged
// process in a nested namespace. It costs four system calls.
//
// While anything runs the file, writing it fails anyway (ETXTBSY), and a supervisor does as long as
// its container. That is luck, not a wall: Linux 6.11 gave up the rule for a while, and the
// program may have been replaced meanwhile.
//
// A sealed memfd, as runc had it, would be a copy of some MB; it stands in where the file's name
// does not lead to it any more, because the program was replaced or deleted. A program that is in
// one already is good as it is.
func readOnly(link string) (*os.File, error) {
	// The name, because /proc/self/exe itself leads to the mount namespace that the program was
	// executed in, and that may be another one: the supervisor is executed by a link of its
	// parent's namespace. open_tree refuses mounts of other namespaces.
	path, err := os.Readlink(link)
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	fd, err := readOnlyClone(path)
	if err == nil && !sameFile(fd, link) {
		unix.Close(fd)
		err = unix.ESTALE
	}
	if err != nil {
		fd, err = sealed(link)
	}
	if err != nil {
		return nil, fmt.Errorf("protect the program from the container: %w", err)
	}
	return os.NewFile(uintptr(fd), "tiffin"), nil
}

// outOfTheWay gives a descriptor a number that ForkExec leaves alone while it puts files in place
// as the child's 0, 1, 2…: it moves those that are in the way, and its own pipe, to the numbers
// right above the highest of them, whatever is open there. Which numbers these are depends on
// what tiffin inherited, so no fixed number is safe.
//
// Not higher than needed: at 64 the kernel enlarges the table of descriptors, and with threads it
// waits for an RCU grace period then, some 10 ms (expand_fdtable in fs/file.c).
func outOfTheWay(exe *os.File, files []*os.File) (*os.File, error) {
	floor := uintptr(len(files))
	for _, f := range files {
		floor = max(floor, f.Fd()+1)
	}
	floor += uintptr(len(files)) + 1 // the pipe
	fd, err := unix.FcntlInt(exe.Fd(), unix.F_DUPFD_CLOEXEC, int(floor))
	if err != nil {
		return nil, fmt.Errorf("move a descriptor: fcntl: %w", err)
	}
	return os.NewFile(uintptr(fd), "tiffin"), nil
}

// sameFile tells whether a descriptor is of the file that a link leads to.
func sameFile(fd int, link string) bool {
	var named, linked unix.Stat_t
	return unix.Fstat(fd, &named) == nil && unix.Stat(link, &linked) == nil &&
		named.Dev == linked.Dev && named.Ino == linked.Ino
}

// readOnlyClone makes the read-only mount of a file.
func readOnlyClone(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	const attrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attrs}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sealed returns a file in memory that nobody can write, memfd_create(2), "File sealing": the
// program itself, or a copy.
func sealed(link string) (int, error) {
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	src, err := os.Open(link)
	if err != nil {
		return -1, err
	}
	defer src.Close()
	if has, err := unix.FcntlInt(src.Fd(), unix.F_GET_SEALS, 0); err == nil && has&seals == seals {
		return unix.FcntlInt(src.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	}
	fd, err := unix.MemfdCreate("tiffin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("tiffin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, err
	}
	dst, err := unix.Dup(fd)
	if err == nil {
		f := os.NewFile(uintptr(dst), "tiffin")
		_, err = f.ReadFrom(src)
		f.Close()
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// pathOf is what a descriptor can be executed by.
func pathOf(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
