package cli_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The probe of account_test.go: what it tries of owners and identities from inside a container.

// accountProbe is the main function of this binary in a container.
func accountProbe() {
	var err error
	switch os.Args[1] {
	case "owners":
		err = probeOwners()
	case "identities":
		err = probeIdentities()
	case "hostile":
		err = probeHostile()
	case "busy":
		err = busy(os.Args[2:])
	case "chowner":
		err = probeChowner()
	case "nested":
		err = run(as33(self("touch", "/tmp/new")))
	case "owned":
		err = probeOwned()
	case "shown":
		err = probeShown()
	case "rare":
		err = probeRare()
	case "bound":
		err = probeBound()
	case "leaderless":
		probeLeaderless()
	case "touch": // in a child that has become another user
		err = errors.Join(os.WriteFile(os.Args[2], nil, 0o644), wantIDs(33, 44))
	case "idle":
		for {
			_ = unix.Chown("/w/victim", 3, 3)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if os.Args[1] != "touch" {
		fmt.Println("done")
	}
}

// self is this program with other arguments.
func self(args ...string) *exec.Cmd {
	cmd := exec.Command("/account-probe", args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// as33 makes a command run as user 33 and group 44.
func as33(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 33, Gid: 44}}
	return cmd
}

func run(cmd *exec.Cmd) error {
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return nil
}

func wantIDs(uid, gid int) error {
	if os.Getuid() != uid || os.Geteuid() != uid || os.Getgid() != gid || os.Getegid() != gid {
		return fmt.Errorf("ids are %d %d %d %d, want %d and %d", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), uid, gid)
	}
	return nil
}

// script collects the first error.
type script struct{ err error }

func (s *script) ok(what string, err error) {
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (s *script) fails(what string, want, err error) {
	if err != want && s.err == nil {
		s.err = fmt.Errorf("%s: %v, want %v", what, err, want)
	}
}

func probeOwners() error {
	var s script
	for _, d := range []string{"/w", "/w/user", "/w/dir", "/w/jail", "/w/jail/w"} {
		s.ok("mkdir", os.Mkdir(d, 0o777))
	}
	for _, f := range []string{"file", "group", "again", "fd", "below", "target", "jail/in"} {
		s.ok("write", os.WriteFile("/w/"+f, []byte("x"), 0o644))
	}
	s.ok("symlink", os.Symlink("/w/target", "/w/link"))
	s.ok("chown", unix.Chown("/w/file", 33, 44))
	s.ok("chmod", os.Chmod("/w/file", 0o6755))
	s.ok("chown", unix.Chown("/w/file", -1, 44))
	if st, err := os.Stat("/w/file"); err != nil || st.Mode()&os.ModeSetuid != 0 {
		s.ok("the set-user-ID bit after chown", fmt.Errorf("%v %w", st.Mode(), err))
	}
	s.ok("chown", unix.Chown("/w/group", -1, 44))
	s.ok("chown", unix.Chown("/w/again", 33, 44))
	s.ok("chown", unix.Chown("/w/again", 0, 0))
	s.ok("lchown", unix.Lchown("/w/link", 7, 8))
	s.ok("chdir", os.Chdir("/w/user"))
	s.ok("chown of a relative name", unix.Chown("../dir", 5, -1))
	s.ok("chown of a file of the image", unix.Chown("/etc/group", 12, 13))
	f, err := os.OpenFile("/w/fd", os.O_RDWR, 0)
	s.ok("open", err)
	s.ok("fchown", unix.Fchown(int(f.Fd()), 1, 2))
	dir, err := os.Open("/w/dir")
	s.ok("open", err)
	s.ok("fchownat", unix.Fchownat(int(dir.Fd()), "../below", 9, 9, 0))
	s.ok("chown by /proc/self/fd", unix.Chown(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), 1, 2))
	s.fails("chown of what is missing", unix.ENOENT, unix.Chown("/w/nope", 1, 1))
	s.fails("chown below a file", unix.ENOTDIR, unix.Chown("/w/fd/x", 1, 1))
	s.fails("fchown of nothing", unix.EBADF, unix.Fchown(99, 1, 1))
	s.fails("fchownat with a flag", unix.EINVAL, unix.Fchownat(-100, "/w/fd", 1, 1, 0x4000000))
	s.fails("chown by a bad pointer", unix.EFAULT, badPointer())
	s.fails("chown on a read-only file system", unix.EROFS, unix.Chown("/proc/sys/kernel", 1, 1))
	s.ok("chown elsewhere", unix.Chown("/dev/shm", 1, 1))

	s.ok("mknod", unix.Mknod("/w/null", unix.S_IFCHR|0o666, int(unix.Mkdev(31, 3))))
	s.ok("mknodat", unix.Mknodat(int(dir.Fd()), "../loop", unix.S_IFBLK|0o660, int(unix.Mkdev(47, 0))))
	var st unix.Stat_t
	s.ok("stat", unix.Lstat("/w/loop", &st))
	if st.Mode != unix.S_IFBLK|0o640 || st.Rdev != unix.Mkdev(47, 0) {
		s.ok("a device", fmt.Errorf("mode %o, number %#x", st.Mode, st.Rdev))
	}
	s.fails("mknod of what is there", unix.EEXIST, unix.Mknod("/w/null", unix.S_IFCHR, 1))
	s.fails("mknod of nothing", unix.ENOENT, unix.Mknod("", unix.S_IFCHR, 1))

	s.ok("a child", run(as33(self("touch", "/w/user/file"))))
	s.ok("a child of a child", run(as33(exec.Command("/bin/sh", "-c",
		"mkdir dir; ln -s x link; (sh -c '/account-probe touch /w/user/grandchild &' &); while ! [ -e grandchild ]; do :; done"))))
	s.ok("back to root", inThread(func() error {
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 33, ^uintptr(0)); e != 0 {
			return e
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); e != 0 {
			return e
		}
		return os.WriteFile("/w/user/back", nil, 0o644)
	}))
	s.ok("fsuid", inThread(func() error {
		unix.RawSyscall(unix.SYS_SETFSUID, 5, 0, 0)
		defer unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
		return os.WriteFile("/w/user/fs", nil, 0o644)
	}))
	s.ok("fsuid and fsgid of a device", inThread(func() error {
		unix.RawSyscall(unix.SYS_SETFSGID, 44, 0, 0)
		unix.RawSyscall(unix.SYS_SETFSUID, 33, 0, 0)
		defer unix.RawSyscall(unix.SYS_SETFSGID, 0, 0, 0)
		defer unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
		return unix.Mknod("/w/user/null", unix.S_IFCHR|0o666, int(unix.Mkdev(31, 3)))
	}))
	s.ok("chroot", errors.Join(unix.Chroot("/w/jail"), unix.Chdir("/")))
	s.ok("chown below another root", unix.Chown("/../../in", 21, -1))
	return s.err
}

