// What the drivers overlay and copy need before and after: a wall against others, attributes of the
// root, an empty work directory.

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// shut keeps others from what the kernel's overlayfs is going to write. When it returns, the
// directories are there that init mounts.
func (s *supervisor) shut() error {
	stands, err := wall(s.c.Wall(), s.ids)
	if err != nil || stands {
		return err
	}
	return s.closed(s.c.Dir())
}

// wall builds the wall of a container, Container.Wall, and what is behind it.
func wall(dir string, ids ns.IDMap) (stands bool, err error) {
	if stands, err = shutOut(dir, ids); err != nil {
		return false, err
	}
	// Behind it they are made only now, so that nobody has opened them before.
	for _, name := range []string{"upper", "work"} {
		path := filepath.Join(dir, name)
		// A container of an earlier version has them in its directory.
		if err = os.Rename(filepath.Join(filepath.Dir(dir), name), path); errors.Is(err, os.ErrNotExist) {
			err = os.Mkdir(path, 0o700)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return false, fmt.Errorf("make a directory for what the container changes: %w", err)
		}
	}
	return stands, nil
}

// shutOut makes a directory that others cannot enter. A file in it that is set-user-ID has that bit
// on this machine's disk and belongs to the user: whoever can execute it there becomes the user. So
// the directory belongs to a subordinate id, subuid(5), which is no user's: not even the owner's
// `chmod -R` opens it, chmod(2), and helpers enter by CAP_DAC_OVERRIDE. It does not stand if there
// is no such id; root has none, for its containers have those of all users.
func shutOut(dir string, ids ns.IDMap) (stands bool, err error) {
	stands = ids.HasUID(1) && ids.UIDs[0].Outside != 0
	if err = os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		err = nil
	}
	if err == nil && stands {
		err = os.Chown(dir, 1, int(ids.MapGID(1)))
	}
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		hint := "if " + dir + " belongs to an id that /etc/subuid does not give you any more, ask an administrator to give it back"
		var st unix.Stat_t
		if unix.Lstat(dir, &st) == nil && int(st.Uid) == os.Geteuid() {
			hint = "the disk takes no other owner than you, as NFS does: a container with --userns single has none, or set TIFFIN_RUN_ROOT to a directory on another disk"
		}
		return false, errs.Hint(fmt.Errorf("shut others out of the files of a container: %w", err), hint)
	}
	return stands, nil
}

// closed refuses a directory without a wall in it that others can enter.
func (s *supervisor) closed(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at a directory of container %s: %w", s.c.Name, err)
	}
	if open := st.Mode & 0o077; open != 0 {
		return errs.Hint(fmt.Errorf("others can enter a directory of container %s, and set-user-ID programs in it would be theirs to run: %s has mode %04o", s.c.Name, dir, st.Mode&0o7777),
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
func (s *supervisor) clearWork() { _ = os.RemoveAll(filepath.Join(s.c.WorkDir(), "work")) }
