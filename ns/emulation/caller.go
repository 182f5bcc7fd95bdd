// What the helper learns of a caller: the memory of its arguments, and what /proc says of its
// thread.

package emulation

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memory copies between b and the memory of the process: process_vm_readv(2).
func (h *helper) memory(m *Message, b []byte, transfer func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error)) error {
	if len(b) == 0 {
		return nil
	}
	if err := h.check(m); err != nil {
		return err
	}
	local := unix.Iovec{Base: &b[0]}
	local.SetLen(len(b))
	n, err := transfer(m.PID, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(m.Address), Len: len(b)}}, 0)
	if err != nil || n != len(b) {
		return unix.EFAULT
	}
	return h.check(m)
}

// readPath reads a path from the memory of the process, to the end of a page at a time: behind it
// there may be no memory.
func (h *helper) readPath(m *Message) (string, error) {
	var name []byte
	buf := make([]byte, unix.PathMax)
	for at := m.Address; len(name) < unix.PathMax; at += uint64(len(buf)) {
		buf = buf[:min(cap(buf)-len(name), int(unix.PathMax-at%unix.PathMax))]
		if err := h.memory(&Message{Call: m.Call, PID: m.PID, Address: at}, buf, unix.ProcessVMReadv); err != nil {
			return "", err
		}
		if i := bytes.IndexByte(buf, 0); i >= 0 {
			return string(append(name, buf[:i]...)), nil
		}
		name = append(name, buf...)
	}
	return "", unix.ENAMETOOLONG
}

// ofThread opens a file of a thread's in /proc.
func (h *helper) ofThread(m *Message, name string, flags int) (int, error) {
	number, err := h.numberOf(m.PID)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Openat(h.proc, number+"/"+name, flags|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		err = unix.EBADF // there is no such descriptor
	}
	if err == nil {
		if err = h.check(m); err != nil {
			unix.Close(fd)
		}
	}
	return fd, err
}

// numberOf is what the /proc at hand calls a thread of this pid namespace: pidfd_open(2), "Pid" in
// /proc/self/fdinfo/N. Before Linux 6.9, which has PIDFD_THREAD, only processes can be asked for,
// so the thread's process is looked for: tgkill(2) says which it is. Root, working directory and
// descriptors of all threads are the same in all but rare programs.
func (h *helper) numberOf(thread int) (string, error) {
	const threads = unix.O_EXCL // PIDFD_THREAD
	pidfd, err := unix.PidfdOpen(thread, threads)
	exact := err != unix.EINVAL
	if !exact {
		leader := thread // threads mostly come right after it
		for ; leader > 0 && unix.Tgkill(leader, thread, 0) != nil; leader-- {
		}
		pidfd, err = unix.PidfdOpen(leader, 0)
	}
	if err != nil {
		return "", unix.ESRCH
	}
	defer unix.Close(pidfd)
	text, err := h.readProc("self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return "", err
	}
	number := field(text, "Pid")
	if number == "" || number == "-1" || number == "0" {
		return "", unix.ESRCH
	}
	if !exact {
		number = h.living(number)
	}
	return number, nil
}

// living is a process, or a thread of it if the first one has ended, and has no files any more.
func (h *helper) living(process string) string {
	tasks, err := unix.Openat(h.proc, process+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return process
	}
	dir := os.NewFile(uintptr(tasks), "task")
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // the first one comes first
	for _, name := range names {
		thread := process + "/task/" + name
		if _, err := unix.Readlinkat(h.proc, thread+"/root", make([]byte, 1)); err == nil {
			return thread
		}
	}
	return process
}

// readProc reads a short file in the /proc at hand.
func (h *helper) readProc(name string) (string, error) {
	fd, err := unix.Openat(h.proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	return readAll(fd)
}

// readAll reads a short file, and closes it.
func readAll(fd int) (string, error) {
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

// field is the value of a line "NAME:	value".
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
