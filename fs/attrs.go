// The attributes of upper files: those of the real files, or, where the disk has none, those that
// package sidecar keeps. Which of the two is settled when the upper directory is made; from then on
// it has a sidecar or not.

package fs

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/image/sidecar"
)

// openSidecar opens the sidecar of the upper directory, if it has one.
func (f *FS) openSidecar() (err error) {
	f.side, err = sidecar.Open(f.cfg.Upper)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// needsSidecar looks at err, which setting the first attribute in the new upper directory fd has
// returned. If it says that the disk has no attributes, the sidecar is made, and the caller is to
// try again; any other err comes back as it is.
func (f *FS) needsSidecar(err error, fd int) (bool, error) {
	if f.side != nil || !noXattrs(err) {
		return false, err
	}
	empty := true
	if e := readNames(fd, func(string, byte, uint64) error { empty = false; return nil }); e != nil {
		return false, e
	}
	if !empty {
		return false, errors.New("what it has was written with extended attributes, which its file system does not show now")
	}
	f.side, err = sidecar.Create(f.cfg.Upper)
	return err == nil, err
}

// noXattrs tells whether err says that a disk has no attributes: xattr(7), fsetxattr(2).
func noXattrs(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS)
}

// named makes a change of names in the upper directory, do, and lets the sidecar follow. n is the
// file that is, or becomes, the one at p. q is for changes with two names.
func (f *FS) named(verb string, p, q place, n *node, do func() error) error {
	if f.side == nil {
		return do()
	}
	from, to, ino := "", "", uint64(0)
	if p.dir != nil {
		from = p.path()
	}
	if q.dir != nil {
		to = q.path()
	}
	switch {
	case verb == sidecar.Link && p.dir == nil: // from Work, where it has no name for others
		verb, from, to = sidecar.New, to, ""
	case verb == sidecar.Swap && q.dir == nil: // with one in Work
		verb, ino = sidecar.New, n.ino
	case verb == sidecar.Swap:
		ino = n.ino
	}
	return f.side.Change(verb, from, to, n.side, ino, do)
}

// path is p below the upper directory.
func (p place) path() string {
	if up := p.dir.at; up.dir != nil {
		return up.path() + "/" + p.name
	}
	return p.name
}

func (n *node) getAttr(fd int, name string) (string, error) {
	if n.side != nil {
		return n.side.Get(name)
	}
	return getXattr(fd, name)
}

// readAttr is fgetxattr(2).
func (n *node) readAttr(fd int, name string, dest []byte) (int, error) {
	if n.side == nil {
		return unix.Fgetxattr(fd, name, dest)
	}
	v, err := n.side.Get(name)
	switch {
	case err != nil:
		return 0, err
	case len(dest) == 0:
		return len(v), nil
	case len(dest) < len(v):
		return 0, syscall.ERANGE
	}
	return copy(dest, v), nil
}

func (n *node) setAttr(fd int, name string, value []byte, flags int) error {
	if n.side != nil {
		return n.side.Set(name, string(value), flags)
	}
	return unix.Fsetxattr(fd, name, value, flags)
}

func (n *node) removeAttr(fd int, name string) error {
	if n.side != nil {
		return n.side.Remove(name)
	}
	return unix.Fremovexattr(fd, name)
}

func (n *node) listAttrs(fd int) ([]string, error) {
	if n.side != nil {
		return n.side.List(), nil
	}
	return listXattrs(fd)
}

// getXattr reads an attribute whose value is short.
func getXattr(fd int, name string) (string, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Fgetxattr(fd, name, buf)
		if err == syscall.ERANGE {
			buf = make([]byte, 1<<16)
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}

func listXattrs(fd int) ([]string, error) {
	buf := make([]byte, 512)
	n, err := unix.Flistxattr(fd, buf)
	if err == syscall.ERANGE {
		buf = make([]byte, 1<<16) // XATTR_LIST_MAX, xattr(7)
		n, err = unix.Flistxattr(fd, buf)
	}
	if err != nil {
		if errors.Is(err, syscall.ENOTSUP) {
			err = nil
		}
		return nil, err
	}
	var names []string
	for b := buf[:n]; len(b) > 0; {
		i := 0
		for i < len(b) && b[i] != 0 {
			i++
		}
		names = append(names, string(b[:i]))
		b = b[min(i+1, len(b)):]
	}
	return names, nil
}