// inThread calls f in a thread of its own, which ends with it.
func inThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// badPointer is chown(2) of a path at an address where nothing is.
func badPointer() error {
	_, _, errno := unix.RawSyscall(unix.SYS_FCHOWNAT, ^uintptr(99), 8, 33)
	if errno == 0 {
		return nil
	}
	return errno
}

func probeIdentities() error {
	var s script
	s.ok("before", wantIDs(0, 0))
	groups, err := os.Getgroups()
	if err != nil || len(groups) != 0 && !slices.Equal(groups, []int{0}) {
		s.ok("groups before", fmt.Errorf("%v %w", groups, err))
	}
	s.ok("setgroups", syscall.Setgroups([]int{5, 6, 70000}))
	s.ok("setresgid", syscall.Setresgid(44, 44, 44))
	s.ok("setresuid", syscall.Setresuid(33, 33, 33)) // in all threads
	s.ok("after", wantIDs(33, 44))
	s.ok("in a thread", inThread(func() error { return wantIDs(33, 44) }))
	if groups, err = os.Getgroups(); err != nil || !slices.Equal(groups, []int{5, 6, 70000}) {
		s.ok("groups", fmt.Errorf("%v %w", groups, err))
	}
	var r, e, v uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETRESUID, uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&v))); errno != 0 || r != 33 || e != 33 || v != 33 {
		s.ok("getresuid", fmt.Errorf("%d %d %d %w", r, e, v, errno))
	}
	// By hand: the library would panic if one thread succeeds where another has failed.
	for name, trap := range map[string]uintptr{"setuid": unix.SYS_SETUID, "setgid": unix.SYS_SETGID} {
		if _, _, errno := unix.RawSyscall(trap, 0, 0, 0); errno != unix.EPERM {
			s.ok(name+" back to root", fmt.Errorf("%v", errno))
		}
	}
	s.fails("setgroups", unix.EPERM, unix.Setgroups([]int{0}))
	s.fails("chown", unix.EPERM, unix.Fchown(0, 7, -1))
	s.fails("mknod", unix.EPERM, unix.Mknod("/tmp/x", unix.S_IFCHR, 1))
	s.ok("a program", run(self("touch", "/tmp/of33")))
	return s.err
}

