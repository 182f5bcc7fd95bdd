// A tarball, which a stranger may have written, becomes files below one directory and nowhere
// else.

package treecopy

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unpack reads a tarball into directory dir, under the name top, or, if that is "", into dir
// itself, whose own attributes stay as they are. A file that exists is written over, a directory
// that exists is kept, a link is replaced: an earlier tarball may have brought it. With owners the
// files get those that the tarball says, else they belong to this process. It returns how many
// bytes of data were written. An error leaves what was unpacked so far.
func (t *Tree) Unpack(r io.Reader, dir, top string, owners bool) (bytes int64, err error) {
	fd, err := t.open(dir, unix.O_RDONLY|unix.O_DIRECTORY, true)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	defer unix.Close(fd)
	u := &unpacker{t: t, base: fd, top: top, owners: owners}
	if t.links { // what is below is looked up from the root, so that absolute links mean what they say
		u.base, u.prefix = t.root, dir
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return u.bytes, u.finish()
		}
		if err != nil {
			return u.bytes, fmt.Errorf("read the tarball: %w", err)
		}
		if err := u.entry(h, tr); err != nil {
			return u.bytes, err
		}
	}
}

type unpacker struct {
	t      *Tree
	base   int
	prefix string // of paths below base
	top    string
	owners bool
	bytes  int64
	dirs   []madeDir // in the order they were made
}

// madeDir is a directory that gets its mode and time when nothing more is put into it.
type madeDir struct {
	rel  string
	mode uint32
	time time.Time
}

// rel is where a name of the tarball goes, below base; "" is base itself. A name cannot lead
// upwards: path.Clean takes ".." at a root away.
func (u *unpacker) rel(name string) string {
	return strings.TrimPrefix(path.Join("/", u.top, path.Clean("/"+name)), "/")
}

// open opens a directory below base.
func (u *unpacker) open(rel string) (int, error) {
	p := "./" + rel
	if u.prefix != "" {
		p = u.prefix + "/" + rel // not joined: ".." after a link is the parent of what that leads to
	}
	return openat2(u.base, p, unix.O_RDONLY|unix.O_DIRECTORY, u.t.inside)
}

// parent opens the directory that rel is in, and makes it if no entry of the tarball has.
func (u *unpacker) parent(rel string) (int, error) {
	dir := path.Dir(rel)
	fd, err := u.open(dir)
	if !errors.Is(err, unix.ENOENT) || dir == "." {
		return fd, err
	}
	up, err := u.parent(dir)
	if err != nil {
		return -1, err
	}
	defer unix.Close(up)
	if err := unix.Mkdirat(up, path.Base(dir), 0o755); err != nil && err != unix.EEXIST {
		return -1, err
	}
	return u.open(dir)
}

