// This architecture has no older calls.

package emulation

import "golang.org/x/sys/unix"

const native = unix.AUDIT_ARCH_AARCH64

var older []call
