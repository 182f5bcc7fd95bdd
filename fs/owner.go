// Owners and devices that a process of the container could not have set: the kernel refuses ids
// that are not mapped in the user namespace, and all devices. Package emulation asks for them here.

package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Own changes the owner of the file with the inode number ino, as stat(2) has it. Some process
// must have the file open, so that the kernel remembers it. change gets the owner as it is
// remembered, and returns the new one. The kernel goes on showing what MapUID and MapGID say.
func (f *FS) Own(ino uint64, change func(uid, gid uint32) (uint32, uint32, error)) error {
	return f.editUpper(f.idOf(ino), func(n *node, fd int) (err error) {
		s := n.stat
		if s.UID, s.GID, err = change(s.UID, s.GID); err != nil {
			return err
		}
		return n.putStat(fd, s)
	})
}

// MakeDevice makes a device node in the directory with the inode number ino, which some process
// must have open. The kernel must not have a negative entry of the name in its cache.
func (f *FS) MakeDevice(ino uint64, name string, mode, umask, number, uid, gid uint32) error {
	in := fuse.InHeader{NodeId: f.idOf(ino), Caller: fuse.Caller{Owner: fuse.Owner{Uid: uid, Gid: gid}}}
	var out fuse.EntryOut
	if st := f.create(nil, &in, name, mode, umask, number, "", &out); !st.Ok() {
		return syscall.Errno(st)
	}
	f.Forget(out.NodeId, 1) // the reply did not go to the kernel
	return nil
}

// idOf is the node id of a file that the kernel remembers, by the number that it shows; 0 if
// there is none.
func (f *FS) idOf(ino uint64) uint64 {
	if ino <= uint64(f.x.Len()) {
		return ino
	}
	f.tree.RLock()
	defer f.tree.RUnlock()
	for _, real := range [...]uint64{ino &^ upperIno, ino} { // the real number may have the bit too
		if n := f.ids.byIno[real]; n != nil && n.shownIno() == ino {
			return n.id
		}
	}
	return 0
}

// Owner is the owner of the file with the inode number ino, as it is remembered.
func (f *FS) Owner(ino uint64) (uid, gid uint32, ok bool) { return f.ownerOf(f.idOf(ino)) }

// ownerOf is the owner of a file that is remembered; not ok: it is not there any more.
func (f *FS) ownerOf(id uint64) (uid, gid uint32, ok bool) {
	if i, ok := f.ids.lowerOnly(id); ok {
		inode := f.x.Inode(i)
		return inode.UID, inode.GID, true
	}
	f.tree.RLock()
	defer f.tree.RUnlock()
	n := f.ids.nodes[id]
	if n == nil {
		return 0, 0, false
	}
	s := n.shown()
	return s.UID, s.GID, true
}

// owner is who owns what a request makes.
func (f *FS) owner(in *fuse.InHeader) (uid, gid uint32) {
	if f.cfg.Creator == nil {
		return in.Uid, in.Gid
	}
	return f.cfg.Creator(in.Pid, in.Uid, in.Gid)
}
