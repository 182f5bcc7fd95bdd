// Writing the files of an image to a directory, for drivers that cannot read them where they are.

package layer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Unpacker writes the files of a merged index to a directory, with their owners, modes and times.
// It needs the capabilities of root in a user namespace that has the ids MapUID and MapGID give.
//
// What only the real root can make is left out and counted: device nodes (mknod(2), EPERM), and
// attributes other than user.*, file capabilities and access control lists. The marks of overlayfs
// (OverlayMarks) are left out, too: there they would not be an image's to set.
type Unpacker struct {
	Index          *Index
	Flats          []io.ReaderAt // Flats[Inode.Layer] is the flat.tar of that layer
	MapUID, MapGID func(uint32) uint32
	// From is a directory that the same index was unpacked to, whose files share their blocks with
	// the new ones: ioctl_ficlone(2). "": the bytes come from Flats.
	From string

	// Progress is told how many bytes the files that are made so far have; nil: nobody is.
	Progress func(bytes int64)

	Devices, Attributes int // left out

	made  int64
	links int // descriptor of a directory with a name for each file that has several
	buf   []byte
}

// Unpack fills dir, an empty directory that nobody else can enter, with what is in directory top of
// the index, and makes it like that. It makes and removes the directory dir+".links". Errors: those
// of the flat files, of writing, and of ioctl_ficlone(2).
func (u *Unpacker) Unpack(dir string, top uint32) (err error) {
	links := dir + ".links"
	if err := os.Mkdir(links, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(links)) }()
	if u.links, err = openDir(unix.AT_FDCWD, links); err != nil {
		return err
	}
	defer unix.Close(u.links)
	at := place{to: -1, from: -1}
	if at.to, err = openDir(unix.AT_FDCWD, dir); err == nil && u.From != "" {
		at.from, err = openDir(unix.AT_FDCWD, u.From)
	}
	defer func() { at.close() }()
	if err != nil {
		return err
	}
	u.buf = make([]byte, 256<<10)
	if err := u.dir(&at, top); err != nil {
		return fmt.Errorf("unpack the image to %s: %w", dir, err)
	}
	return u.attrs(at.to, "", top)
}

// place is a directory that is being filled, and its like in Unpacker.From, or -1.
type place struct{ to, from int }

func (p *place) close() {
	unix.Close(p.to)
	unix.Close(p.from)
}

func openDir(at int, name string) (int, error) {
	return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// enter moves to the directory called name, which may be "..": nobody else can move one here. So
// no more than one is open, however deep the tree.
func (p *place) enter(name string) (err error) {
	next := place{to: -1, from: -1}
	if next.to, err = openDir(p.to, name); err == nil && p.from >= 0 {
		next.from, err = openDir(p.from, name)
	}
	p.close()
	*p = next
	return err
}

// dir writes what is in directory i.
func (u *Unpacker) dir(at *place, i uint32) error {
	for k := range u.Index.DirLen(i) {
		name, c := u.Index.Dirent(i, k)
		if err := u.entry(at, name, c); err != nil {
			return fmt.Errorf("%s: %w", u.Index.Path(c), err)
		}
		if !u.Index.Inode(c).IsDir() {
			continue
		}
		if err := at.enter(name); err != nil {
			return err
		}
		if err := u.dir(at, c); err != nil {
			return err
		}
		if err := u.attrs(at.to, "", c); err != nil { // when it is full, for its time
			return fmt.Errorf("%s: %w", u.Index.Path(c), err)
		}
		if err := at.enter(".."); err != nil {
			return err
		}
	}
	return nil
}

// entry makes the file called name, a directory without what is in it.
func (u *Unpacker) entry(at *place, name string, i uint32) error {
	in := u.Index.Inode(i)
	number := strconv.FormatUint(uint64(i), 10)
	several := !in.IsDir() && in.Nlink > 1
	if several {
		if err := unix.Linkat(u.links, number, at.to, name, 0); err != unix.ENOENT {
			return err
		}
	}
	var err error
	switch in.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return unix.Mkdirat(at.to, name, 0o700)
	case unix.S_IFREG:
		err = u.regular(at, name, i)
	case unix.S_IFLNK:
		if err = unix.Symlinkat(u.Index.Target(i), at.to, name); err == nil {
			err = u.attrs(at.to, name, i)
		}
	case unix.S_IFIFO:
		if err = unix.Mkfifoat(at.to, name, 0o600); err == nil {
			err = u.attrs(at.to, name, i)
		}
	default:
		u.Devices++
		return nil
	}
	if err == nil && several {
		err = unix.Linkat(at.to, name, u.links, number, 0)
	}
	return err
}

