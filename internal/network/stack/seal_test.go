package stack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/reexec"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, reexec.Parts{"sealed": reexec.Fails(sealed)}))
}

// TestSeal: what the program cannot do any more, and what it still can. Each attempt but those on
// other processes would succeed for an ordinary user.
func TestSeal(t *testing.T) {
	if architectures[runtime.GOARCH] == 0 {
		t.Skip("there is no filter for this architecture")
	}
	for _, without := range []bool{false, true} {
		out, err := reexec.Command("sealed", fmt.Sprint(without)).CombinedOutput()
		if !without && (err != nil || len(out) > 0) {
			t.Errorf("sealed, it still can, or cannot do what it must: %s%v", out, err)
		}
		if without && strings.Count(string(out), "\n") < 8 {
			t.Errorf("the attempts prove nothing, since without the seal only these succeed:\n%s", out)
		}
	}
}

// sealed tries what a stranger would who has taken the program over.
func sealed(args []string) error {
	if args[0] == "false" {
		if err := seal(); err != nil {
			return err
		}
	}
	socket := func(family, kind int) error {
		fd, err := unix.Socket(family, kind, 0)
		unix.Close(fd)
		return err
	}
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags, 0o600)
		unix.Close(fd)
		return err
	}
	call := func(number uintptr, args ...uintptr) error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
	name, _ := unix.BytePtrFromString("x")
	parent := uintptr(os.Getppid())
	var limit unix.Rlimit
	for what, err := range map[string]error{
		"reach a Unix socket":             socket(unix.AF_UNIX, unix.SOCK_STREAM),
		"ask the kernel for its routes":   socket(unix.AF_NETLINK, unix.SOCK_RAW),
		"write to a file":                 open(os.DevNull, unix.O_WRONLY),
		"write and read a file":           open(os.DevNull, unix.O_RDWR),
		"make a file":                     open(os.TempDir(), unix.O_TMPFILE|unix.O_WRONLY),
		"make a file in memory":           call(unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(name)), 0),
		"execute a program":               unix.Exec("/nowhere", []string{"x"}, nil),
		"make a user namespace":           call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"signal its parent":               unix.Kill(int(parent), 0),
		"signal a thread of its parent":   unix.Tgkill(int(parent), int(parent), 0),
		"be signalled for what others do": call(unix.SYS_FCNTL, 0, unix.F_SETOWN, parent),
		"see the limits of its parent":    call(unix.SYS_PRLIMIT64, parent, unix.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&limit))),
		"read its parent's memory":        call(unix.SYS_PROCESS_VM_READV, parent),
		"trace its parent":                call(unix.SYS_PTRACE, unix.PTRACE_PEEKUSR, parent),
		"use io_uring":                    call(unix.SYS_IO_URING_SETUP, 1, 0),
		"ask a terminal":                  call(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0),
		"have another root directory":     unix.Chroot("/"),
		"be another user":                 call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), ^uintptr(0)),
	} {
		if !errors.Is(err, unix.EPERM) {
			fmt.Println(what)
		}
	}
	u, err := net.Dial("udp", "127.0.0.1:9")
	if err == nil {
		u.Close()
		_, err = os.ReadFile("/proc/self/stat")
	}
	done := make(chan bool)
	for range 8 {
		go func() {
			runtime.LockOSThread() // a thread for each
			done <- true
		}()
	}
	for range 8 {
		<-done
	}
	return err
}
