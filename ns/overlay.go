// This file mounts the kernel's overlayfs over what the step "root" has mounted: Root.Overlay.
//
// Seen on Linux 6.18: overlayfs takes a FUSE mount of the same user namespace as its lower side.
// It asks that for STATFS and extended attributes, and from then on for names and bytes only. Its
// lower mount is a private clone, so that the server's mount may go with the old root, and the
// server is asked until the overlay is unmounted.

package ns

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

func skipOverlay(b *builder) string {
	return skipIf(b.spec.Root.Overlay == nil, "the root takes changes itself: --driver fuse or copy")
}

func runOverlay(b *builder) error {
	o, target := b.spec.Root.Overlay, b.spec.Root.Target
	// overlayfs.rst, "User xattr": trusted.* is not for us, so its marks are user.overlay.*. It
	// implies that directories of a lower layer cannot be renamed (EXDEV) and that chmod(2)
	// copies the whole file. "Inode properties": with xino d_ino of readdir(3) is st_ino, though
	// layers and upper directory are two file systems.
	data := "userxattr,xino=on,lowerdir=" + overlayPath(target) + ",upperdir=" + overlayPath(o.Upper) + ",workdir=" + overlayPath(o.Work)
	flags := b.rootFlags()
	err := unix.Mount("overlay", target, "overlay", flags, data)
	if b.call(err, "mount(\"overlay\", %q, \"overlay\", %s, %q)", target, mountFlags(flags), data) != nil {
		return overlayError(err, o) // without the call, which is three long paths
	}
	return b.openRoot()
}

// overlayPath escapes what separates options, and layers, in the data of an overlay mount:
// overlayfs.rst, "Multiple lower layers". A backslash stands before what it takes literally.
func overlayPath(p string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(p)
}

// overlayError says why the kernel may have refused.
func overlayError(err error, o *OverlayMount) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return errs.Hint(fmt.Errorf("this kernel has no overlayfs: %w", err), "modprobe overlay, as root; --driver fuse, the default, does without")
	case errors.Is(err, unix.EINVAL):
		return errs.Hint(fmt.Errorf("the kernel's overlayfs cannot have its upper directory in %s: %w", path.Dir(o.Upper), err),
			"that file system must take user.* attributes and be no overlay itself; --driver fuse, the default, asks for less; see the kernel's Documentation/filesystems/overlayfs.rst, \"Upper and Lower\"")
	}
	return fmt.Errorf("mount the kernel's overlayfs: %w", err)
}

func byHandOverlay(s *Spec) string {
	return `mkdir "$WORK/upper" "$WORK/work"` + "\n" +
		`mount -t overlay -o ` + s.rootOptions() + `,userxattr -o lowerdir="$LAYERS" -o upperdir="$WORK/upper" -o workdir="$WORK/work" overlay "$ROOT"`
}