// regular makes a file with its bytes.
func (u *Unpacker) regular(at *place, name string, i uint32) error {
	fd, err := unix.Openat(at.to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if at.from >= 0 {
		err = cloneFile(at.from, name, fd)
	} else {
		err = u.data(f, i)
	}
	if err == nil {
		err = u.attrs(fd, "", i)
	}
	if u.made += u.Index.Inode(i).Size; u.Progress != nil {
		u.Progress(u.made)
	}
	return errors.Join(err, f.Close()) // a disk that is full may say so here only
}

// cloneFile makes fd share the blocks of a file.
func cloneFile(dir int, name string, fd int) error {
	src, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	return os.NewSyscallError("ioctl(FICLONE)", unix.IoctlFileClone(fd, src))
}

// data writes the bytes of file i, and leaves its holes.
func (u *Unpacker) data(f *os.File, i uint32) error {
	r := u.Index.Reader(i, u.Flats)
	for _, e := range u.Index.Extents(i) {
		// Without ReadFrom and WriteTo, so that the buffer is used.
		w := struct{ io.Writer }{io.NewOffsetWriter(f, e.Logical)}
		if _, err := io.CopyBuffer(w, struct{ io.Reader }{io.NewSectionReader(r, e.Logical, e.Length)}, u.buf); err != nil {
			return err
		}
	}
	return f.Truncate(u.Index.Inode(i).Size)
}

// attrs sets owner, attributes, mode and time of name in directory fd, or of fd itself if name is
// "". A change of the owner takes set-user-ID bits and capabilities away, chown(2): so it is first.
func (u *Unpacker) attrs(fd int, name string, i uint32) error {
	in, flags := u.Index.Inode(i), unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	if err := unix.Fchownat(fd, name, int(u.MapUID(in.UID)), int(u.MapGID(in.GID)), flags); err != nil {
		return os.NewSyscallError("chown", err)
	}
	for _, a := range u.Index.Xattrs(i) {
		if err := setXattr(fd, name, a); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return os.NewSyscallError("setxattr", err)
		} else if err != nil {
			u.Attributes++
		}
	}
	var err error
	switch {
	case name == "":
		err = unix.Fchmod(fd, in.Mode&0o7777)
	case in.Mode&unix.S_IFMT != unix.S_IFLNK:
		err = unix.Fchmodat(fd, name, in.Mode&0o7777, 0)
	}
	if err != nil {
		return os.NewSyscallError("chmod", err)
	}
	when := unix.Timespec{Sec: in.Mtime, Nsec: int64(in.Nsec)}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, name, []unix.Timespec{when, when}, flags))
}

// setXattr sets an attribute of fd. What has none, a file with a name here, is a symbolic link or a
// fifo: xattr(7), "Extended user attributes".
func setXattr(fd int, name string, a Xattr) error {
	if name != "" || !plain(a.Name) && !strings.HasPrefix(a.Name, "system.posix_acl_") {
		return unix.ENOTSUP
	}
	return unix.Fsetxattr(fd, a.Name, []byte(a.Value), 0)
}

// plain tells whether an attribute is kept in a tree that the kernel serves, and read from there.
func plain(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, OverlayMarks) && name != XattrOrigin || name == capsXattr
}
