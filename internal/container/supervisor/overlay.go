// What the overlay driver needs before and after: attributes of the root, an empty work
// directory.

package supervisor

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// closed refuses a container whose directory others can enter. A file that the command makes
// set-user-ID has that bit on this machine's disk and belongs to the user: whoever can execute it
// there becomes the user.
func (s *supervisor) closed() error {
	dir := s.c.Dir()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at the directory of container %s: %w", s.c.Name, err)
	}
	if open := st.Mode & 0o077; open != 0 {
		return errs.Hint(fmt.Errorf("others can enter the directory of container %s, and with --driver overlay its set-user-ID programs would be theirs to run: %s has mode %04o", s.c.Name, dir, st.Mode&0o7777),
			"chmod 700 "+dir)
	}
	return nil
}

// prepareUpper gives a new upper directory what the image's root directory has: the root of an
// overlay mount is shown as the root of its upper directory is. It is called in the user
// namespace, and marks what it has done.
func prepareUpper(dir string, x *layer.Index, ids ns.IDMap) error {
	fail := func(err error) error {
		return errs.Hint(fmt.Errorf("prepare the upper directory %s: %w", dir, err), "its file system must take extended attributes user.*; see xattr(7)")
	}
	if _, err := unix.Getxattr(dir, layer.XattrOrigin, nil); err == nil {
		return nil // by an earlier run; root in the container may have changed it since
	}
	root := x.Inode(0)
	if err := os.Chown(dir, int(ids.MapUID(root.UID)), int(ids.MapGID(root.GID))); err != nil {
		return fail(err)
	}
	if err := unix.Chmod(dir, root.Mode&0o7777); err != nil {
		return fail(err)
	}
	when := time.Unix(root.Mtime, int64(root.Nsec))
	if err := os.Chtimes(dir, when, when); err != nil {
		return fail(err)
	}
	if err := unix.Setxattr(dir, layer.XattrOrigin, []byte("0"), 0); err != nil {
		return fail(err)
	}
	return nil
}

// clearWork removes what overlayfs has left in the work directory: a directory that only root in
// the user namespace may enter, so that `rm -rf` of the store would stumble over it.
func (s *supervisor) clearWork() { _ = os.RemoveAll(s.c.Path("work/work")) }