func probeHostile() error {
	var s script
	s.ok("mkdir", os.Mkdir("/w", 0o777))
	for _, f := range []string{"33", "34", "after", "victim", "out"} {
		s.ok("write", os.WriteFile("/w/"+f, []byte("x"), 0o644))
	}
	// The path in memory changes all the time: one of the two it is, and nothing else.
	name := []byte("/w/33\x00")
	stop := make(chan struct{})
	go func() {
		for c := byte('3'); ; c ^= '3' ^ '4' {
			select {
			case <-stop:
				return
			default:
				*(*byte)(unsafe.Pointer(&name[4])) = c
			}
		}
	}()
	for range 200 {
		for _, id := range []uintptr{33, 34} {
			_, _, errno := unix.Syscall6(unix.SYS_FCHOWNAT, ^uintptr(99), uintptr(unsafe.Pointer(&name[0])), id, id, 0, 0)
			if errno != 0 {
				s.ok("chown of a path that changes", errno)
			}
		}
	}
	close(stop)

	// Links lead to where they lead the process: in its root, and not through descriptors of
	// others.
	s.ok("symlink", os.Symlink("/proc/1/root/w/out", "/w/magic"))
	s.fails("chown through another process", unix.ELOOP, unix.Chown("/w/magic", 99, 99))
	s.ok("symlink", os.Symlink("../../../../../w/out", "/w/up"))
	s.ok("chown above the root", unix.Chown("/w/up", 3, 3))
	loop := "/w/loop"
	s.ok("symlink", os.Symlink(loop, loop))
	s.fails("chown in a circle", unix.ELOOP, unix.Chown(loop, 99, 99))
	s.fails("a path without an end", unix.ENAMETOOLONG, unix.Chown(strings.Repeat("/w/..", 1000), 99, 99))

	// Killed while they wait. The number of a dead one is another one's soon.
	for range 30 {
		cmd := self("idle")
		if s.ok("start", cmd.Start()); cmd.Process == nil {
			break
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		s.ok("kill", cmd.Process.Kill())
		_ = cmd.Wait()
	}
	// The mark cannot be forged.
	s.ok("a user who was root", run(as33(exec.Command("/bin/sh", "-c", "ulimit -x unlimited 2>/dev/null; ulimit -x 1 2>/dev/null; /account-probe touch /w/by33; rm /w/by33"))))
	s.ok("forge", inThread(func() error {
		old := unix.Rlimit{}
		if err := unix.Prlimit(0, unix.RLIMIT_LOCKS, nil, &old); err != nil {
			return err
		}
		if err := unix.Prlimit(0, unix.RLIMIT_LOCKS, &unix.Rlimit{Cur: 5, Max: old.Max}, nil); err != unix.EPERM {
			return fmt.Errorf("to set the limit: %v", err)
		}
		now := unix.Rlimit{}
		if err := unix.Prlimit(0, unix.RLIMIT_LOCKS, nil, &now); err != nil || now != old {
			return fmt.Errorf("the limit is %v, was %v: %v", now, old, err)
		}
		return nil
	}))
	s.ok("chown", unix.Chown("/w/after", 3, 3))
	return s.err
}

// probeChowner calls chown until /stop is there. An error is allowed when the helper is killed, and
// so is a success; not to come back is not.
func probeChowner() error {
	if err := os.WriteFile("/victim", nil, 0o644); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := unix.Chown("/victim", 1+n%2, -1); err != nil && err != unix.ENOSYS {
			return err
		}
		if _, err := os.Lstat("/stop"); err == nil {
			break
		}
	}
	return unix.Chown("/victim", 3, -1)
}
