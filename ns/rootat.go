// The root of another process among one's own files: tools of this machine, among them runtimes,
// find it at a path of their own mount namespace.
//
// A mount belongs to one mount namespace, and mount(2) binds none of another's. But open_tree(2)
// makes a copy that belongs to nobody yet, and move_mount(2) puts it where the caller then is
// (mount_setattr(2), EXAMPLES, shows both). What serves a FUSE root does not see the copy: it is in
// a new mount namespace, and nothing is propagated out of there.

package ns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// rootAt appends the calls that show the root of the process pidfd at a path. enter says that its
// user namespace is another.
func (e *Enter) rootAt(p *program, pidfd int, enter bool) error {
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find this directory: %w", err)
	}
	// A descriptor for one's own mount namespace, which is not there yet: its number is kept.
	kept, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	if enter {
		// FUSE serves the user namespace that has mounted it, and those below: mount.fuse(8),
		// allow_other.
		p.add(plainCall, "setns(CLONE_NEWUSER)", nil, unix.SYS_SETNS, uintptr(pidfd), unix.CLONE_NEWUSER)
		p.add(plainCall, "setresgid(0, 0, 0)", nil, unix.SYS_SETRESGID, 0, 0, 0)
		p.add(plainCall, "setresuid(0, 0, 0)", nil, unix.SYS_SETRESUID, 0, 0, 0)
	}
	here := unix.AT_FDCWD
	p.add(plainCall, "unshare(CLONE_NEWNS)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWNS)
	p.mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, nil)
	p.add(opensFile, "open /proc/self/ns/mnt", nil, unix.SYS_OPENAT, uintptr(here), p.str("/proc/self/ns/mnt"), unix.O_RDONLY|unix.O_CLOEXEC)
	p.add(onFile, "dup3", nil, unix.SYS_DUP3, 0, uintptr(kept), unix.O_CLOEXEC)
	p.add(plainCall, "setns(CLONE_NEWNS)", nil, unix.SYS_SETNS, uintptr(pidfd), unix.CLONE_NEWNS)
	p.add(opensFile, `open_tree("/", OPEN_TREE_CLONE)`, nil, unix.SYS_OPEN_TREE, uintptr(here), p.str("/"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	p.add(plainCall, "setns(CLONE_NEWNS)", nil, unix.SYS_SETNS, uintptr(kept), unix.CLONE_NEWNS)
	p.add(plainCall, "chdir "+cwd, nil, unix.SYS_CHDIR, p.str(cwd))
	p.add(onFile, "show the root at "+e.RootAt, func(err error) error {
		err = fmt.Errorf("show the root at %s: move_mount: %w", e.RootAt, err)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			err = errs.Hint(err, "it is to be a directory that is there")
		}
		return err
	}, unix.SYS_MOVE_MOUNT, 0, p.str(""), uintptr(here), p.str(e.RootAt), unix.MOVE_MOUNT_F_EMPTY_PATH)
	return nil
}