// entry unpacks one member.
func (u *unpacker) entry(h *tar.Header, data io.Reader) error {
	rel := u.rel(h.Name)
	fail := func(err error) error { return fmt.Errorf("write %s: %w", rel, err) }
	if len(rel) >= unix.PathMax {
		return fmt.Errorf("write %.40q…: the path has %d bytes, and a system call takes %d", rel, len(rel), unix.PathMax-1)
	}
	if rel == "" {
		if h.Typeflag != tar.TypeDir {
			return fail(errors.New("the tarball has something else than a directory for its top"))
		}
		return nil
	}
	at, err := u.parent(rel)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(at)
	name := path.Base(rel)
	there, err := lstat(at, name)
	if err != nil {
		return fail(err)
	}
	isDir := there != nil && there.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case h.Typeflag == tar.TypeXGlobalHeader:
		return nil
	case isDir && h.Typeflag == tar.TypeDir:
		return nil
	case isDir:
		return fail(errors.New("a directory has this name"))
	case there != nil && h.Typeflag == tar.TypeDir:
		if fd, err := u.open(rel); err == nil { // a link to a directory, where links may be followed
			unix.Close(fd)
			return nil
		}
		return fail(errors.New("a file has this name"))
	case h.Typeflag == tar.TypeReg:
		err = u.regular(at, name, there, h, data)
	default:
		if there != nil {
			if err := unix.Unlinkat(at, name, 0); err != nil {
				return fail(err)
			}
		}
		err = u.special(at, name, h)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// lstat is nil if there is nothing of that name.
func lstat(at int, name string) (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	err := unix.Fstatat(at, name, st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return nil, nil
	}
	return st, err
}

// regular writes a file. One that exists keeps its inode, for it may be mounted, as /etc/hosts of
// a container is; anything else of that name goes.
func (u *unpacker) regular(at int, name string, there *unix.Stat_t, h *tar.Header, data io.Reader) error {
	flags := unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	if there != nil && there.Mode&unix.S_IFMT == unix.S_IFREG {
		flags |= unix.O_TRUNC
	} else {
		if there != nil {
			if err := unix.Unlinkat(at, name, 0); err != nil {
				return err
			}
		}
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	fd, err := unix.Openat(at, name, flags, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return u.fill(f, h, data)
}

// fill writes an empty file's bytes and attributes, and closes it.
func (u *unpacker) fill(f *os.File, h *tar.Header, data io.Reader) error {
	n, err := io.Copy(f, data)
	u.bytes += n
	if err != nil {
		return err
	}
	if u.owners {
		if err := f.Chown(u.t.owner(h)); err != nil {
			return err
		}
	}
	fd := int(f.Fd())
	if err := unix.Fchmod(fd, u.mode(h)); err != nil {
		return err
	}
	if err := setTime(fd, "", h.ModTime); err != nil {
		return err
	}
	return f.Close() // a disk that is full may say so here only
}

func (u *unpacker) mode(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 &^ u.t.umask }

// special makes all that is no regular file, in a place where nothing is.
func (u *unpacker) special(at int, name string, h *tar.Header) error {
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		// Open to its owner until it is full.
		if err := unix.Mkdirat(at, name, 0o700); err != nil {
			return err
		}
		u.dirs = append(u.dirs, madeDir{u.rel(h.Name), u.mode(h), h.ModTime})
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, at, name)
	case tar.TypeFifo:
		err = unix.Mkfifoat(at, name, u.mode(h))
	case tar.TypeLink:
		return u.link(at, name, h)
	case tar.TypeChar, tar.TypeBlock:
		return errors.New("it is a device node, which only the real root can make; see mknod(2)")
	default:
		return fmt.Errorf("it is of a type that is not known here: %q", h.Typeflag)
	}
	if err == nil && u.owners {
		err = u.chown(at, name, h)
	}
	if err == nil && h.Typeflag != tar.TypeDir {
		err = setTime(at, name, h.ModTime)
	}
	return err
}

func (u *unpacker) chown(at int, name string, h *tar.Header) error {
	uid, gid := u.t.owner(h)
	return unix.Fchownat(at, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (t *Tree) owner(h *tar.Header) (uid, gid int) {
	if t.MapUID == nil {
		return h.Uid, h.Gid
	}
	return int(t.MapUID(uint32(h.Uid))), int(t.MapGID(uint32(h.Gid)))
}

// link makes a further name of a file that was unpacked before.
func (u *unpacker) link(at int, name string, h *tar.Header) error {
	target := u.rel(h.Linkname)
	from, err := u.parent(target)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return unix.Linkat(from, path.Base(target), at, name, 0)
}

// setTime sets the modification time of name in directory fd, or of fd itself if name is "".
func setTime(fd int, name string, when time.Time) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_NOW}, unix.NsecToTimespec(when.UnixNano())}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	return unix.UtimesNanoAt(fd, name, ts, flags)
}

// finish gives the directories their modes and times, the innermost first.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		fd, err := u.open(d.rel)
		if err == nil {
			if err = unix.Fchmod(fd, d.mode); err == nil {
				err = setTime(fd, "", d.time)
			}
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("finish %s: %w", d.rel, err)
		}
	}
	return nil
}
