// What this architecture calls otherwise, and the calls of 32-bit Arm.

package emulation

import "golang.org/x/sys/unix"

const (
	native = unix.AUDIT_ARCH_AARCH64
	compat = unix.AUDIT_ARCH_ARM
)

var older = []call{{unix.SYS_FSTATAT, "newfstatat", look, 0}}

var compatOwn = []call{{325, "fchownat", owner, 2}, {324, "mknodat", device, 2}, {369, "prlimit64", limit, 1}}
