// Here 32-bit programs meet the filter.

package ns

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// sockets32 makes a socket of some families by each of the two ways that i386 has: socket(2), and
// socketcall(2) with SYS_SOCKET of linux/net.h.
const sockets32 = `package main

import (
	"syscall"
	"unsafe"
)

func main() {
	for _, f := range []struct {
		name   string
		family uintptr
	}{{"unix", 1}, {"alg", 38}, {"vsock", 40}} {
		const stream, seqpacket = 1, 5
		kind := uintptr(stream)
		if f.family == 38 {
			kind = seqpacket
		}
		_, _, errno := syscall.RawSyscall(359, f.family, kind, 0)
		say(f.name+" socket", errno)
		args := [3]uintptr{f.family, kind, 0}
		_, _, errno = syscall.RawSyscall(102, 1, uintptr(unsafe.Pointer(&args)), 0)
		say(f.name+" socketcall", errno)
	}
}

func say(what string, errno syscall.Errno) {
	switch errno {
	case 0:
		println(what, "made")
	case syscall.EPERM:
		println(what, "EPERM")
	case syscall.ENOSYS:
		println(what, "ENOSYS")
	default:
		println(what, int(errno))
	}
}
`

func TestSocketsOf32BitPrograms(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("i386 programs run on amd64")
	}
	each(t, func(t *testing.T, s *sandbox) {
		source := filepath.Join(s.dir, "sockets.go")
		if err := os.WriteFile(source, []byte(sockets32), 0o644); err != nil {
			t.Fatal(err)
		}
		build := exec.Command("go", "build", "-o", s.path("root/bin/sockets"), source)
		build.Env = append(os.Environ(), "GOARCH=386", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		j := s.job()
		j.Spec.Process.Args = []string{"/bin/sockets"}
		want(t, "with the filter", s.ok(j).Stderr,
			"unix socket made\nunix socketcall ENOSYS\nalg socket EPERM\nalg socketcall ENOSYS\nvsock socket EPERM\nvsock socketcall ENOSYS\n")
		j.Spec.Process.NoSeccomp = true
		if out := s.ok(j); !strings.HasPrefix(out.Stderr, "unix socket made\nunix socketcall made\n") {
			t.Errorf("without the filter: %s", out.Stderr)
		}
	})
}
