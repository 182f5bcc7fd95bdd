// The step that gives the command a terminal of its own: pty(7).

package ns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// runTerminal opens a pseudo terminal in the container's own devpts, hands the master side to the
// supervisor and makes the other one the command's standard files.
func runTerminal(b *builder) error {
	master, err := openMaster(b)
	if err != nil {
		return err
	}
	defer unix.Close(master)
	// ioctl_tty(2), TIOCGPTPEER: the other side by descriptor. Its name could lead anywhere: the
	// command of an earlier exec may have mounted over it.
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return b.call(errno, "ioctl(%d, TIOCGPTPEER, O_RDWR|O_NOCTTY)", master)
	}
	slave := int(peer)
	_ = b.call(nil, "ioctl(%d, TIOCGPTPEER, O_RDWR|O_NOCTTY) /* %d */", master, slave)
	if b.proc.Rows > 0 && b.proc.Cols > 0 {
		size := unix.Winsize{Row: b.proc.Rows, Col: b.proc.Cols}
		if err := b.call(unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &size), "ioctl(%d, TIOCSWINSZ, {%d, %d})", master, size.Row, size.Col); err != nil {
			return err
		}
	}
	if err := b.send(&message{Op: opConsole}, master); err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return &callError{fmt.Sprintf("dup3(%d, %d)", slave, fd), err}
		}
	}
	b.console = slave
	unix.Close(slave)
	if b.joining {
		return nil // the command is a child, which does the rest for itself
	}
	if err := b.call(unix.IoctlSetInt(0, unix.TIOCSCTTY, 0), "ioctl(0, TIOCSCTTY, 0)"); err != nil {
		return err
	}
	if !b.spec.OwnTree() {
		return nil
	}
	return b.bindConsole(master)
}

// openMaster opens a new pseudo terminal, and makes sure that it is one: a command in the
// container could have put anything at /dev/pts/ptmx before an exec.
func openMaster(b *builder) (int, error) {
	// O_NONBLOCK is for the supervisor, which waits for many things at once.
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK
	if !b.spec.OwnTree() {
		fd, err := unix.Open("/dev/ptmx", flags|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
		}
		return fd, b.returned(fd, err, `open("/dev/ptmx", O_RDWR|O_NOCTTY)`)
	}
	fd, err := openIn(b.root, "/dev/pts/ptmx", flags, 0, inRoot|unix.RESOLVE_NO_SYMLINKS)
	if err := b.returned(fd, err, `open("/dev/pts/ptmx", O_RDWR|O_NOCTTY)`); err != nil {
		return -1, err
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	err = unix.Fstatfs(fd, &fs)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	// pts(4): ptmx is character device 5, 2.
	if err == nil && (fs.Type != unix.DEVPTS_SUPER_MAGIC || st.Rdev != unix.Mkdev(5, 2)) {
		err = errors.New("/dev/pts/ptmx is not a pseudo terminal")
	}
	if err == nil {
		// pts(4): a new terminal is locked. ioctl_tty(2), TIOCSPTLCK.
		err = b.call(unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0), "ioctl(%d, TIOCSPTLCK, {0})", fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bindConsole makes the terminal appear as /dev/console, where programs that are PID 1 look for it.
func (b *builder) bindConsole(master int) error {
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return &callError{"ioctl(TIOCGPTN)", err}
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	tree, err := b.openTree(unix.AT_FDCWD, name, false)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	at, _, err := mountPoint(b.root, "/dev/console", wantFile)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return b.attach(tree, at, "/dev/console")
}
