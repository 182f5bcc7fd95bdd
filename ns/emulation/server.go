// The supervisor's part: it receives the calls, answers those that are about ids, and sends the
// others to the helper.

package emulation

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/wire"
)

// Files is the file system of the container, as the server of the union changes it.
type Files interface {
	// Own changes the owner of a file that some process holds. change gets the owner and group, and
	// returns the new ones.
	Own(inode uint64, change func(uid, gid uint32) (uint32, uint32, error)) error
	// Owner is the owner of a file that some process holds, as it is remembered.
	Owner(inode uint64) (uid, gid uint32, ok bool)
	// MakeDevice makes a device node of the given mode and number. The directory is held.
	MakeDevice(directory uint64, name string, mode, umask, number, uid, gid uint32) error
}

// Server answers for the processes of a container.
type Server struct {
	Caps  uint64   // of root in the container, bits as in capabilities(7)
	Files Files    // nil: there is no union
	Proc  *os.File // O_PATH, /proc of the container; nil: Creator knows nobody

	who identities
}

// Serve answers the calls that come to a listener, until no process has the filter any more. It
// returns at once, and answers in goroutines of its own. start starts a helper (Help) when it is
// needed, and returns the connection to it; config is its first message.
//
// With becomes, the only process yet is one that has all capabilities, and makes itself the user of
// a command that it will execute: setgroups, setresgid, setresuid. Until the last of them is
// answered, Caps does not bound it.
func (s *Server) Serve(f *os.File, becomes bool, start func(config *Message) (*wire.Conn, error)) error {
	l, err := newListener(f)
	if err != nil {
		return fmt.Errorf("answer system calls: %w", err)
	}
	a := newAnswerer(s, l, start)
	a.becomes.Store(becomes)
	go a.loop()
	return nil
}

// answerer serves one listener.
type answerer struct {
	*Server
	l       *listener
	start   func(*Message) (*wire.Conn, error)
	becomes atomic.Bool

	busy    chan struct{} // one for each call that the helper works on
	mu      sync.Mutex
	helper  *wire.Conn // nil: not started
	waiting map[uint64]chan<- *Message
}

// maxAtOnce is how many calls a helper works on at once: each takes a thread.
const maxAtOnce = 64

// patience is how long others wait until a helper that works on so many is given up. Each of them
// may wait for ever, for a file system that the container serves to itself and does not answer for.
var patience = 5 * time.Second

func newAnswerer(s *Server, l *listener, start func(*Message) (*wire.Conn, error)) *answerer {
	return &answerer{Server: s, l: l, start: start, busy: make(chan struct{}, maxAtOnce), waiting: map[uint64]chan<- *Message{}}
}

func (a *answerer) loop() {
	defer a.end()
	for {
		n, err := a.l.receive()
		if err != nil {
			return
		}
		a.handle(&n)
	}
}

// end closes the listener. Calls that still wait get ENOSYS from the kernel: seccomp_unotify(2).
func (a *answerer) end() {
	a.l.f.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.helper != nil {
		a.helper.Close()
	}
}

// handle answers a call, or has it answered.
func (a *answerer) handle(n *notification) {
	pid := int(n.PID)
	who := a.who.of(pid)
	if !a.l.valid(n.ID) {
		return
	}
	name := nameOf(n.Arch, n.Number)
	if value, ok := question(&who, name); ok {
		a.l.answer(n.ID, value, 0)
		return
	}
	if value, errno, ok := a.change(&who, name, &n.Args, a.becomes.Load()); ok {
		if name == "setresuid" {
			a.becomes.Store(false)
		}
		if errno == 0 {
			errno = a.who.give(pid, &who, a.used)
		}
		a.l.answer(n.ID, value, errno)
		return
	}
	if name == "prctl" {
		who.Keep = n.Args[1] == 1
		_ = a.who.give(pid, &who, a.used)
		a.l.proceed(n.ID)
		return
	}
	go func() {
		errno := unix.Errno(0)
		var value int64
		switch name {
		case "getresuid":
			errno = a.write3(n, &who.User)
		case "getresgid":
			errno = a.write3(n, &who.Group)
		case "getgroups":
			value, errno = a.getgroups(n, &who)
		case "setgroups":
			errno = a.setgroups(n, &who)
		case "stat", "lstat", "fstat", "newfstatat", "statx":
			if !a.stat(n, name) {
				a.l.proceed(n.ID)
				return
			}
		case "chown", "lchown", "fchown", "fchownat":
			errno = a.chown(n, &who, name)
		case "mknod", "mknodat":
			errno = a.mknod(n, &who, name)
		default:
			errno = unix.ENOSYS
		}
		a.l.answer(n.ID, value, errno)
	}()
}

// question answers a call without arguments.
func question(who *Identity, name string) (int64, bool) {
	switch name {
	case "getuid":
		return int64(who.User.Real), true
	case "geteuid":
		return int64(who.User.Effective), true
	case "getgid":
		return int64(who.Group.Real), true
	case "getegid":
		return int64(who.Group.Effective), true
	}
	return 0, false
}

