// The helper: the process that reads the memory of the container's processes and walks their paths.
// What waits for ever, such as a path in a file system that a container serves to itself, holds up
// the call that wanted it, and no other for long.

package emulation

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/wire"
)

// Message is a request to the helper, or its answer.
type Message struct {
	Op       string
	NumFiles int `json:",omitempty"`

	// The first one, opServe. One file: the listener.
	Caps       uint64  `json:",omitempty"` // of the container, bits as in capabilities(7)
	Device     uint64  `json:",omitempty"` // st_dev of the union, 0 = there is none
	UIDs, GIDs []Range `json:",omitempty"` // that are mapped

	Call      uint64     `json:",omitempty"` // number of the notification
	PID       int        `json:",omitempty"` // of the thread, in the supervisor's pid namespace
	Address   uint64     `json:",omitempty"` // in its memory
	Length    int        `json:",omitempty"` // bytes to read there
	Data      []byte     `json:",omitempty"` // bytes to write there, or read; of a device the name
	Directory int        `json:",omitempty"` // a descriptor of the process's, or AT_FDCWD
	Flags     int        `json:",omitempty"` // AT_*
	UID, GID  uint32     `json:",omitempty"` // noID = leave it as it is
	Mode      uint32     `json:",omitempty"` // of a device; in the answer the umask of the process
	Inode     uint64     `json:",omitempty"` // answer: st_ino in the union; it is held until opDone
	Errno     unix.Errno `json:",omitempty"`

	Files []*os.File `json:"-"`
}

// Attached implements wire.Message.
func (m *Message) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.Files }

// What the helper is asked.
const (
	opServe  = "serve"  // configuration
	opRead   = "read"   // Length bytes at Address
	opWrite  = "write"  // Data to Address
	opChown  = "chown"  // the kernel's part of it; the answer has the Inode if the union has to do more
	opDevice = "device" // likewise: Inode is the directory, Data the name
	opStat   = "stat"   // the answer has a struct in Data, statx if Length is not 0, and UID, GID, Inode
	opDone   = "done"   // let go of what the Call holds
)

// helper is the state of Help.
type helper struct {
	conn     *wire.Conn
	listener uintptr
	proc     int // O_PATH descriptor of the /proc at hand
	config   *Message
	jobs     chan *Message // for the workers that are free

	mu   sync.Mutex
	held map[uint64]chan struct{} // closed by opDone
}

// Help serves the supervisor at the other end of conn until that is gone. The process must be
// outside of the container's pid namespace, in its user namespace. keep gives up the capabilities
// that the container does not have.
func Help(conn *wire.Conn, keep func(caps uint64) error) error {
	h := &helper{conn: conn, config: new(Message), jobs: make(chan *Message), held: map[uint64]chan struct{}{}}
	err := conn.Receive(h.config)
	if err == nil && (h.config.Op != opServe || len(h.config.Files) != 1) {
		err = fmt.Errorf("%q instead of %q", h.config.Op, opServe)
	}
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if err := keep(h.config.Caps); err != nil {
		return err
	}
	h.listener = h.config.Files[0].Fd()
	// The /proc of this mount namespace, whatever root a thread has later.
	if h.proc, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	_ = unix.Umask(0)
	for workers := 0; ; {
		m := new(Message)
		if err := conn.Receive(m); err != nil {
			return nil // the supervisor is gone, or does not need this process any more
		}
		if m.Op == opDone {
			h.let(m.Call)
			continue
		}
		select {
		case h.jobs <- m:
		default:
			if workers < maxAtOnce {
				workers++
				go h.worker()
			}
			go func() { h.jobs <- m }() // opDone must not wait behind it
		}
	}
}

// worker does one job after the other, in a thread whose root and working directory are its own:
// unshare(2), CLONE_FS.
func (h *helper) worker() {
	runtime.LockOSThread()
	alone := unix.Unshare(unix.CLONE_FS)
	for m := range h.jobs {
		h.work(m, alone)
	}
}

