// System calls by RawSyscall on names that already end
// in a zero byte. Nothing is allocated, and the scheduler is not told, which is
// right as long as this is the only goroutine and collection is off.

package main

import (
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quiet makes the process one thread that nothing interrupts. Not SIGURG
// either, by which the runtime preempts what takes longer than 10 ms: a signal
// makes a FUSE request send an INTERRUPT after it, and makes overlayfs begin the
// copy of a large file again, for ever.
func quiet() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	var set unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGURG - 1)
	check(unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil))
}

// cname is a file name with a zero byte at its end.
type cname []byte

func toC(s string) cname { return append([]byte(s), 0) }

const atCwd = ^uintptr(99) // AT_FDCWD, -100, as a register holds it

func fail(e syscall.Errno, what string, name cname) {
	if e != 0 {
		panic(failure{what, string(name[:len(name)-1]), e})
	}
}

// failure ends a workload; runWorkload recovers it.
type failure struct {
	what, name string
	err        error
}

func openC(p cname, flags int, mode uint32) int {
	fd, _, e := syscall.RawSyscall6(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(&p[0])), uintptr(flags), uintptr(mode), 0, 0)
	fail(e, "open", p)
	return int(fd)
}

func closeC(fd int) {
	if _, _, e := syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); e != 0 {
		panic(failure{"close", "", e})
	}
}

func readC(fd int, b []byte) int {
	n, _, e := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if e != 0 {
		panic(failure{"read", "", e})
	}
	return int(n)
}

func preadC(fd int, b []byte, off int64) {
	n, _, e := syscall.RawSyscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(off), 0, 0)
	if e != 0 || int(n) != len(b) {
		panic(failure{"pread", "", e})
	}
}

func writeC(fd int, b []byte) {
	n, _, e := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if e != 0 || int(n) != len(b) {
		panic(failure{"write", "", e})
	}
}

func pwriteC(fd int, b []byte, off int64) {
	n, _, e := syscall.RawSyscall6(unix.SYS_PWRITE64, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(off), 0, 0)
	if e != 0 || int(n) != len(b) {
		panic(failure{"pwrite", "", e})
	}
}

var statBuf unix.Stat_t

func statC(p cname) { fail(missing(p), "stat", p) }

// missing is newfstatat(2), which a libc's lstat and ls call.
func missing(p cname) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_NEWFSTATAT, atCwd, uintptr(unsafe.Pointer(&p[0])), uintptr(unsafe.Pointer(&statBuf)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	return e
}

func mkdirC(p cname) {
	_, _, e := syscall.RawSyscall(unix.SYS_MKDIRAT, atCwd, uintptr(unsafe.Pointer(&p[0])), 0o755)
	fail(e, "mkdir", p)
}

func unlinkC(p cname, flags int) {
	_, _, e := syscall.RawSyscall(unix.SYS_UNLINKAT, atCwd, uintptr(unsafe.Pointer(&p[0])), uintptr(flags))
	fail(e, "unlink", p)
}

func renameC(from, to cname) {
	_, _, e := syscall.RawSyscall6(unix.SYS_RENAMEAT2, atCwd, uintptr(unsafe.Pointer(&from[0])), atCwd, uintptr(unsafe.Pointer(&to[0])), 0, 0)
	fail(e, "rename", from)
}

var dirBuf [32 << 10]byte // what glibc's readdir(3) uses

// eachEntry reads directory p and calls fn for every entry but . and ..
func eachEntry(p cname, fn func(name []byte, typ byte)) {
	fd := openC(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&dirBuf[0])), uintptr(len(dirBuf)))
		fail(e, "getdents", p)
		if n == 0 {
			break
		}
		for b := dirBuf[:n]; len(b) > 0; {
			// struct linux_dirent64, getdents(2): ino 8, off 8, reclen 2, type 1, name.
			rec := int(b[16]) | int(b[17])<<8
			name := b[19:rec]
			end := 0
			for name[end] != 0 {
				end++
			}
			if s := name[:end]; string(s) != "." && string(s) != ".." {
				fn(s, b[18])
			}
			b = b[rec:]
		}
	}
	closeC(fd)
}