// may tells whether a process has a capability: root has those of the container.
func (s *Server) may(who *Identity, capability int) bool {
	root := who.User.Effective == 0 || who.Keep && capability == unix.CAP_SETGID
	return root && s.Caps&(1<<capability) != 0
}

// change does a call whose arguments are ids, and changes the identity. With all, the process has
// all capabilities.
func (s *Server) change(who *Identity, name string, args *[6]uint64, all bool) (value int64, errno unix.Errno, ok bool) {
	a, b, c := uint32(args[0]), uint32(args[1]), uint32(args[2])
	ids, privileged := &who.User, all || s.may(who, unix.CAP_SETUID)
	if strings.HasSuffix(name, "gid") {
		ids, privileged = &who.Group, all || s.may(who, unix.CAP_SETGID)
	}
	switch name {
	case "setuid", "setgid":
		return 0, ids.set(a, privileged), true
	case "setreuid", "setregid":
		return 0, ids.setRE(a, b, privileged), true
	case "setresuid", "setresgid":
		return 0, ids.setRES(a, b, c, privileged), true
	case "setfsuid", "setfsgid":
		return int64(ids.setFS(a, privileged)), 0, true
	}
	return 0, 0, false
}

// write3 writes three ids to where the arguments point: getresuid(2).
func (a *answerer) write3(n *notification, ids *IDs) unix.Errno {
	for i, id := range []uint32{ids.Real, ids.Effective, ids.Saved} {
		m := a.ask(n, &Message{Op: opWrite, Address: n.Args[i], Data: binary.NativeEndian.AppendUint32(nil, id)})
		if m.Errno != 0 {
			return m.Errno
		}
	}
	return 0
}

// getgroups is getgroups(2).
func (a *answerer) getgroups(n *notification, who *Identity) (int64, unix.Errno) {
	size := int32(n.Args[0])
	switch {
	case size < 0 || size > 0 && int(size) < len(who.Groups):
		return 0, unix.EINVAL
	case size > 0 && len(who.Groups) > 0:
		var list []byte
		for _, g := range who.Groups {
			list = binary.NativeEndian.AppendUint32(list, g)
		}
		if m := a.ask(n, &Message{Op: opWrite, Address: n.Args[1], Data: list}); m.Errno != 0 {
			return 0, m.Errno
		}
	}
	return int64(len(who.Groups)), 0
}

// setgroups is setgroups(2).
func (a *answerer) setgroups(n *notification, who *Identity) unix.Errno {
	size := int32(n.Args[0])
	switch {
	case !a.becomes.Load() && !a.may(who, unix.CAP_SETGID):
		return unix.EPERM
	case size < 0 || size > maxGroups:
		return unix.EINVAL
	}
	who.Groups = nil
	if size > 0 {
		m := a.ask(n, &Message{Op: opRead, Address: n.Args[1], Length: 4 * int(size)})
		if m.Errno != 0 {
			return m.Errno
		}
		if len(m.Data) != 4*int(size) {
			return unix.EIO
		}
		for list := m.Data; len(list) > 0; list = list[4:] {
			who.Groups = append(who.Groups, binary.NativeEndian.Uint32(list))
		}
	}
	if !a.l.valid(n.ID) {
		return 0 // nobody waits for it
	}
	return a.who.give(int(n.PID), who, a.used)
}

// chown is chown(2) and its relatives.
func (a *answerer) chown(n *notification, who *Identity, name string) unix.Errno {
	m := &Message{Op: opChown, Directory: unix.AT_FDCWD, Address: n.Args[0]}
	ids := n.Args[1:]
	switch name {
	case "lchown":
		m.Flags = unix.AT_SYMLINK_NOFOLLOW
	case "fchown":
		m.Directory, m.Address = int(int32(n.Args[0])), 0
	case "fchownat":
		m.Directory, m.Address, m.Flags = int(int32(n.Args[0])), n.Args[1], int(int32(n.Args[4]))
		ids = n.Args[2:]
		if m.Flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
			return unix.EINVAL
		}
	}
	if name != "fchown" && m.Address == 0 {
		return unix.EFAULT
	}
	m.UID, m.GID = uint32(ids[0]), uint32(ids[1])
	all := a.may(who, unix.CAP_CHOWN)
	// What is forbidden whoever owns the file is not even looked up.
	if !who.mayGive(who.User.FS, m.GID, m.UID, m.GID, all) {
		return unix.EPERM
	}
	ans := a.ask(n, m)
	if ans.Errno != 0 || ans.Inode == 0 || a.Files == nil {
		return ans.Errno
	}
	defer a.done(n)
	return errno(a.Files.Own(ans.Inode, func(uid, gid uint32) (uint32, uint32, error) {
		if !who.mayGive(uid, gid, m.UID, m.GID, all) {
			return uid, gid, unix.EPERM
		}
		take(&uid, m.UID)
		take(&gid, m.GID)
		return uid, gid, nil
	}))
}

