// Calls that newer architectures do without.

package emulation

import "golang.org/x/sys/unix"

const native = unix.AUDIT_ARCH_X86_64

var older = []call{
	{unix.SYS_CHOWN, "chown", owner, 1},
	{unix.SYS_LCHOWN, "lchown", owner, 1},
	{unix.SYS_MKNOD, "mknod", device, 1},
}
