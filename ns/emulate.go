// The step that hands calls to the supervisor which only root with many ids can make, and the
// helper that looks into processes for it: package emulation.

package ns

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/wire"
	"tiffin/ns/emulation"
)

// Emulation is what a container's process leaves to the supervisor: emulation.Server.
type Emulation struct {
	Listener *os.File // nil: init's command calls none of them
	Proc     *os.File // the container's /proc; nil from the exec helper
	Device   uint64   // st_dev of the root
	Becomes  bool     // the process is about to become its user: emulation.Server.Serve
}

// Close closes the descriptors.
func (e *Emulation) Close() {
	for _, f := range []*os.File{e.Listener, e.Proc} {
		if f != nil {
			f.Close()
		}
	}
}

func skipEmulation(b *builder) string {
	if !b.proc.RootEmulation {
		return "more than one id is mapped, and the kernel does it; or --root-emulation=off"
	}
	if b.spec.leavesOut("seccomp") {
		return "no filter is wanted"
	}
	if b.spec.leavesOut(withoutUserMap) {
		return "the command is nobody: --without user-map"
	}
	if !emulation.Supported() {
		return "tiffin does not know the system calls of this architecture"
	}
	if b.joining && !b.privileged() {
		return "the command's user is not root, and has no such rights"
	}
	return ""
}

// privileged tells whether the command's user may do such things, or cannot even be that user.
func (b *builder) privileged() bool {
	who, err := b.identity()
	return err == nil && (who.UID == 0 || !b.mapped(who))
}

// mapped tells whether the kernel can make this process that user.
func (b *builder) mapped(who Identity) bool { return checkMapped(who, b.spec.IDs) == nil }

// runEmulation loads the filter while this process still has CAP_SYS_ADMIN: seccomp(2), EACCES.
// Without a listener, of which a process has no more than one, the filter answers by itself: what
// changes something does nothing, and succeeds.
func runEmulation(b *builder) error {
	// Before the filter, which stat(2) may wait in for the supervisor.
	who, err := b.identity()
	if err != nil {
		return errs.Code(err, 125)
	}
	// Decided once: in a container that runs, /etc/passwd may say something else in a moment.
	b.becomes = !b.mapped(who) || len(b.proc.Groups) > 0
	m, files := b.handing()
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	if !b.privileged() {
		return b.send(m, files...) // for `tiffin exec` as root
	}
	if b.spec.IDs.Setgroups { // for the last time: runUser
		if err := b.setgroups(); err != nil {
			return err
		}
	}
	uids, gids := ranges(b.spec.IDs.UIDs), ranges(b.spec.IDs.GIDs)
	prog := emulation.Filter(uids, gids, true, b.proc.ShowOwners)
	fd, flags, err := emulation.Load(prog, true)
	const text = "seccomp(SECCOMP_SET_MODE_FILTER, %#x /* SECCOMP_FILTER_FLAG_NEW_LISTENER */, /* %d instructions */)"
	if err == nil {
		defer unix.Close(fd)
		b.emulated = true
		_ = b.returned(fd, nil, text, flags, len(prog))
		return b.send(m, append([]int{fd}, files...)...)
	}
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return b.call(err, text, flags, len(prog))
	}
	_ = b.call(err, text, flags, len(prog))
	if errors.Is(err, unix.EBUSY) && !b.spec.IDs.Setgroups && unix.Setgroups(nil) == nil {
		b.emulated = true
		b.note("owners", "the container around this one emulates root, and keeps no owners of files in here", "")
		return nil
	}
	b.note("root emulation", "this kernel, or the filter around this container, has no seccomp listener to spare: "+err.Error()+
		"; what only root with many ids can do is answered with success, and forgotten", "")
	b.emulated = true
	prog = emulation.Filter(uids, gids, false, false)
	_, flags, err = emulation.Load(prog, false)
	return b.call(err, text, flags, len(prog))
}

// handing is what the supervisor needs to know of the container, with the descriptors for it.
func (b *builder) handing() (m *message, files []int) {
	m = &message{Op: opListener, Becomes: b.becomes}
	var st unix.Stat_t
	if unix.Stat("/", &st) == nil && b.spec.Root.FUSE != nil && b.spec.Root.Overlay == nil && b.spec.OwnTree() {
		m.Device = st.Dev
	}
	if !b.joining {
		// Only a /proc of this pid namespace has the numbers that FUSE gives for its processes. A
		// volume in its place may have anything, such as a fifo for whoever looks: statfs(2).
		if proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			var fs unix.Statfs_t
			var self [16]byte
			n, _ := unix.Readlinkat(proc, "self", self[:])
			if unix.Fstatfs(proc, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC && string(self[:max(n, 0)]) == strconv.Itoa(os.Getpid()) {
				files, m.Proc = append(files, proc), true
			} else {
				unix.Close(proc)
			}
		}
	}
	return m, files
}

// emulation is what came with opListener.
func (m *message) emulation() *Emulation {
	e := &Emulation{Device: m.Device, Becomes: m.Becomes}
	if m.NumFiles > 1 || !m.Proc {
		e.Listener = m.file()
	}
	e.Proc = m.file()
	return e
}

func ranges(ids []IDRange) (out []emulation.Range) {
	for _, r := range ids {
		out = append(out, emulation.Range{First: r.Inside, Count: r.Count})
	}
	return out
}

// Emulator makes the server that answers for a container.
func (s *Spec) Emulator() (*emulation.Server, error) {
	caps, err := s.Process.capMask()
	return &emulation.Server{Caps: caps}, err
}

// Help starts the helper of a listener in the container's user namespace, and configures it.
func (e *Emulation) Help(c *Child, s *Spec, config *emulation.Message) (*wire.Conn, error) {
	helper, conn, err := c.Helper(EmulateCommand, 0)
	if err != nil {
		return nil, err
	}
	go func() {
		_, _ = helper.Wait()
		helper.Close()
	}()
	config.Device, config.UIDs, config.GIDs = e.Device, ranges(s.IDs.UIDs), ranges(s.IDs.GIDs)
	config.Caps, err = s.Process.capMask()
	if err == nil {
		err = conn.Send(config)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the helper that emulates root: %w", err)
	}
	return conn, nil
}

// EmulateMain is the helper. It returns the exit status.
func EmulateMain() int {
	_ = setComm("tiffin: root")
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	conn, err := wire.Inherited()
	if err == nil {
		err = emulation.Help(conn, func(caps uint64) error {
			hdr, data := capData(caps | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_SYS_CHROOT)
			_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)), 0)
			if errno != 0 {
				return fmt.Errorf("give up capabilities: %w", errno)
			}
			return nil
		})
	}
	if err != nil {
		return 125 // the supervisor sees the end of the connection
	}
	return 0
}
