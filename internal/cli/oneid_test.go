package cli_test

import (
	"bytes"
	"debug/elf"
	bits "encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Containers with one id, further: rare callers, and rights that others have changed.

// TestRareCallers: programs of 32 bits, processes without their first thread, descriptors for
// reference only. So it is with all rights, and without the filter of system calls.
func TestRareCallers(t *testing.T) {
	for _, p := range people(t) {
		for _, rights := range []string{"", "--privileged", "--security-opt=seccomp=unconfined"} {
			t.Run(p.name+rights, func(t *testing.T) {
				b := accountBench(t, p)
				args := []string{"run", "--userns", "single", "--name", "cc", "-v", b.probe + ":/account-probe:ro"}
				if rights != "" {
					args = append(args, rights)
				}
				if out, err := b.run(nil, append(args, "tiffin/base", "/account-probe", "rare")...); err != nil || out != "done\n" {
					t.Error(out, err)
				}
				got := b.owners()
				for name, want := range map[string]string{"w/leaderless": "7:8", "w/of32bits": "33:44", "w/path": "5:6"} {
					if name == "w/of32bits" && runtime.GOARCH != "amd64" {
						continue
					}
					if got[name] != want {
						t.Errorf("%s belongs to %q, want %q", name, got[name], want)
					}
				}
				b.tiffin("rm", "cc")
			})
		}
	}
}

// probeRare makes calls in ways that few programs do.
func probeRare() error {
	var s script
	s.ok("mkdir", os.Mkdir("/w", 0o777))
	for _, f := range []string{"path", "leaderless", "of32bits"} {
		s.ok("write", os.WriteFile("/w/"+f, nil, 0o644))
	}
	fd, err := unix.Open("/w/path", unix.O_PATH, 0)
	s.ok("open", err)
	s.fails("fchown for reference only", unix.EBADF, unix.Fchown(fd, 99, 99))
	s.ok("fchownat for reference only", unix.Fchownat(fd, "", 5, 6, unix.AT_EMPTY_PATH))
	_, _, errno := unix.RawSyscall(unix.SYS_FCHOWNAT, ^uintptr(99), 0, 33)
	s.fails("fchownat of no path", unix.EFAULT, errno)
	s.ok("without a first thread", run(self("leaderless")))
	if runtime.GOARCH == "amd64" {
		s.ok("write", os.WriteFile("/tmp/32", of32bits(), 0o755))
		s.ok("a 32-bit program", run(exec.Command("/tmp/32")))
	}
	return s.err
}

// of32bits is a program for i386: chown("/w/of32bits", 33, 44), setuid(33), getuid(). Its status is
// 0 if all is right.
func of32bits() []byte {
	const base, header = 0x400000, 52 + 32
	code := []byte{
		0xb8, 212, 0, 0, 0, 0xbb, 0, 0, 0, 0, 0xb9, 33, 0, 0, 0, 0xba, 44, 0, 0, 0, 0xcd, 0x80, // chown32(path, 33, 44)
		0x85, 0xc0, 0x75, 22, // not 0: to the end
		0xb8, 213, 0, 0, 0, 0xbb, 33, 0, 0, 0, 0xcd, 0x80, // setuid32(33)
		0xb8, 199, 0, 0, 0, 0xcd, 0x80, 0x83, 0xe8, 33, // getuid32() - 33
		0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80, // exit
	}
	bits.LittleEndian.PutUint32(code[6:], base+header+uint32(len(code)))
	code = append(code, "/w/of32bits\x00"...)
	h := elf.Header32{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_386), Version: 1, Entry: base + header,
		Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 1}
	copy(h.Ident[:], "\x7fELF\x01\x01\x01")
	size := uint32(header + len(code))
	p := elf.Prog32{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: size, Memsz: size, Flags: uint32(elf.PF_R | elf.PF_X), Align: 4096}
	var b bytes.Buffer
	_ = errors.Join(bits.Write(&b, bits.LittleEndian, h), bits.Write(&b, bits.LittleEndian, p))
	return append(b.Bytes(), code...)
}

// The first thread is that of the first goroutine if it is locked so early.
func init() {
	if len(os.Args) == 2 && os.Args[1] == "leaderless" {
		runtime.LockOSThread()
	}
}

// probeLeaderless makes a call when the first thread of the process is gone.
func probeLeaderless() {
	go func() {
		status := fmt.Sprintf("/proc/self/task/%d/status", os.Getpid())
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if text, _ := os.ReadFile(status); strings.Contains(string(text), "State:\tZ") {
				if err := unix.Chown("/w/leaderless", 7, 8); err != nil {
					fmt.Fprintln(os.Stderr, err)
					break
				}
				os.Exit(0)
			}
		}
		os.Exit(1)
	}()
	_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0) // of the thread alone: _exit(2)
}

