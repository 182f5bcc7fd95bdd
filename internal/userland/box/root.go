// The command chroot, and why it locks nobody in by itself.

package box

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// chroot: run a command with another root directory: chroot(2). That alone
// locks nobody in. The root directory and the working directory are two
// pointers of a process; the call moves only the first, and "..", which stops
// at the root directory, never meets it on the way up from a working directory
// that is outside (chroot(2), NOTES). So the command moves both, as that of
// coreutils does; --skip-chdir shows what happens otherwise.
func chroot(c *Call) {
	c.optsFirst("W", "skip-chdir=W")
	c.need(1, -1)
	if err := syscall.Chroot(c.args[0]); err != nil {
		c.die(125, "%s: %s", c.args[0], reason(err))
	}
	if !c.has('W') {
		if err := os.Chdir("/"); err != nil {
			c.die(125, "/: %s", reason(err))
		}
	}
	argv := c.args[1:]
	if len(argv) == 0 {
		argv = []string{"/bin/sh", "-i"}
	}
	c.become(argv, os.Environ())
}

// pivot_root: make a mount the root of the mount namespace and put the old root
// below it, or with "pivot_root . ." on top of it: pivot_root(2), NOTES. It
// moves the mounts, and with them every process that was at the old root.
func pivotRoot(c *Call) {
	c.opts("")
	c.need(2, 2)
	switch err := unix.PivotRoot(c.args[0], c.args[1]); err {
	case nil:
	case unix.EINVAL:
		c.die(1, "%s: %s (is it a mount point, and its parent not shared?)", c.args[0], reason(err))
	default:
		c.die(1, "%s: %s", c.args[0], reason(err))
	}
}