// stat is stat(2) and its relatives, for files whose owner the kernel does not show. For others,
// and where something fails, it leaves the call to the kernel.
func (a *answerer) stat(n *notification, name string) bool {
	m, to := &Message{Op: opStat, Directory: unix.AT_FDCWD, Address: n.Args[0]}, n.Args[1]
	switch name {
	case "lstat":
		m.Flags = unix.AT_SYMLINK_NOFOLLOW
	case "fstat":
		m.Directory, m.Address, m.Flags = int(int32(n.Args[0])), 0, unix.AT_EMPTY_PATH
	case "newfstatat":
		m.Directory, m.Address, to, m.Flags = int(int32(n.Args[0])), n.Args[1], n.Args[2], int(int32(n.Args[3]))
	case "statx":
		m.Directory, m.Address, m.Flags, m.Mode, to = int(int32(n.Args[0])), n.Args[1], int(int32(n.Args[2])), uint32(n.Args[3]), n.Args[4]
		m.Length = int(unsafe.Sizeof(unix.Statx_t{}))
	}
	ans := a.ask(n, m)
	if ans.Errno != 0 || ans.Inode == 0 || a.Files == nil {
		return false
	}
	uid, gid, ok := a.Files.Owner(ans.Inode)
	a.done(n)
	if !ok || uid == ans.UID && gid == ans.GID {
		return false
	}
	if len(ans.Data) == int(unsafe.Sizeof(unix.Statx_t{})) {
		st := (*unix.Statx_t)(unsafe.Pointer(&ans.Data[0]))
		st.Uid, st.Gid = uid, gid
	} else if len(ans.Data) == int(unsafe.Sizeof(unix.Stat_t{})) {
		st := (*unix.Stat_t)(unsafe.Pointer(&ans.Data[0]))
		st.Uid, st.Gid = uid, gid
	}
	return a.ask(n, &Message{Op: opWrite, Address: to, Data: ans.Data}).Errno == 0
}

// mknod is mknod(2) of a device.
func (a *answerer) mknod(n *notification, who *Identity, name string) unix.Errno {
	m := &Message{Op: opDevice, Directory: unix.AT_FDCWD, Address: n.Args[0]}
	args := n.Args[1:]
	if name == "mknodat" {
		m.Directory, m.Address, args = int(int32(n.Args[0])), n.Args[1], n.Args[2:]
	}
	mode, number := uint32(args[0]), uint32(args[1])
	if !a.may(who, unix.CAP_MKNOD) {
		return unix.EPERM
	}
	m.Mode = mode & 0o7777
	ans := a.ask(n, m)
	if ans.Errno != 0 || ans.Inode == 0 || a.Files == nil {
		return ans.Errno
	}
	defer a.done(n)
	return errno(a.Files.MakeDevice(ans.Inode, string(ans.Data), mode&(unix.S_IFMT|0o7777), ans.Mode, number, who.User.FS, who.Group.FS))
}

// errno is the error of a file operation as a system call returns it.
func errno(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}

// ask sends a request about a call to the helper and waits for the answer.
func (a *answerer) ask(n *notification, m *Message) *Message {
	m.Call, m.PID = n.ID, int(n.PID)
	a.begin()
	defer func() { <-a.busy }()
	got := make(chan *Message, 1)
	if err := a.send(m, got); err != nil {
		return &Message{Errno: unix.ENOSYS}
	}
	return <-got
}

// begin waits until the helper has a thread to spare. If it has none for too long, another helper
// takes its place, and what it has worked on is ENOSYS.
func (a *answerer) begin() {
	a.mu.Lock()
	old := a.helper
	a.mu.Unlock()
	select {
	case a.busy <- struct{}{}:
		return
	case <-time.After(patience):
	}
	a.mu.Lock()
	if old != nil && a.helper == old {
		old.Close() // and listen does the rest
	}
	a.mu.Unlock()
	a.busy <- struct{}{}
}

// send starts the helper if need be.
func (a *answerer) send(m *Message, got chan<- *Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.helper == nil {
		conn, err := a.start(&Message{Op: opServe, Files: []*os.File{a.l.f}})
		if err != nil {
			return err
		}
		a.helper = conn
		go a.listen(conn)
	}
	if err := a.helper.Send(m); err != nil {
		return err
	}
	if got != nil {
		a.waiting[m.Call] = got
	}
	return nil
}

// done lets the helper close what it holds for a call.
func (a *answerer) done(n *notification) { _ = a.send(&Message{Op: opDone, Call: n.ID}, nil) }

// listen hands out the helper's answers until it is gone.
func (a *answerer) listen(conn *wire.Conn) {
	for {
		m := new(Message)
		err := conn.Receive(m)
		a.mu.Lock()
		if err != nil {
			for _, got := range a.waiting {
				got <- &Message{Errno: unix.ENOSYS}
			}
			clear(a.waiting)
			if a.helper == conn {
				a.helper = nil // the next call starts another one
			}
			a.mu.Unlock()
			conn.Close()
			return
		}
		if got := a.waiting[m.Call]; got != nil {
			delete(a.waiting, m.Call)
			got <- m
		}
		a.mu.Unlock()
	}
}
