// This architecture has no older calls; those of 32-bit Arm.

package emulation

import "golang.org/x/sys/unix"

const (
	native = unix.AUDIT_ARCH_AARCH64
	compat = unix.AUDIT_ARCH_ARM
)

var older []call

var compatOwn = []call{{325, "fchownat", owner, 2}, {324, "mknodat", device, 2}, {369, "prlimit64", limit, 1}}