// work does what is asked. alone is why the thread could not have a root of its own, if so.
func (h *helper) work(m *Message, alone error) {
	ans := &Message{Call: m.Call}
	var hold []int // descriptors
	defer func() {
		for _, fd := range hold {
			unix.Close(fd)
		}
	}()
	err := alone
	switch {
	case err != nil:
	case m.Op == opRead:
		ans.Data = make([]byte, min(max(m.Length, 0), 4*maxGroups))
		err = h.memory(m, ans.Data, unix.ProcessVMReadv)
	case m.Op == opWrite:
		err = h.memory(m, m.Data, unix.ProcessVMWritev)
	case m.Op == opChown:
		hold, err = h.chown(m, ans)
	case m.Op == opStat:
		hold, err = h.stat(m, ans)
	case m.Op == opDevice:
		hold, err = h.device(m, ans)
	default:
		err = unix.ENOSYS
	}
	if err == unix.EACCES && m.Op != opStat && h.foreign(m) {
		err = nil // done, and forgotten
	}
	if err != nil {
		ans.Errno = unix.EIO
		errors.As(err, &ans.Errno)
	}
	if ans.Errno != 0 || ans.Inode == 0 {
		_ = h.conn.Send(ans)
		return
	}
	done := make(chan struct{})
	h.mu.Lock()
	h.held[m.Call] = done
	h.mu.Unlock()
	if h.conn.Send(ans) == nil {
		<-done
	}
}

// foreign tells whether a process is in a user namespace further down, as those of a container in
// this one: what is mounted there is closed to this process, mount.fuse3(8), "allow_other".
func (h *helper) foreign(m *Message) bool {
	number, err := h.numberOf(m.PID)
	if err != nil {
		return false
	}
	var names [2]string
	for i, process := range []string{"self", number} {
		b := make([]byte, 64)
		n, err := unix.Readlinkat(h.proc, process+"/ns/user", b)
		if err != nil {
			return false
		}
		names[i] = string(b[:n])
	}
	return names[0] != names[1]
}

// let ends the wait for opDone.
func (h *helper) let(call uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done := h.held[call]; done != nil {
		close(done)
		delete(h.held, call)
	}
}

// check fails if the process does not wait any more: its number may be another one's.
func (h *helper) check(m *Message) error {
	if !valid(h.listener, m.Call) {
		return unix.ESRCH
	}
	return nil
}

