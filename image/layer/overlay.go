// An upper directory as the kernel's overlayfs writes it.

package layer

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// KernelUpper says how to read the upper directory of the kernel's overlayfs, mounted with
// userxattr in a user namespace. It must be read in such a namespace with the same id maps: the
// files have the owners, modes and types that the container sees, and what differs from tiffin's
// own format is
//
//	a character device 0:0     its name is deleted from the lower directory
//	user.overlay.opaque = "y"  on a directory: nothing of the lower one shows
//	all else in user.overlay.  ignored: where a file was copied from, what is mixed
//
// (the kernel's Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories" and
// "User xattr"). A directory without the mark continues the lower one of the same path; with
// userxattr there are neither redirects nor metacopies.
type KernelUpper struct {
	// MapUID and MapGID give the owner that a lower file is shown with, as fs.Config has them. A
	// copied-up file that still has that owner keeps the one it has in the image, which the user
	// namespace may not know.
	MapUID, MapGID func(uint32) uint32
	// Whole says that the directory is not what differs from the image but all of the container's
	// files, as Unpacker has made them and the container has left them.
	Whole bool
}

// OverlayMarks begins the names of the attributes by which the kernel's overlayfs, mounted with
// userxattr, remembers things.
const OverlayMarks = "user.overlay."

const (
	overlayOpaque = OverlayMarks + "opaque"
	capsXattr     = "security.capability"
)

// whiteout is ParseWhiteout for the kernel's form.
func (k *KernelUpper) whiteout(dirfd int, name string) (gone string, ok bool, err error) {
	if k.Whole {
		return "", false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", false, err
	}
	return name, st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0, nil
}

// kernelAttr applies one attribute of a file of the kernel's.
func (r *upReader) kernelAttr(n *upNode, a Xattr, _ uint32) error {
	switch {
	case a.Name == overlayOpaque:
		n.opaque = a.Value == "y" // "x": may contain whiteouts in the form of attributes, which the kernel itself never makes
	case a.Name == OverlayMarks+"redirect", a.Name == OverlayMarks+"metacopy":
		return fmt.Errorf("attribute %s was not made by a mount with userxattr; is this the upper directory of another?", a.Name)
	case strings.HasPrefix(a.Name, OverlayMarks), a.Name == XattrOrigin:
	default:
		n.xattrs = append(n.xattrs, a)
	}
	return nil
}

// continues finds the lower file that n, called name in directory d and open as fd, continues: for
// a directory, the lower one it is merged with. n has its owner from the disk, which may be a
// stand-in for the true one.
func (r *upReader) continues(d *upNode, name string, n *upNode, fd int) error {
	i, ok := r.lower(d, name)
	if !ok {
		return nil
	}
	r.owner(n, i)
	if n.isDir() && !n.opaque && r.u.Lower.Inode(i).IsDir() {
		n.hasOrigin, n.origin = true, i
	}
	if !r.u.Kernel.Whole {
		return nil
	}
	same, err := r.same(n, i, fd)
	if same {
		n.same, n.lower = true, i
	}
	return err
}

// lower finds what the image has under a name, if the upper is the kernel's.
func (r *upReader) lower(d *upNode, name string) (i uint32, ok bool) {
	if r.u.Kernel == nil || r.u.Lower == nil || !d.hasOrigin {
		return 0, false
	}
	return r.u.Lower.Lookup(d.origin, name)
}

// owner gives n the owner of lower inode i, if it is shown with the same.
func (r *upReader) owner(n *upNode, i uint32) {
	in, k := r.u.Lower.Inode(i), r.u.Kernel
	if k.MapUID(in.UID) == n.stat.UID {
		n.stat.UID = in.UID
	}
	if k.MapGID(in.GID) == n.stat.GID {
		n.stat.GID = in.GID
	}
}