// TestAUserWithoutRootsRights: a command runs as the user that is asked for, though root of its
// container may not become one: beside another container, whose ids it has, and by exec. The
// command itself, root or not, may change nothing.
func TestAUserWithoutRootsRights(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			b.tiffin("run", "-d", "--userns", "single", "--cap-drop", "ALL", "--name", "cc", "-v", b.probe+":/account-probe:ro", "tiffin/base", "sleep", "1000")
			defer b.tiffin("rm", "-f", "cc")
			beside := []string{"run", "--rm", "--network", "container:cc", "--cap-drop", "ALL", "-v", b.probe + ":/account-probe:ro"}
			within := []string{"exec"}
			for _, how := range [][]string{beside, append(beside[:len(beside):len(beside)], "--init"), within} {
				image := "tiffin/base"
				if how[0] == "exec" {
					image = "cc"
				}
				for _, c := range []struct{ flags, want string }{
					{"--user=1000:50", "1000 1000 1000, 50 50 50, [50]"},
					{"--user=1000:50 --group-add=7", "1000 1000 1000, 50 50 50, [50 7]"},
					{"--group-add=7", "0 0 0, 0 0 0, [0 7]"},
					{"--user=0", ""},
				} {
					if how[0] == "exec" && strings.Contains(c.flags, "group-add") {
						continue // exec has no such flag
					}
					args := append(append(how[:len(how):len(how)], strings.Fields(c.flags)...), image, "/account-probe", "bound")
					out, err := b.run(nil, args...)
					if err != nil || c.want != "" && out != c.want+"\ndone\n" {
						t.Errorf("%v: %q %v, want %q", args, out, err, c.want)
					}
				}
			}
		})
	}
}

// probeBound prints who this process is, if it cannot become another.
func probeBound() error {
	ur, ue, us := unix.Getresuid()
	gr, ge, gs := unix.Getresgid()
	groups, err := unix.Getgroups()
	if err != nil {
		return err
	}
	fmt.Printf("%d %d %d, %d %d %d, %v\n", ur, ue, us, gr, ge, gs, groups)
	var s script
	s.fails("setgroups", unix.EPERM, unix.Setgroups([]int{33}))
	s.fails("setresgid", unix.EPERM, unix.Setresgid(33, 33, 33))
	s.fails("setresuid", unix.EPERM, unix.Setresuid(33, 33, 33))
	return s.err
}

// TestSupervisorIsGone: whoever waits for an answer when the supervisor is killed does not wait
// for ever.
func TestSupervisorIsGone(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			b.tiffin("run", "-d", "--userns", "single", "--name", "cc", "-v", b.probe+":/account-probe:ro", "tiffin/base", "/account-probe", "chowner")
			for end := time.Now().Add(time.Minute); !strings.Contains(b.tiffin("diff", "cc"), "victim") && time.Now().Before(end); {
			}
			pid := strings.TrimSpace(b.tiffin("inspect", "-f", "{{.State.Pid}}", "cc"))
			var supervisor, helper []int
			waitFor(t, func() bool { // a child of it is like it until execve(2)
				if supervisor = supervisors(b.store()); len(supervisor) == 1 {
					helper = helpers(supervisor[0])
				}
				return len(helper) > 0
			})
			if err := syscall.Kill(supervisor[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				_, container := os.Stat("/proc/" + pid)
				_, help := os.Stat(fmt.Sprintf("/proc/%d", helper[0]))
				if container != nil && help != nil {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("process 1 of the container: %v; the helper: %v", container, help)
				}
			}
			if got := b.tiffin("wait", "cc"); got != "137\n" {
				t.Errorf("wait: %s", got)
			}
			b.tiffin("rm", "cc")
		})
	}
}

// TestAScriptForOneID: the script that does a run by hand can have the one id for root alone.
func TestAScriptForOneID(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			_, err := b.run(nil, "explain", "--script", "--userns", "single", "-u", "1000:50", "tiffin/base", "id")
			if err == nil || !strings.Contains(err.Error(), "a script cannot be user 1000:50") {
				t.Error(err)
			}
			needTools(t)
			script := b.tiffin("explain", "--script", "--userns", "single", "-u", "root", "tiffin/base", "sh", "-c", "id -u; stat -c %u /etc")
			if got := p.as(t, b.store(), script, "sh"); got != "0\n0\n" {
				t.Errorf("the script prints %q", got)
			}
		})
	}
}

// TestNestedEmulation: a container with one id in such a container. The inner one has no listener,
// so the outer one answers for it: its processes are who they say, and owners of files that
// it serves are not kept. A note says so.
func TestNestedEmulation(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			inner := filepath.Join(b.dir, "inner")
			program, err := os.ReadFile(binary)
			if err == nil {
				err = os.WriteFile(inner, program, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := b.run(nil, "run", "--userns", "single", "--name", "cc", "-v", inner+":/bin/tiffin:ro", "-v", b.probe+":/account-probe:ro", "--device", "/dev/fuse", "--security-opt", "seccomp=unconfined",
				"tiffin/base", "sh", "-c",
				"chown 5:6 /etc/group; tiffin run --name in -v /account-probe:/account-probe tiffin/base sh -c 'chown 33:44 /etc/group && echo given; /account-probe nested' && tiffin inspect in")
			if err != nil || !strings.HasPrefix(out, "given\ndone\n") || !strings.Contains(out, "keeps no owners of files in here") {
				t.Errorf("%s %v", out, err)
			}
			if got := b.owners()["etc/group"]; got != "5:6" {
				t.Errorf("/etc/group of the outer container belongs to %q", got)
			}
			b.tiffin("rm", "cc")
		})
	}
}

