// A directory that has all of a container's files is compared with the image. What differs is what
// an upper directory would have.

package layer

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// same compares n, open as fd if it is a regular file, with lower inode i: all that a layer says
// about a file, and its bytes, since a time can be set back. So a file that was replaced by an
// equal one counts as the same.
func (r *upReader) same(n *upNode, i uint32, fd int) (bool, error) {
	x := r.u.Lower
	in, kind := x.Inode(i), n.stat.Mode&unix.S_IFMT
	was := Stat{UID: in.UID, GID: in.GID, Mode: in.Mode, Rdev: in.Rdev}
	if kind == unix.S_IFLNK { // the kernel has no permissions of links, symlink(7)
		was.Mode |= 0o777
	}
	kept := slices.DeleteFunc(x.Xattrs(i), func(a Xattr) bool { return !plain(a.Name) })
	if fd >= 0 && len(kept) > 0 {
		if _, err := unix.Flistxattr(fd, nil); errors.Is(err, unix.ENOTSUP) {
			n.xattrs = kept // the disk could not take them, and nobody has removed them
		}
	}
	if n.stat != was || n.mtime != (unix.Timespec{Sec: in.Mtime, Nsec: int64(in.Nsec)}) ||
		n.target != x.Target(i) || !slices.Equal(byName(n.xattrs), byName(kept)) {
		return false, nil
	}
	if kind != unix.S_IFREG {
		return true, nil
	}
	if n.size != in.Size {
		return false, nil
	}
	return r.equal(fd, x.Reader(i, r.u.Flats))
}

// equal compares the bytes of fd with as many of want.
func (r *upReader) equal(fd int, want io.Reader) (bool, error) {
	if r.bufs[0] == nil {
		r.bufs[0], r.bufs[1] = make([]byte, 256<<10), make([]byte, 256<<10)
	}
	f := rawReader(fd)
	for {
		n, err := io.ReadFull(want, r.bufs[0])
		if err == io.EOF {
			return true, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		if _, e := io.ReadFull(f, r.bufs[1][:n]); e != nil {
			return false, e
		}
		if !bytes.Equal(r.bufs[0][:n], r.bufs[1][:n]) {
			return false, nil
		}
	}
}

// rawReader reads a descriptor that another closes.
type rawReader int

func (r rawReader) Read(b []byte) (int, error) {
	n, err := unix.Read(int(r), b)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return max(n, 0), err
}

// reduce takes out of directory d, which continues a lower one, what is as in the image, and puts
// in a whiteout for what is gone. Device nodes have not been unpacked, and are not missed.
func (r *upReader) reduce(d *upNode) {
	for k := range r.u.Lower.DirLen(d.origin) {
		name, i := r.u.Lower.Dirent(d.origin, k)
		kind := r.u.Lower.Inode(i).Mode & unix.S_IFMT
		if d.kids[name] == nil && kind != unix.S_IFCHR && kind != unix.S_IFBLK {
			d.whiteouts[name] = true
		}
	}
	for name, c := range d.kids {
		if c.hasOrigin {
			r.reduce(c)
		}
		if c.same && len(c.kids)+len(c.whiteouts) == 0 {
			delete(d.kids, name)
		}
	}
}
