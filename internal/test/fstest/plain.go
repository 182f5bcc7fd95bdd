// The same tree made with plain system calls: what the union must look like.

package fstest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// Plain makes dir, an empty directory, equal to the merged tree of an image,
// with plain system calls: what the union has to look like. Owners that this
// user namespace has not mapped become 0, as Run's server shows them.
func Plain(dir string, im *Image) error {
	x, flats, _, err := im.open()
	if err != nil {
		return err
	}
	p := &plain{x: x, flats: flats, uid: shownID("/proc/self/uid_map"), gid: shownID("/proc/self/gid_map"), done: map[uint32]string{}}
	return p.fill(dir, 0)
}

type plain struct {
	x        *layer.Index
	flats    []*layer.Flat
	uid, gid func(uint32) uint32
	done     map[uint32]string // inode → where its first name was made
}

func (p *plain) fill(dir string, d uint32) error {
	for k := range p.x.DirLen(d) {
		name, ino := p.x.Dirent(d, k)
		path := filepath.Join(dir, name)
		if first, ok := p.done[ino]; ok {
			if err := os.Link(first, path); err != nil {
				return err
			}
			continue
		}
		p.done[ino] = path
		if err := p.make(path, ino); err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	// Last, because each entry changes the directory's time.
	return p.attributes(dir, d)
}

func (p *plain) make(path string, ino uint32) error {
	n := p.x.Inode(ino)
	var err error
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err = os.Mkdir(path, 0o700); err == nil {
			return p.fill(path, ino)
		}
	case unix.S_IFREG:
		err = p.file(path, ino)
	case unix.S_IFLNK:
		err = os.Symlink(p.x.Target(ino), path)
	default:
		dev := unix.Mkdev(layer.Major(n.Rdev), layer.Minor(n.Rdev))
		err = unix.Mknod(path, n.Mode, int(dev))
	}
	if err != nil {
		return err
	}
	return p.attributes(path, ino)
}

func (p *plain) file(path string, ino uint32) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n := p.x.Inode(ino)
	for _, e := range p.x.Extents(ino) {
		if _, err := io.Copy(io.NewOffsetWriter(f, e.Logical), io.NewSectionReader(p.flats[n.Layer], e.Physical, e.Length)); err != nil {
			return err
		}
	}
	return f.Truncate(n.Size)
}

func (p *plain) attributes(path string, ino uint32) error {
	n := p.x.Inode(ino)
	for _, a := range p.x.Xattrs(ino) {
		if err := unix.Lsetxattr(path, a.Name, []byte(a.Value), 0); err != nil {
			return fmt.Errorf("attribute %s: %w", a.Name, err)
		}
	}
	if err := os.Lchown(path, int(p.uid(n.UID)), int(p.gid(n.GID))); err != nil {
		return err
	}
	if n.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(path, n.Mode&0o7777); err != nil { // after chown, which clears setuid
			return err
		}
	}
	ts := []unix.Timespec{{Sec: n.Mtime, Nsec: int64(n.Nsec)}, {Sec: n.Mtime, Nsec: int64(n.Nsec)}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
}