// enter makes the root and the working directory of a process those of this thread: names then mean
// what they mean to it, ".." and absolute symbolic links too.
func (h *helper) enter(m *Message, name string) error {
	root, err := h.ofThread(m, "root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if path.IsAbs(name) {
		return nil
	}
	base := "cwd"
	if m.Directory != unix.AT_FDCWD {
		base = "fd/" + strconv.Itoa(m.Directory)
	}
	dir, err := h.ofThread(m, base, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return unix.Fchdir(dir)
}

// standard are links to what a process has open, which this one has not: in its /proc, "self" is
// not there.
var standard = map[string]string{"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}

// find opens the file of a call, for reference only.
func (h *helper) find(m *Message) (int, error) {
	name := ""
	if m.Address != 0 {
		var err error
		if name, err = h.readPath(m); err != nil {
			return -1, err
		}
	} else if m.Flags&unix.AT_EMPTY_PATH == 0 {
		return h.opened(m)
	}
	follow := m.Flags&unix.AT_SYMLINK_NOFOLLOW == 0
	if name == "" {
		switch {
		case m.Flags&unix.AT_EMPTY_PATH == 0:
			return -1, unix.ENOENT
		case m.Directory == unix.AT_FDCWD:
			return h.ofThread(m, "cwd", unix.O_PATH)
		}
		return h.ofThread(m, "fd/"+strconv.Itoa(m.Directory), unix.O_PATH)
	}
	if number := descriptor(name); follow && number != "" {
		return h.ofThread(m, "fd/"+number, unix.O_PATH)
	}
	if err := h.enter(m, name); err != nil {
		return -1, err
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	return unix.Openat2(unix.AT_FDCWD, name, &how)
}

// opened opens what a process has open, as fchown(2) wants it: a descriptor for reference only is
// EBADF, open(2), "O_PATH".
func (h *helper) opened(m *Message) (int, error) {
	number := strconv.Itoa(m.Directory)
	info, err := h.ofThread(m, "fdinfo/"+number, unix.O_RDONLY)
	if err != nil {
		return -1, err
	}
	text, err := readAll(info)
	if err != nil {
		return -1, err
	}
	if flags, err := strconv.ParseUint(field(text, "flags"), 8, 64); err != nil || flags&unix.O_PATH != 0 {
		return -1, unix.EBADF
	}
	return h.ofThread(m, "fd/"+number, unix.O_PATH)
}

// descriptor is the number in a name such as /proc/self/fd/1, "" in others.
func descriptor(name string) string {
	number := standard[name]
	for _, dir := range []string{"/proc/self/fd/", "/dev/fd/"} {
		if rest, ok := strings.CutPrefix(name, dir); ok {
			if _, err := strconv.ParseUint(rest, 10, 31); err == nil {
				number = rest
			}
		}
	}
	return number
}

// chown does what the kernel can do of it.
func (h *helper) chown(m, ans *Message) (hold []int, err error) {
	fd, err := h.find(m)
	if err != nil {
		return nil, err
	}
	hold = []int{fd}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = h.check(m)
	}
	if err != nil {
		return hold, err
	}
	// To no owner, chown(2) still takes the set-user-ID bit away, changes the time, and fails where
	// nothing can be changed.
	uid, gid := known(m.UID, h.config.UIDs), known(m.GID, h.config.GIDs)
	if err := unix.Fchownat(fd, "", int(int32(uid)), int(int32(gid)), unix.AT_EMPTY_PATH); err != nil {
		return hold, err
	}
	if (uid != m.UID || gid != m.GID) && h.config.Device != 0 && st.Dev == h.config.Device {
		ans.Inode = st.Ino
	}
	return hold, nil
}

// known is an id if it is mapped, else noID.
func known(id uint32, ranges []Range) uint32 {
	for _, r := range ranges {
		if id >= r.First && id-r.First < r.Count {
			return id
		}
	}
	return noID
}

// stat asks the kernel about a file, and leaves what is not in the union to it.
func (h *helper) stat(m, ans *Message) (hold []int, err error) {
	fd, err := h.find(m)
	if err != nil {
		return nil, err
	}
	hold = []int{fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || h.config.Device == 0 || st.Dev != h.config.Device {
		return hold, err
	}
	ans.Inode, ans.UID, ans.GID = st.Ino, st.Uid, st.Gid
	ans.Data = unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))
	if m.Length != 0 {
		var x unix.Statx_t
		err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|m.Flags&(unix.AT_STATX_FORCE_SYNC|unix.AT_STATX_DONT_SYNC), int(m.Mode), &x)
		ans.Data = unsafe.Slice((*byte)(unsafe.Pointer(&x)), unsafe.Sizeof(x))
	}
	return hold, err
}

// device makes sure that a name can be made in its directory. In the union it leaves none: the
// kernel has forgotten by then that it had found none, and asks again. Elsewhere an empty file
// stays there in place of the device, which nobody could have opened.
func (h *helper) device(m, ans *Message) (hold []int, err error) {
	name, err := h.readPath(m)
	if err != nil {
		return nil, err
	}
	dir, last := path.Split(name)
	switch {
	case name == "" || last == "" && strings.Trim(name, "/") != "":
		return nil, unix.ENOENT
	case last == "" || last == "." || last == "..":
		return nil, unix.EEXIST
	case dir == "":
		dir = "."
	}
	status := ""
	if number, err := h.numberOf(m.PID); err == nil {
		status, _ = h.readProc(number + "/status")
	}
	umask, err := strconv.ParseUint(field(status, "Umask"), 8, 32)
	if err != nil {
		return nil, unix.ESRCH
	}
	if err := h.enter(m, name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, err
	}
	hold = []int{fd}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = h.check(m)
	}
	if err == nil {
		err = unix.Mknodat(fd, last, unix.S_IFREG|m.Mode&^uint32(umask), 0)
	}
	if err == nil && h.config.Device != 0 && st.Dev == h.config.Device {
		err = unix.Unlinkat(fd, last, 0)
		ans.Inode, ans.Data, ans.Mode = st.Ino, []byte(last), uint32(umask)
	}
	return hold, err
}
