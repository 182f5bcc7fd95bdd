// Trees and places in them: reached so that no symbolic link leads elsewhere.

package treecopy

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is a directory that paths are looked up in.
type Tree struct {
	root    int    // descriptor, or AT_FDCWD
	resolve uint64 // openat2(2), for paths that the user has given
	inside  uint64 // … for what is below a directory that is being unpacked to
	links   bool   // a tree of one's own, where links that are there already may be followed
	umask   uint32 // mode bits that no file gets

	// OwnerAttr is the extended attribute in which the file system says who owns a file, "UID:GID",
	// where stat(2) cannot say it. "": none. Where there is none, stat(2) is right.
	OwnerAttr string

	// MapUID and MapGID give files that are unpacked another owner than the tarball says; or nil.
	MapUID, MapGID func(uint32) uint32
}

// Host is this machine's tree. What is unpacked into it gets no set-user-ID, set-group-ID or
// sticky bit: the files will be the user's, and others could run them.
func Host() *Tree {
	return &Tree{root: unix.AT_FDCWD, inside: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS, umask: 0o7000}
}

// Private is Host where nobody else can reach the files: they get all their bits.
func Private() *Tree {
	t := Host()
	t.umask = 0
	return t
}

// Rooted is the tree whose root directory is open as fd, a container's. No path leads out of it.
func Rooted(fd int) *Tree {
	const in = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	return &Tree{root: fd, resolve: in, inside: in, links: true}
}

// Info says what is at a path.
type Info struct {
	Exists bool   `json:"exists,omitempty"`
	Dir    bool   `json:"dir,omitempty"`
	File   bool   `json:"file,omitempty"`   // a regular one
	MadeUp bool   `json:"madeUp,omitempty"` // by the kernel, and without an end: proc(5), sysfs(5)
	Link   string `json:"link,omitempty"`   // what a symbolic link says that was not followed
}

// Stat says what is at a path; links on the way are followed, and one at its end if follow is
// set. If nothing is there, that is no error.
func (t *Tree) Stat(p string, follow bool) (Info, error) {
	fd, err := t.open(p, unix.O_PATH, follow)
	switch {
	case errors.Is(err, unix.ENOENT):
		return Info{}, nil
	case err != nil:
		return Info{}, fmt.Errorf("%s: %w", p, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Info{}, fmt.Errorf("%s: %w", p, err)
	}
	info := Info{Exists: true, Dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, File: st.Mode&unix.S_IFMT == unix.S_IFREG}
	info.MadeUp = info.Dir && pseudo(fd)
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if info.Link, err = readlink(fd); err != nil {
			return Info{}, fmt.Errorf("%s: %w", p, err)
		}
	}
	return info, nil
}

// readlink reads the symbolic link that is open: readlinkat(2), with an empty path.
func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}

// open opens what the user has named.
func (t *Tree) open(p string, flags int, follow bool) (int, error) {
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	return openat2(t.root, p, flags, t.resolve)
}

// openat2 is openat2(2), again if a rename or a signal came in between.
func openat2(dir int, p string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: resolve}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dir, p, &how)
		if err != unix.EINTR && (err != unix.EAGAIN || tries == 100) {
			return fd, err
		}
	}
}

// Place says where a copy of what exists goes: to the name top in directory dir, or if top is ""
// into dir itself. It is the rule of cp(1) with -R: into a directory that exists, or under the
// destination's own name. A source that ends in "/." stands for what is in that directory.
func Place(src string, from Info, dst string, to Info) (dir, top string, err error) {
	switch {
	case !from.Dir && (strings.HasSuffix(src, "/") || strings.HasSuffix(src, "/.")):
		return "", "", fmt.Errorf("%s: it is not a directory", src)
	case to.Dir && contents(src):
		return dst, "", nil
	case to.Dir:
		return dst, path.Base(src), nil
	case to.Exists && from.Dir:
		return "", "", fmt.Errorf("%s is a directory, and %s is none", src, dst)
	case !from.Dir && strings.HasSuffix(dst, "/"):
		return "", "", fmt.Errorf("%s: there is no such directory", dst)
	}
	dir, top = path.Split(strings.TrimRight(dst, "/"))
	if dir == "" {
		dir = "."
	}
	if top == "." || top == ".." {
		return "", "", fmt.Errorf("%s: there is no such directory", dst)
	}
	return dir, top, nil
}

// contents tells whether p stands for what is in a directory, rather than for a file that has a
// name.
func contents(p string) bool {
	base := path.Base(p)
	return strings.HasSuffix(p, "/.") || base == "/" || base == "." || base == ".."
}
