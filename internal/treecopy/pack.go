// A tree of files becomes a tarball.

package treecopy

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Pack writes what is at a path as a tarball, under the name as; "." is what Unpack can put under
// another one. If follow is set, a symbolic link at the end of the path is followed; those below
// are copied as links. Sockets are left out: a tarball cannot hold them. Errors: those of w and
// of reading, with the file's name.
func (t *Tree) Pack(w io.Writer, p, as string, follow bool) error {
	k := &packer{tw: tar.NewWriter(w), top: as, rooted: t.links, owner: t.OwnerAttr, first: map[[2]uint64]string{}}
	err := k.add(func(flags int) (int, error) { return t.open(p, flags, follow) }, as)
	if err != nil {
		return err
	}
	return k.tw.Close()
}

type packer struct {
	tw     *tar.Writer
	top    string               // name of what was asked for
	rooted bool                 // it is of a container
	owner  string               // Tree.OwnerAttr
	first  map[[2]uint64]string // by device and inode number: a file's first name
}

// maxName is the longest name, in bytes: that of a layer (image/layer). A directory is open while
// what is in it is packed, so this is also the limit for descriptors.
const maxName = 16384

// add packs one file, and what is in it if it is a directory. open opens it with the given flags,
// never through a link that is not meant.
func (k *packer) add(open func(flags int) (int, error), as string) error {
	if len(as) > maxName {
		return fmt.Errorf("the path %.40q… has more than %d bytes", as, maxName)
	}
	data, err := k.node(open, as)
	if err == nil && data {
		return k.opened(open, as)
	}
	return err
}

// node packs a file that has no data of its own. Of a regular file and a directory it only says so.
func (k *packer) node(open func(flags int) (int, error), as string) (data bool, err error) {
	fail := func(err error) (bool, error) { return false, fmt.Errorf("read %s: %w", as, err) }
	fd, err := open(unix.O_PATH)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return true, nil
	case unix.S_IFSOCK:
		return false, nil
	case unix.S_IFCHR, unix.S_IFBLK:
		if as != k.top && mounted(fd) {
			return false, nil
		}
	}
	h := k.header(fd, &st, as)
	if h.Typeflag == tar.TypeSymlink {
		if h.Linkname, err = readlink(fd); err != nil {
			return fail(err)
		}
	}
	return false, k.tw.WriteHeader(h)
}

// opened packs a regular file or a directory. What was one when add looked may be a fifo by now.
func (k *packer) opened(open func(flags int) (int, error), as string) error {
	fail := func(err error) error { return fmt.Errorf("read %s: %w", as, err) }
	fd, err := open(unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY)
	if err != nil {
		return fail(err)
	}
	f := os.NewFile(uintptr(fd), as)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	h := k.header(fd, &st, as)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := k.tw.WriteHeader(h); err != nil || pseudo(fd) || k.rooted && as != k.top && temporary(fd) {
			return err
		}
		return k.entries(f, as)
	case tar.TypeReg:
		return k.regular(f, &st, h)
	}
	return fail(fmt.Errorf("it was replaced while it was read"))
}

// pseudo tells whether the kernel makes up what is in a directory: a copy of /proc is of no use,
// and might never end. Of such a directory of a container that runs, only the mount point is
// packed. A single file in it can be packed.
func pseudo(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	switch st.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC, mqueueMagic:
		return true
	}
	return false
}

// temporary tells whether a tmpfs is mounted on a directory: docker-cp(1) leaves out what is in it,
// unless that directory is what was asked for.
func temporary(fd int) bool {
	var st unix.Statfs_t
	return mounted(fd) && unix.Fstatfs(fd, &st) == nil && st.Type == unix.TMPFS_MAGIC
}

// mounted tells whether a file is mounted where it is, as the device nodes in /dev of a container
// that runs are: they are this machine's and no part of its files. statx(2), STATX_ATTR_MOUNT_ROOT.
func mounted(fd int) bool {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

const mqueueMagic = 0x19800202 // MQUEUE_MAGIC in ipc/mqueue.c of the kernel; statfs(2)

// maxMadeUp is how many bytes are read of a file that says that it is empty.
const maxMadeUp = 16 << 20

// regular packs a file, or a link to the first of its names.
func (k *packer) regular(f *os.File, st *unix.Stat_t, h *tar.Header) error {
	if st.Nlink > 1 {
		id := [2]uint64{uint64(st.Dev), st.Ino}
		if first, ok := k.first[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return k.tw.WriteHeader(h)
		}
		k.first[id] = h.Name
	}
	var data io.Reader = f
	if h.Size == 0 { // files that the kernel makes up say so, whatever is in them: proc(5)
		b, err := io.ReadAll(io.LimitReader(f, maxMadeUp+1))
		if err == nil && len(b) > maxMadeUp {
			err = fmt.Errorf("it says that it is empty, and holds more than %d bytes", maxMadeUp)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", h.Name, err)
		}
		h.Size, data = int64(len(b)), bytes.NewReader(b)
	}
	if err := k.tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(k.tw, io.LimitReader(data, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("it was %d bytes long and is %d now: %w", h.Size, n, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", h.Name, err)
	}
	return nil
}

// entries packs what is in a directory, in the order of the names.
func (k *packer) entries(dir *os.File, as string) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list %s: %w", as, err)
	}
	slices.Sort(names)
	for _, name := range names {
		open := func(flags int) (int, error) {
			return openat2(int(dir.Fd()), name, flags|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH)
		}
		if err := k.add(open, strings.TrimSuffix(as, "/")+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// header says of a file what tar(5) has room for, but for extended attributes.
func (k *packer) header(fd int, st *unix.Stat_t, as string) *tar.Header {
	h := &tar.Header{
		Name: as, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(as, "/")+"/"
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	}
	if k.owner == "" {
		return h
	}
	// A descriptor of O_PATH has no attributes, its name does: open(2), O_PATH.
	var buf [32]byte
	n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(fd), k.owner, buf[:])
	var uid, gid uint32
	if err == nil {
		if _, err := fmt.Sscanf(string(buf[:n]), "%d:%d", &uid, &gid); err == nil {
			h.Uid, h.Gid = int(uid), int(gid)
		}
	}
	return h
}
