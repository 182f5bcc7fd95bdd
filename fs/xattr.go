// Extended attributes, xattr(7). user.*, security.*, trusted.* and access control lists (acl.go)
// are kept. Attributes that no process in a user namespace can read are not listed.

package fs

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"tiffin/image/layer"
)

// layerXattr is answered by getxattr(2) for every file, and listed for none:
// where the file comes from, "layer N" (0 is the bottom), "upper", or "upper,
// from lower inode N" if it has been copied up.
const layerXattr = "user.tiffin.layer"

// OwnerXattr is answered by getxattr(2) for every file, and listed for none: the owner that is
// remembered, "UID:GID" in decimal, whatever Config.MapUID and MapGID make of it for stat(2). Not
// user.*, which symbolic links and devices cannot have: xattr(7).
const OwnerXattr = "security.tiffin.owner"

// xattrListMax is XATTR_LIST_MAX, xattr(7): bytes in a list of names.
const xattrListMax = 65536

func isACL(name string) bool { return name == aclAccess || name == aclDefault }

// storable reports whether attributes of this name can be kept.
func storable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "security.") && name != OwnerXattr ||
		strings.HasPrefix(name, "trusted.") || isACL(name)
}

// listed reports whether the kernel lets processes of the container read an attribute of a file
// with that mode. xattr(7): trusted.* is for root of the first user namespace alone, and only
// regular files and directories have user.*. Of the others, security.* and valid lists are listed.
func (f *FS) listed(name, value string, mode uint32) bool {
	t := mode & syscall.S_IFMT
	switch {
	case strings.HasPrefix(name, "user."):
		return !f.hidden(name) && (t == syscall.S_IFREG || t == syscall.S_IFDIR)
	case name == aclDefault && t != syscall.S_IFDIR || isACL(name) && t == syscall.S_IFLNK:
		return false
	case isACL(name):
		return f.showACL(value) != ""
	}
	return strings.HasPrefix(name, "security.")
}

// hidden reports whether an attribute of a layer is not to be seen. Without an upper directory
// this may be the lower side of an overlayfs, which would take such an attribute for a mark of
// its own: an image could hide what is below, or make the kernel refuse a file, while other
// programs that run the image show both.
func (f *FS) hidden(name string) bool {
	return f.root == nil && strings.HasPrefix(name, layer.OverlayMarks)
}

// lookForXattrs learns whether no file has an attribute to be seen, nor ever will. The kernel's
// overlayfs asks for one of its marks for each file of its lower side that it looks up, which makes
// a cold find(1) cost a request for every file. So for most images the answer is once and for all
// ENOSYS, which the kernel turns into ENOTSUP by itself from then on.
func (f *FS) lookForXattrs() {
	if f.root != nil {
		return
	}
	f.noXattrs = true
	for i := range uint32(f.x.Len()) {
		if !f.x.HasXattrs(i) {
			continue
		}
		for _, a := range f.x.Xattrs(i) {
			f.noXattrs = f.noXattrs && f.hidden(a.Name)
			f.hasACLs = f.hasACLs || isACL(a.Name)
		}
	}
}

// GetXAttr is FUSE_GETXATTR.
func (f *FS) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (size uint32, st fuse.Status) {
	c := f.begin(opGetxattr, in, "")
	defer c.end(&st)
	if f.noXattrs {
		return 0, fuse.ENOSYS
	}
	if name == OwnerXattr {
		uid, gid, ok := f.ownerOf(in.NodeId)
		if !ok {
			return 0, fuse.ENODATA
		}
		return copyOut(dest, fmt.Sprintf("%d:%d", uid, gid))
	}
	if !storable(name) || f.hidden(name) {
		return 0, fuse.ENODATA
	}
	if isACL(name) {
		v, err := f.xattrOf(in.NodeId, name)
		if err != nil {
			return 0, status(err)
		}
		return copyOut(dest, f.showACL(v))
	}
	if i, ok := f.ids.lowerOnly(in.NodeId); ok {
		return f.lowerXattr(i, name, dest)
	}
	n, h, upper, err := f.openXattr(in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	if h == nil {
		if upper {
			return copyOut(dest, layerName(n, name))
		}
		return f.lowerXattr(n.lower, name, dest)
	}
	defer f.fds.put(h)
	k, err := n.readAttr(h.fd, layer.StoreXattr(name), dest)
	if err == syscall.ENODATA && name == layerXattr {
		return copyOut(dest, layerName(n, name))
	}
	return uint32(max(k, 0)), status(err)
}

// xattrOf is the value of an attribute of file id, "" if it has none.
func (f *FS) xattrOf(id uint64, name string) (string, error) {
	i, ok := f.ids.lowerOnly(id)
	if !ok {
		n, h, upper, err := f.openXattr(id)
		if err != nil {
			return "", err
		}
		if h != nil {
			defer f.fds.put(h)
			v, err := n.getAttr(h.fd, layer.StoreXattr(name))
			if err == syscall.ENODATA {
				err = nil
			}
			return v, err
		}
		if upper {
			return "", nil
		}
		i = n.lower
	}
	if f.x.HasXattrs(i) {
		for _, a := range f.x.Xattrs(i) {
			if a.Name == name {
				return a.Value, nil
			}
		}
	}
	return "", nil
}

// openXattr returns the node of id, whether it has an upper file, and that, if
// it has any attribute to show: most have none, and then nothing needs opening.
func (f *FS) openXattr(id uint64) (n *node, h *handle, upper bool, err error) {
	f.tree.RLock()
	defer f.tree.RUnlock()
	if n = f.ids.nodes[id]; n == nil {
		return nil, nil, false, syscall.ESTALE
	}
	if upper = n.hasUpper(); upper && n.hasXattrs() {
		h, err = f.open(n)
	}
	return n, h, upper, err
}

func (n *node) hasXattrs() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.xattrs
}

