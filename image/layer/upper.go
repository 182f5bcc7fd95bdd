// An upper directory is read as the container sees it.

package layer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/image/sidecar"
)

// Upper is a container's writable directory over the image it belongs to.
// Nothing may change in it while WriteDiff or Changes run.
type Upper struct {
	Dir   string        // the directory, see XattrOverride for what is in it
	Lower *Index        // merged index of the image; nil if there is nothing below
	Flats []io.ReaderAt // Flats[Inode.Layer] is the flat.tar of that layer
	// Skip names paths ("/etc/hosts") that were made to mount something on. As
	// long as they are empty they are no change of the user's. nil: none.
	Skip func(path string) bool
	// Kernel says that the directory was the upper side of the kernel's overlayfs; nil: of
	// tiffin's file system.
	Kernel *KernelUpper
}

// upNode is a file of the upper directory as the container sees it. As in a
// Tree, two names that share a node are hard links.
type upNode struct {
	stat   Stat
	size   int64 // bytes
	mtime  unix.Timespec
	xattrs []Xattr
	target string // of a symbolic link

	path      string // below Upper.Dir; "" if it is not there, but see diff.complete
	realIno   uint64
	hasOrigin bool
	origin    uint32 // lower inode that this continues, if hasOrigin
	metacopy  bool   // the data is the origin's
	tail      bool   // …, and after it comes the file's own
	opaque    bool   // a directory of the kernel's that continues none
	same      bool   // of KernelUpper.Whole: under each of its names it is as lower inode lower
	lower     uint32

	kids      map[string]*upNode // only of a directory
	whiteouts map[string]bool
}