// TestOwnersAreShown: with full emulation stat(2) shows what chown(2) has said, in all its forms.
func TestOwnersAreShown(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			full := []string{"--userns", "single", "--root-emulation", "full", "-v", b.probe + ":/account-probe:ro", "tiffin/base"}
			if out, err := b.run(nil, append([]string{"run", "--rm"}, append(full, "/account-probe", "shown")...)...); err != nil || out != "done\n" {
				t.Error(out, err)
			}
			b.tiffin(append([]string{"run", "-d", "--name", "cc"}, append(full, "sleep", "1000")...)...)
			if got := b.tiffin("exec", "cc", "/account-probe", "shown"); got != "done\n" {
				t.Error(got)
			}
			b.tiffin("rm", "-f", "cc")
		})
	}
}

// probeShown looks at files of several owners.
func probeShown() error {
	var s script
	s.ok("mkdir", os.Mkdir("/w", 0o777))
	s.ok("write", os.WriteFile("/w/file", []byte("four"), 0o644))
	s.ok("symlink", os.Symlink("file", "/w/link"))
	s.ok("chown", unix.Chown("/w/file", 33, 44))
	s.ok("lchown", unix.Lchown("/w/link", 7, 8))
	s.ok("chown of a file of the image", unix.Chown("/etc/group", 12, 13))
	fd, err := unix.Open("/w/file", unix.O_RDONLY, 0)
	s.ok("open", err)
	reference, err := unix.Open("/w/file", unix.O_PATH, 0)
	s.ok("open for reference only", err)
	s.ok("chdir", os.Chdir("/w"))
	at := func(fd int, path string, flags int) func(*unix.Stat_t) error {
		return func(st *unix.Stat_t) error { return unix.Fstatat(fd, path, st, flags) }
	}
	for _, c := range []struct {
		what     string
		stat     func(*unix.Stat_t) error
		uid, gid uint32
	}{
		{"stat", func(st *unix.Stat_t) error { return unix.Stat("/w/link", st) }, 33, 44},
		{"lstat", func(st *unix.Stat_t) error { return unix.Lstat("link", st) }, 7, 8},
		{"fstat", func(st *unix.Stat_t) error { return unix.Fstat(fd, st) }, 33, 44},
		{"fstat for reference only", func(st *unix.Stat_t) error { return unix.Fstat(reference, st) }, 33, 44},
		{"fstatat", at(fd, "", unix.AT_EMPTY_PATH), 33, 44},
		{"fstatat of a link", at(unix.AT_FDCWD, "link", unix.AT_SYMLINK_NOFOLLOW), 7, 8},
		{"a file of the image", at(unix.AT_FDCWD, "../etc/group", 0), 12, 13},
		{"a file that is root's", at(unix.AT_FDCWD, "/etc/passwd", 0), 0, 0},
		{"a program", at(unix.AT_FDCWD, "/proc/self/exe", 0), 0, 0},
	} {
		var st unix.Stat_t
		s.ok(c.what, c.stat(&st))
		if c.what != "a program" && (st.Uid != c.uid || st.Gid != c.gid || st.Nlink != 1) {
			s.ok(c.what, fmt.Errorf("owner %d:%d, want %d:%d", st.Uid, st.Gid, c.uid, c.gid))
		}
	}
	var x unix.Statx_t
	s.ok("statx", unix.Statx(unix.AT_FDCWD, "/w/file", 0, unix.STATX_BASIC_STATS, &x))
	if x.Uid != 33 || x.Gid != 44 || x.Size != 4 {
		s.ok("statx", fmt.Errorf("owner %d:%d, %d bytes", x.Uid, x.Gid, x.Size))
	}
	s.fails("stat of what is missing", unix.ENOENT, unix.Stat("/w/nope", new(unix.Stat_t)))
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, ^uintptr(99), 8, 0, 0, uintptr(unsafe.Pointer(&x)), 0)
	s.fails("statx of a bad pointer", unix.EFAULT, errno)
	s.ok("a user who owns a file", run(as33(self("owned"))))
	return s.err
}

// probeOwned is user 33, whom /w/file belongs to.
func probeOwned() error {
	var st unix.Stat_t
	err := unix.Stat("/w/file", &st)
	if err == nil && int(st.Uid) != os.Geteuid() {
		err = fmt.Errorf("the file is user %d's, this process is %d's", st.Uid, os.Geteuid())
	}
	return err
}