// layerName is the value of attribute name of an upper file that has none.
func layerName(n *node, name string) string {
	if name != layerXattr {
		return ""
	}
	if n.lower != noLower {
		return fmt.Sprintf("upper, from lower inode %d", n.lower)
	}
	return "upper"
}

func (f *FS) lowerXattr(i uint32, name string, dest []byte) (uint32, fuse.Status) {
	if f.x.HasXattrs(i) {
		for _, a := range f.x.Xattrs(i) {
			if a.Name == name {
				if a.Value == "" {
					return 0, fuse.OK
				}
				return copyOut(dest, a.Value)
			}
		}
	}
	if name == layerXattr {
		return copyOut(dest, fmt.Sprintf("layer %d", f.x.Inode(i).Layer))
	}
	return 0, fuse.ENODATA
}

// copyOut answers with s, which stands for "no attribute" if it is empty; an
// empty dest asks for the size.
func copyOut(dest []byte, s string) (uint32, fuse.Status) {
	switch {
	case s == "":
		return 0, fuse.ENODATA
	case len(dest) == 0:
		return uint32(len(s)), fuse.OK
	case len(dest) < len(s):
		return uint32(len(s)), fuse.ERANGE
	}
	return uint32(copy(dest, s)), fuse.OK
}

// ListXAttr is FUSE_LISTXATTR.
func (f *FS) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (size uint32, st fuse.Status) {
	c := f.begin(opListxattr, in, "")
	defer c.end(&st)
	if f.noXattrs {
		return 0, fuse.ENOSYS
	}
	var list []byte
	add := func(name string) { list = append(append(list, name...), 0) }
	i, ok := f.ids.lowerOnly(in.NodeId)
	if !ok {
		n, h, upper, err := f.openXattr(in.NodeId)
		if err != nil {
			return 0, status(err)
		}
		if h != nil {
			defer f.fds.put(h)
			names, err := n.listAttrs(h.fd)
			if err != nil {
				return 0, status(err)
			}
			for _, name := range names {
				shown, ok := layer.ShowXattr(name)
				value := ""
				if ok && isACL(shown) {
					value, _ = n.getAttr(h.fd, name) // what cannot be read is not listed
				}
				if ok && f.listed(shown, value, n.typ) {
					add(shown)
				}
			}
		}
		i, ok = n.lower, !upper
	}
	if ok {
		for _, a := range f.x.Xattrs(i) {
			if f.listed(a.Name, a.Value, f.x.Inode(i).Mode) {
				add(a.Name)
			}
		}
	}
	switch {
	case len(dest) == 0:
		return uint32(len(list)), fuse.OK
	case len(list) > xattrListMax:
		return 0, fuse.Status(syscall.E2BIG)
	case len(dest) < len(list):
		return uint32(len(list)), fuse.ERANGE
	}
	return uint32(copy(dest, list)), fuse.OK
}

// SetXAttr is FUSE_SETXATTR.
func (f *FS) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) (st fuse.Status) {
	c := f.begin(opSetxattr, &in.InHeader, "")
	defer c.end(&st)
	data = data[:min(len(data), int(in.Size))]
	return status(f.editXattr(in.NodeId, name, func(n *node, fd int) error {
		if name == aclAccess {
			s := n.stat
			if in.Uid != 0 && in.Gid != s.GID {
				s.Mode &^= syscall.S_ISGID // as chmod(2); posix_acl_update_mode in fs/posix_acl.c
			}
			return n.setACL(fd, data, s)
		}
		if err := n.setAttr(fd, layer.StoreXattr(name), data, int(in.Flags)); err != nil {
			return err
		}
		n.xattrs = true
		n.caps = n.caps || name == xattrCaps
		return nil
	}))
}

// RemoveXAttr is FUSE_REMOVEXATTR.
func (f *FS) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) (st fuse.Status) {
	c := f.begin(opRemovexattr, in, "")
	defer c.end(&st)
	if i, ok := f.ids.lowerOnly(in.NodeId); ok && f.root != nil && !f.x.HasXattrs(i) {
		return fuse.ENODATA
	}
	return status(f.editXattr(in.NodeId, name, func(n *node, fd int) error {
		if err := n.removeAttr(fd, layer.StoreXattr(name)); err != nil {
			return err
		}
		n.caps = n.caps && name != xattrCaps
		return nil
	}))
}

// editXattr runs edit with the upper file of id, n.mu locked.
func (f *FS) editXattr(id uint64, name string, edit func(n *node, fd int) error) error {
	if f.root != nil && !storable(name) {
		return syscall.ENOTSUP
	}
	return f.editUpper(id, func(n *node, fd int) error {
		defer f.timesAreReal(n)
		return edit(n, fd)
	})
}