func (n *upNode) isDir() bool { return n.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// upReader reads an upper directory. It goes from directory to directory by
// descriptor and follows no symbolic link: the container may have left
// anything here.
type upReader struct {
	u     *Upper
	links map[uint64]*upNode // by real inode number, those with several names
	side  *sidecar.Store     // where the attributes are; nil: at the files
	bufs  [2][]byte          // equal
}

// readUpper reads all of u but for the data.
func readUpper(u *Upper) (*upNode, error) {
	fd, err := unix.Open(u.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the changes of the container, %s: %w", u.Dir, err)
	}
	defer func() { unix.Close(fd) }()
	r := &upReader{u: u, links: map[uint64]*upNode{}}
	if r.side, err = sidecar.Read(u.Dir); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	var root *upNode
	if err == nil {
		root, err = r.node(fd, "")
	}
	if err == nil && !root.isDir() {
		err = errors.New("it is not a directory")
	}
	if err == nil && u.Lower != nil {
		root.hasOrigin, root.origin = true, 0 // the root continues the root, said or not
		if u.Kernel != nil {
			r.owner(root, 0)
		}
	}
	if err == nil {
		fd, err = r.dir(fd, root)
	}
	if err == nil && root.hasOrigin && u.Kernel != nil && u.Kernel.Whole {
		r.reduce(root)
	}
	if err != nil {
		return nil, fmt.Errorf("read the changes of the container in %s: %w", u.Dir, err)
	}
	if u.Skip != nil {
		u.prune(root, "")
	}
	return root, nil
}

// dir reads what is in directory d, open as fd, and returns a descriptor of d, perhaps another
// one: however deep the tree is, only two descriptors are open.
func (r *upReader) dir(fd int, d *upNode) (int, error) {
	if len(d.path) > maxPath { // with all the paths above it in a tarball, n levels take n²/2 times a name
		return fd, fmt.Errorf("the path %.40q… has more than %d bytes, which a layer takes", d.path, maxPath)
	}
	names, err := readNames(fd)
	if err != nil {
		return fd, fmt.Errorf("list %q: %w", d.path, err)
	}
	d.kids, d.whiteouts = map[string]*upNode{}, map[string]bool{}
	for _, name := range names {
		gone, ok, err := r.whiteout(fd, name)
		if err != nil {
			return fd, fmt.Errorf("whiteout %q: %w", join(d.path, name), err)
		}
		if ok {
			d.whiteouts[gone] = true
			continue
		}
		if fd, d.kids[name], err = r.entry(fd, d, name); err != nil {
			return fd, err
		}
	}
	return fd, nil
}

// below reads what is in directory n, open as fd, which is in directory d, open as up. Meanwhile d
// is closed.
func (r *upReader) below(up int, d *upNode, fd int, n *upNode) (int, error) {
	unix.Close(up)
	fd, err := r.dir(fd, n)
	defer unix.Close(fd)
	if err != nil {
		return -1, err
	}
	// Nothing changes meanwhile, as a rule; if it does, ".." may be elsewhere.
	if up, err = unix.Openat(fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("open %q again: %w", d.path, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(up, &st); err == nil && st.Ino != d.realIno {
		err = errors.New("it was moved")
	}
	if err != nil {
		return up, fmt.Errorf("open %q again: %w", d.path, err)
	}
	return up, nil
}

// whiteout tells whether the file called name stands for a deletion, and of what.
func (r *upReader) whiteout(dirfd int, name string) (gone string, ok bool, err error) {
	if r.u.Kernel != nil {
		return r.u.Kernel.whiteout(dirfd, name)
	}
	return ParseWhiteout(name, func() (string, error) { return readSmall(dirfd, name) })
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// readNames lists the directory fd. It reads through a duplicate that it closes;
// the two share a position, which nothing else uses.
func readNames(fd int) ([]string, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(d), "")
	defer f.Close()
	return f.Readdirnames(-1)
}

// readSmall reads a file that holds a name.
func readSmall(dirfd int, name string) (string, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	b := make([]byte, pathMax+1)
	n, err := unix.Read(fd, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// entry reads the file called name in directory d, and all below it. As dir, it returns a
// descriptor of d.
func (r *upReader) entry(dirfd int, d *upNode, name string) (int, *upNode, error) {
	path := join(d.path, name)
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return dirfd, nil, fmt.Errorf("%q: %w", path, err)
	}
	if n := r.links[st.Ino]; n != nil {
		i, ok := r.lower(d, name)
		n.same = n.same && ok && i == n.lower
		return dirfd, n, nil
	}
	n := &upNode{path: path}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return dirfd, nil, fmt.Errorf("open %q: %w", path, err)
		}
		if n, err = r.node(fd, path); err != nil {
			unix.Close(fd)
			return dirfd, nil, err
		}
		if err = r.continues(d, name, n, fd); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dirfd, err = r.below(dirfd, d, fd, n)
			return dirfd, n, err
		}
		unix.Close(fd)
		if err != nil {
			return dirfd, nil, fmt.Errorf("compare %q with the image: %w", path, err)
		}
	case unix.S_IFLNK: // the kernel's; tiffin makes none, but somebody may
		b := make([]byte, pathMax+1)
		k, err := unix.Readlinkat(dirfd, name, b)
		if err != nil {
			return dirfd, nil, fmt.Errorf("read link %q: %w", path, err)
		}
		n.target = string(b[:k])
		r.fill(n, &st)
		n.size = 0
		_ = r.continues(d, name, n, -1) // without data, nothing can fail
	default:
		r.fill(n, &st)
		_ = r.continues(d, name, n, -1)
	}
	if st.Nlink > 1 {
		r.links[st.Ino] = n
	}
	return dirfd, n, nil
}

// fill takes what a real file says about itself.
func (r *upReader) fill(n *upNode, st *unix.Stat_t) {
	n.stat = Stat{Mode: st.Mode & (unix.S_IFMT | 0o777), Rdev: mkdev(unix.Major(st.Rdev), unix.Minor(st.Rdev))}
	if r.u.Kernel != nil {
		n.stat.Mode, n.stat.UID, n.stat.GID = st.Mode, st.Uid, st.Gid
	}
	n.size, n.mtime, n.realIno = st.Size, st.Mtim, st.Ino
}

// node reads a file or directory by its descriptor.
func (r *upReader) node(fd int, path string) (*upNode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	n := &upNode{path: path}
	r.fill(n, &st)
	n.stat.Rdev = 0
	attrs, err := r.attrs(fd, path)
	if err != nil {
		return nil, fmt.Errorf("attributes of %q: %w", path, err)
	}
	apply := r.attr
	if r.u.Kernel != nil {
		apply = r.kernelAttr
	}
	for _, a := range attrs {
		if err := apply(n, a, st.Mode); err != nil {
			return nil, fmt.Errorf("%q: %w", path, err)
		}
	}
	if n.metacopy && !n.hasOrigin {
		return nil, fmt.Errorf("%q has its data in the image, but attribute %s does not say where", path, XattrOrigin)
	}
	if n.tail && n.size < r.u.Lower.Inode(n.origin).Size {
		n.metacopy, n.tail = false, false // a server was killed after it had truncated the copy
	}
	if n.metacopy && !n.tail { // the real size means nothing if a server was killed while it copied
		n.size = r.u.Lower.Inode(n.origin).Size
	}
	switch n.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
	case unix.S_IFLNK:
		if n.target, err = readAll(fd); err != nil {
			return nil, fmt.Errorf("read the link target in %q: %w", path, err)
		}
		n.size = 0
	default:
		n.size = 0
	}
	return n, nil
}

