// The system calls that are handed over, and what the filter looks at.

//go:build amd64 || arm64

package emulation

import "golang.org/x/sys/unix"

// archs are the architectures whose programs the kernel can run here: this one, whose older calls
// are in calls_*.go, and its 32-bit one.
var archs = []arch{{native, append(older,
	call{unix.SYS_FCHOWN, "fchown", owner, 1},
	call{unix.SYS_FCHOWNAT, "fchownat", owner, 2},
	call{unix.SYS_MKNODAT, "mknodat", device, 2},
	call{unix.SYS_SETUID, "setuid", always, 0},
	call{unix.SYS_SETGID, "setgid", always, 0},
	call{unix.SYS_SETREUID, "setreuid", always, 0},
	call{unix.SYS_SETREGID, "setregid", always, 0},
	call{unix.SYS_SETRESUID, "setresuid", always, 0},
	call{unix.SYS_SETRESGID, "setresgid", always, 0},
	call{unix.SYS_SETFSUID, "setfsuid", always, 0},
	call{unix.SYS_SETFSGID, "setfsgid", always, 0},
	call{unix.SYS_SETGROUPS, "setgroups", always, 0},
	call{unix.SYS_GETUID, "getuid", ask, 0},
	call{unix.SYS_GETEUID, "geteuid", ask, 0},
	call{unix.SYS_GETGID, "getgid", ask, 0},
	call{unix.SYS_GETEGID, "getegid", ask, 0},
	call{unix.SYS_GETRESUID, "getresuid", ask, 0},
	call{unix.SYS_GETRESGID, "getresgid", ask, 0},
	call{unix.SYS_GETGROUPS, "getgroups", ask, 0},
	call{unix.SYS_PRCTL, "prctl", keep, 0},
	call{unix.SYS_PRLIMIT64, "prlimit64", limit, 1},
	call{unix.SYS_SETRLIMIT, "setrlimit", limit, 0},
	call{unix.SYS_FSTAT, "fstat", look, 0},
	call{unix.SYS_STATX, "statx", look, 0},
)}, {compat, append(compatOwn,
	// i386 and Arm have these numbers in common. Those with 16-bit ids, of C libraries before 2000,
	// are left to the kernel: syscall(2); chown(2), "C library/kernel differences".
	call{212, "chown", owner, 1},
	call{198, "lchown", owner, 1},
	call{207, "fchown", owner, 1},
	call{14, "mknod", device, 1},
	call{213, "setuid", always, 0},
	call{214, "setgid", always, 0},
	call{203, "setreuid", always, 0},
	call{204, "setregid", always, 0},
	call{208, "setresuid", always, 0},
	call{210, "setresgid", always, 0},
	call{215, "setfsuid", always, 0},
	call{216, "setfsgid", always, 0},
	call{206, "setgroups", always, 0},
	call{199, "getuid", ask, 0},
	call{201, "geteuid", ask, 0},
	call{200, "getgid", ask, 0},
	call{202, "getegid", ask, 0},
	call{209, "getresuid", ask, 0},
	call{211, "getresgid", ask, 0},
	call{205, "getgroups", ask, 0},
	call{172, "prctl", keep, 0},
	call{75, "setrlimit", limit, 0},
)}}
