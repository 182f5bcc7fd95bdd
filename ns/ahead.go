// Reading ahead: the kernel is asked for what the command is going to read, before it does.

package ns

import (
	"strings"

	"golang.org/x/sys/unix"
)

// readAheadUnit is how many bytes the kernel reads for one posix_fadvise(2) at most: its
// default for the read-ahead of a file system, VM_READAHEAD_PAGES.
const readAheadUnit = 128 << 10

// readAhead makes the kernel read what Spec.Root.Ahead names, in a thread of its own: the server
// answers while this process goes on with its steps, and execve(2), which waits for the thread,
// finds names and pages there. A file that is missing or something else now is passed over: the
// list is a guess.
func (b *builder) readAhead() {
	ahead := b.spec.Root.Ahead
	if len(ahead) == 0 {
		return
	}
	root, err := unix.FcntlInt(uintptr(b.root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	b.ahead.Go(func() {
		willNeed(root, ahead, b.call)
		find(root, b.proc)
		_ = unix.Close(root)
	})
	if b.spec.Explain {
		b.ahead.Wait() // the calls are this step's
	}
}

// willNeed asks for the spans of files below root. report takes the calls.
func willNeed(root int, spans []Span, report func(error, string, ...any) error) {
	open, name := -1, ""
	defer func() { _ = unix.Close(open) }()
	for _, s := range spans {
		if s.Path != name {
			_ = unix.Close(open)
			// O_NONBLOCK, since a fifo would make open(2) wait. RESOLVE_NO_XDEV: what is mounted
			// there by now is not the image's.
			fd, err := openIn(root, s.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW, 0, inRoot|unix.RESOLVE_NO_XDEV)
			if open, name = fd, s.Path; err != nil {
				open = -1
			}
		}
		if open < 0 {
			continue
		}
		for off := s.Off; off < s.Off+s.Len; off += readAheadUnit {
			n := min(readAheadUnit, s.Off+s.Len-off)
			err := unix.Fadvise(open, off, n, unix.FADV_WILLNEED)
			_ = report(err, "posix_fadvise(%d /* %s */, %d, %d, POSIX_FADV_WILLNEED)", open, s.Path, off, n)
		}
	}
}

// find looks for the command as lookPath is going to, so that the names are in the kernel's cache,
// also those that do not exist.
func find(root int, p *Process) {
	if len(p.Args) == 0 || strings.Contains(p.Args[0], "/") {
		return
	}
	for dir := range strings.SplitSeq(searchPath(p.Env), ":") {
		fd, err := openIn(root, dir+"/"+p.Args[0], unix.O_PATH, 0, inRoot|unix.RESOLVE_NO_XDEV)
		if err == nil {
			_ = unix.Close(fd)
			return
		}
	}
}