// attr applies one attribute of the upper file.
func (r *upReader) attr(n *upNode, a Xattr, realMode uint32) (err error) {
	switch a.Name {
	case XattrOverride:
		n.stat, err = ParseStat(a.Value, realMode)
		if err == nil && (n.stat.Mode&unix.S_IFMT == unix.S_IFDIR) != (realMode&unix.S_IFMT == unix.S_IFDIR) {
			err = fmt.Errorf("attribute %s is %q, which does not fit the file", XattrOverride, a.Value)
		}
	case XattrOrigin:
		i, e := strconv.ParseUint(a.Value, 10, 32)
		if e != nil || r.u.Lower == nil || i >= uint64(r.u.Lower.Len()) ||
			r.u.Lower.Inode(uint32(i)).IsDir() != (realMode&unix.S_IFMT == unix.S_IFDIR) {
			return fmt.Errorf("attribute %s is %q, which the image does not have; is this another image's?", XattrOrigin, a.Value)
		}
		n.hasOrigin, n.origin = true, uint32(i)
	case XattrMetacopy:
		n.metacopy, n.tail = true, a.Value == MetacopyHead
	default:
		if name, ok := ShowXattr(a.Name); ok {
			n.xattrs = append(n.xattrs, Xattr{name, a.Value})
		}
	}
	return err
}

// attrs lists the attributes of fd, which is at path.
func (r *upReader) attrs(fd int, path string) (as []Xattr, err error) {
	if r.side == nil {
		return readXattrs(fd)
	}
	f := r.side.At(path)
	for _, name := range f.List() {
		v, err := f.Get(name)
		if err != nil {
			return nil, err
		}
		as = append(as, Xattr{name, v})
	}
	return as, nil
}

// readXattrs lists the attributes of fd: none if the file system has no attributes.
func readXattrs(fd int) ([]Xattr, error) {
	list, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var as []Xattr
	for name := range strings.SplitSeq(string(list), "\x00") {
		if !strings.HasPrefix(name, "user.") && name != capsXattr {
			continue // the host's own, like security.selinux
		}
		v, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		as = append(as, Xattr{name, string(v)})
	}
	return as, nil
}

// grow calls read with a larger buffer if the first is too small.
// XATTR_LIST_MAX and XATTR_SIZE_MAX are 65536 bytes, xattr(7).
func grow(read func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, 256)
	n, err := read(b)
	if err == unix.ERANGE {
		b = make([]byte, xattrMax)
		n, err = read(b)
	}
	return b[:max(n, 0)], err
}

func readAll(fd int) (string, error) {
	b := make([]byte, pathMax+1)
	n, err := unix.Pread(fd, b, 0)
	return string(b[:max(n, 0)]), err
}
