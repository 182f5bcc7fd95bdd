// Files of the container are opened here, so that no symbolic link and no rename by a stranger
// leads out of its tree: openat2(2).

package ns

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may lead through: path_resolution(7).
const maxLinks = 40

// inRoot resolves symbolic links, absolute ones too, as a process with its root
// at the descriptor would, and refuses the magic links of /proc, which lead out:
// openat2(2), RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// openIn opens path below the directory dirfd by the rules of resolve. It tries
// again on EAGAIN, which openat2(2) answers when a rename happened meanwhile.
func openIn(dirfd int, path string, flags, mode, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: resolve}
	for range 100 {
		fd, err := unix.Openat2(dirfd, path, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// openRegular opens a regular file for reading below root.
func openRegular(root int, path string) (io.ReadCloser, error) {
	fd, err := openIn(root, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0, inRoot)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return rawFile(fd), nil
}

// rawFile reads a descriptor without the run-time's poller. That is of no use for
// regular files, and costs an epoll instance in a process that is about to become
// another program.
type rawFile int

func (f rawFile) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f rawFile) Close() error { return unix.Close(int(f)) }

// wantDir and wantFile say what a mount point must be.
const (
	wantDir  = true
	wantFile = false
)

// mountPoint returns an O_PATH descriptor of path below root, and whether it had
// to be created. What is missing is made: directories with mode 0755, the file itself
// empty with mode 0644. Symbolic links are followed inside of root only, also those
// that lead to something that is not there yet.
func mountPoint(root int, path string, dir bool) (fd int, created bool, err error) {
	fd, err = openIn(root, path, unix.O_PATH, 0, inRoot)
	if errors.Is(err, unix.ENOENT) {
		fd, created, err = makeIn(root, path, dir)
	}
	if err != nil {
		return -1, created, fmt.Errorf("mount point %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, created, fmt.Errorf("mount point %s: %w", path, err)
	}
	if isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR; isDir != dir {
		unix.Close(fd)
		if dir {
			return -1, created, fmt.Errorf("mount point %s: the image has something else than a directory there", path)
		}
		return -1, created, fmt.Errorf("mount point %s: the image has a directory there", path)
	}
	return fd, created, nil
}

// mountPoint is the function of that name, for the container's root; what it makes is remembered.
func (b *builder) mountPoint(path string, dir bool) (int, error) {
	fd, made, err := mountPoint(b.root, path, dir)
	if made {
		b.created = append(b.created, path)
	}
	return fd, b.opened(fd, path, "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS", err)
}

// opened notes that a path in the root was opened, for --explain. An error is worded already.
func (b *builder) opened(fd int, path, resolve string, err error) error {
	if err == nil {
		_ = b.returned(fd, nil, "openat2(%d, %q, {O_PATH|O_CLOEXEC, resolve=%s})", b.root, path, resolve)
	}
	return err
}

// walker goes down a tree one name at a time. Each step is relative to a
// descriptor and follows no link by itself, so that a tree which others change
// meanwhile, such as a volume shared between containers, cannot lead it astray:
// that race was runc's CVE-2021-30465.
type walker struct {
	fds     []int // from the root down to where we are; ".." goes back up and never above the first
	todo    []string
	links   int
	created bool
}

// makeIn is mkdir -p (and touch, for a file) below root.
func makeIn(root int, path string, dir bool) (fd int, created bool, err error) {
	first, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, false, err
	}
	w := &walker{fds: []int{first}, todo: strings.Split(path, "/")}
	defer func() {
		for _, fd := range w.fds {
			unix.Close(fd)
		}
	}()
	for len(w.todo) > 0 {
		name := w.todo[0]
		w.todo = w.todo[1:]
		if err := w.step(name, dir || len(w.todo) > 0); err != nil {
			return -1, w.created, err
		}
	}
	last := len(w.fds) - 1
	fd, w.fds = w.fds[last], w.fds[:last]
	return fd, w.created, nil
}

// step enters name, creating it if it is missing.
func (w *walker) step(name string, dir bool) error {
	at := w.fds[len(w.fds)-1]
	switch name {
	case "", ".":
		return nil
	case "..":
		if len(w.fds) > 1 {
			unix.Close(at)
			w.fds = w.fds[:len(w.fds)-1]
		}
		return nil
	}
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(at, name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err = makeOne(at, name, dir); err == nil {
			w.created = true
			fd, err = unix.Openat(at, name, flags, 0)
		}
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		w.fds = append(w.fds, fd)
		return nil
	}
	defer unix.Close(fd)
	return w.follow(fd)
}

// makeOne creates a directory, or an empty file. That it exists by now is fine.
func makeOne(at int, name string, dir bool) error {
	if dir {
		if err := unix.Mkdirat(at, name, 0o755); err != nil && err != unix.EEXIST {
			return err
		}
		return nil
	}
	fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err == unix.EEXIST {
		return nil
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// follow puts the target of a symbolic link in front of what is left to do.
func (w *walker) follow(link int) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	// readlinkat(2): with an empty path, the descriptor itself.
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link, "", buf)
	if err != nil {
		return err
	}
	target := string(buf[:n])
	if strings.HasPrefix(target, "/") {
		for _, fd := range w.fds[1:] {
			unix.Close(fd)
		}
		w.fds = w.fds[:1]
	}
	w.todo = append(strings.Split(target, "/"), w.todo...)
	return nil
}

// procFD is a path that names an open descriptor, for calls that take only paths. It
// is valid while the host's /proc can be seen.
func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
