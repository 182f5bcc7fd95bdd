// The system calls that are handed over, and what the filter looks at.

//go:build amd64 || arm64

package emulation

import "golang.org/x/sys/unix"

// calls are those of this architecture; older ones are in calls_*.go.
var calls = append(older,
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
)
