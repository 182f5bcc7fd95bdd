// Calls that newer architectures do without, and those of i386.

package emulation

import "golang.org/x/sys/unix"

const (
	native = unix.AUDIT_ARCH_X86_64
	compat = unix.AUDIT_ARCH_I386
)

var older = []call{
	{unix.SYS_CHOWN, "chown", owner, 1},
	{unix.SYS_LCHOWN, "lchown", owner, 1},
	{unix.SYS_MKNOD, "mknod", device, 1},
	{unix.SYS_STAT, "stat", look, 0},
	{unix.SYS_LSTAT, "lstat", look, 0},
	{unix.SYS_NEWFSTATAT, "newfstatat", look, 0},
}

var compatOwn = []call{{298, "fchownat", owner, 2}, {297, "mknodat", device, 2}, {340, "prlimit64", limit, 1}}
