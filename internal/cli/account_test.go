package cli_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a user without subordinate ids can do: containers with one id, in which root is emulated.

// accountBench has the probe at /account-probe of a container named "cc".
func accountBench(t *testing.T, p person) *bench {
	t.Helper()
	b := newBench(t, p)
	probe := filepath.Join(b.dir, "account-probe")
	if err := os.Rename(b.probe, probe); err != nil {
		t.Fatal(err)
	}
	b.probe = probe
	return b
}

// one runs a command in container "cc", which has one id.
func (b *bench) one(args ...string) string {
	b.t.Helper()
	out, err := b.run(nil, append([]string{"run", "--userns", "single", "--name", "cc", "-v", b.probe + ":/account-probe:ro", "tiffin/base"}, args...)...)
	if err != nil {
		b.t.Errorf("%v: %v", args, err)
	}
	return out
}

// owners are those of the layer that a commit of "cc" makes: "uid:gid mode" by name.
func (b *bench) owners() map[string]string {
	b.t.Helper()
	b.tiffin("commit", "cc", "made:1")
	file := filepath.Join(b.dir, "made.tar")
	b.tiffin("save", "-o", file, "made:1")
	image, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(image)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			continue // no layer
		}
		addOwners(all, unzipped)
	}
}

// addOwners adds those of a tarball.
func addOwners(all map[string]string, r io.Reader) {
	for files := tar.NewReader(r); ; {
		f, err := files.Next()
		if err != nil {
			return
		}
		text := fmt.Sprintf("%d:%d", f.Uid, f.Gid)
		if f.Typeflag == tar.TypeChar || f.Typeflag == tar.TypeBlock {
			text += fmt.Sprintf(" %d:%d", f.Devmajor, f.Devminor)
		}
		all[strings.TrimPrefix(strings.TrimSuffix(f.Name, "/"), "./")] = text
	}
}

// TestOwnersAreKept: what only root with many ids can do succeeds; a commit and an export have it.
func TestOwnersAreKept(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			if got := b.one("/account-probe", "owners"); got != "done\n" {
				t.Error(got)
			}
			got := b.owners()
			exported := map[string]string{}
			addOwners(exported, strings.NewReader(b.tiffin("export", "cc")))
			for name, want := range map[string]string{
				"w/file": "33:44", "w/group": "0:44", "w/again": "0:0", "w/link": "7:8", "w/dir": "5:0", "w/fd": "1:2", "w/below": "9:9",
				"w/user/file": "33:44", "w/user/dir": "33:44", "w/user/link": "33:44", "w/user/grandchild": "33:44", "w/user/back": "0:0",
				"w/user/fs": "5:0", "w/null": "0:0 31:3", "w/loop": "0:0 47:0", "w/user/null": "33:44 31:3", "etc/group": "12:13", "w/jail/in": "21:0",
			} {
				if got[name] != want {
					t.Errorf("%s belongs to %q, want %q", name, got[name], want)
				}
				if exported[name] != want {
					t.Errorf("%s belongs to %q in an export, want %q", name, exported[name], want)
				}
			}
			b.tiffin("rm", "cc")
			// Switched off, and where more ids are mapped, the kernel says no.
			if out, err := b.run(nil, "run", "--rm", "--userns", "single", "--root-emulation", "off", "tiffin/base", "chown", "33", "/etc/group"); err == nil {
				t.Errorf("chown succeeds without emulation: %s", out)
			}
		})
	}
}

// TestIdentitiesAreVirtual: set*id and get*id agree, in threads, children and programs.
func TestIdentitiesAreVirtual(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			if got := b.one("/account-probe", "identities"); got != "done\n" {
				t.Error(got)
			}
			b.tiffin("rm", "cc")
			// So they are in `tiffin exec`, which has a filter of its own.
			b.tiffin("run", "-d", "--userns", "single", "--name", "cc", "-v", b.probe+":/account-probe:ro", "tiffin/base", "sleep", "1000")
			if got := b.tiffin("exec", "cc", "/account-probe", "identities"); got != "done\n" {
				t.Error(got)
			}
			b.tiffin("rm", "-f", "cc")
		})
	}
}

// TestHostileCallers: a process that changes its memory meanwhile, leads out by links, forges its
// mark, or is killed gets nothing, and the others go on.
func TestHostileCallers(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			if got := b.one("/account-probe", "hostile"); got != "done\n" {
				t.Error(got)
			}
			got := b.owners()
			if got["w/after"] != "3:3" {
				t.Errorf("after all attacks, a file belongs to %q", got["w/after"])
			}
			for name, owner := range got {
				if strings.HasPrefix(name, "w/") && !slices.Contains([]string{"0:0", "3:3", "33:33", "34:34"}, owner) {
					t.Errorf("%s belongs to %q", name, owner)
				}
			}
			b.tiffin("rm", "cc")
		})
	}
}

// TestAVolumeAtProcHoldsNobodyUp: the supervisor looks into the kernel's /proc only, not into one
// where a fifo waits for a writer.
func TestAVolumeAtProcHoldsNobodyUp(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			out, _, err := b.without(":", `umask 0; mkdir "$DIR/proc"; ln -s 1 "$DIR/proc/self"
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do mkdir "$DIR/proc/$n"; mkfifo "$DIR/proc/$n/limits"; done
"$TIFFIN" run -d --userns single --name cc -v "$DIR/proc:/proc" -v "$DIR/account-probe:/account-probe:ro" tiffin/base /account-probe nested > /dev/null
timeout 120 "$TIFFIN" wait cc; "$TIFFIN" logs cc; "$TIFFIN" rm -f cc`)
			if out != "0\ndone\ncc\n" || err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestWithoutAListener: where a process has a listener already, there is no other one. Then all
// succeeds and is forgotten, and a note says so.
func TestWithoutAListener(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			b.tiffin("images")
			args := []string{"busy", binary, "run", "--userns", "single", "--name", "cc", "tiffin/base", "sh", "-c",
				"chown 33:44 /etc/group && mknod /tmp/null c 1 3 && id -u && ls /tmp"}
			cmd := exec.Command(b.probe, args...)
			cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+b.store(), "HOME="+b.dir)
			cmd.Dir, cmd.SysProcAttr = "/", p.attr()
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "\n0\n") && string(out) != "0\n" {
				t.Errorf("%v: %s", err, out)
			}
			if notes := b.tiffin("inspect", "--format", "{{json .}}", "cc"); !strings.Contains(notes, "no seccomp listener to spare") {
				t.Errorf("no note: %s", notes)
			}
			if got := b.owners()["etc/group"]; got != "" && got != "0:0" {
				t.Errorf("the owner is %q", got)
			}
			b.tiffin("rm", "cc")
		})
	}
}

// busy executes a program in a process that has a listener.
func busy(args []string) error {
	runtime.LockOSThread()
	prog := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	filter := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return errno
	}
	if _, err := unix.FcntlInt(fd, unix.F_SETFD, 0); err != nil {
		return err
	}
	return syscall.Exec(args[0], append([]string{"tiffin"}, args[1:]...), os.Environ())
}

// TestOneIDIsAnyUser: the one id that is mapped is that of the user who is asked for, by whatever
// the image's /etc/passwd says; in `tiffin exec`, others are emulated.
func TestOneIDIsAnyUser(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			who := func(want string, args ...string) {
				t.Helper()
				got, err := b.run(nil, args...)
				if got != want {
					t.Errorf("%v: %q, want %q (%v)", args, got, want, err)
				}
			}
			const ask = "id -u; id -g; touch /tmp/new; stat -c %u:%g /tmp/new /etc"
			// /etc/passwd of the image is reached by links, and they stay in it.
			b.tiffin("run", "--name", "links", "tiffin/base", "sh", "-c",
				"echo one:x:33:44::/:/bin/sh >> /etc/passwd; mv /etc/passwd /usr/p; ln -s ../../../usr/q /etc/passwd; ln -s /usr/p /usr/q")
			b.tiffin("commit", "-c", "USER one", "links", "links:1")
			b.tiffin("run", "--name", "circle", "tiffin/base", "sh", "-c", "rm /etc/passwd; ln -s passwd /etc/passwd")
			b.tiffin("commit", "circle", "circle:1")
			single := []string{"run", "--rm", "--userns", "single"}
			who("33\n44\n33:44\n33:44\n", append(single, "links:1", "sh", "-c", ask)...)
			who("33\n7\n33:7\n33:7\n", append(single, "-u", "33:7", "links:1", "sh", "-c", ask)...)
			who("5\n0\n5:0\n5:0\n", append(single, "-u", "5", "tiffin/base", "sh", "-c", ask)...)
			who("0\n0\n0:0\n0:0\n", append(single, "-u", "root", "links:1", "sh", "-c", ask)...)
			if out, err := b.run(nil, append(single, "-u", "one", "circle:1", "id")...); err == nil {
				t.Errorf("a user of a passwd file in a circle: %s", out)
			}
			if out, err := b.run(nil, append(single, "-u", "two", "links:1", "id")...); err == nil || !strings.Contains(err.Error(), "unable to find user two") {
				t.Errorf("an unknown user: %s %v", out, err)
			}
			me := strconv.Itoa(p.uid) + "\n"
			who(me, "run", "--rm", "--userns", "keep-id", "tiffin/base", "id", "-u")
			who("1234\n77\n1234:77\n", "run", "--rm", "--userns", "keep-id:uid=1234,gid=77", "tiffin/base", "sh", "-c",
				"id -u; id -g; touch /tmp/new; stat -c %u:%g /tmp/new")
			// Others, in a container that is user 33's, and what they make.
			b.tiffin("run", "-d", "--userns", "single", "--name", "cc", "links:1", "sleep", "1000")
			who("33\n44\n", "exec", "cc", "sh", "-c", "id -u; id -g; echo x > /tmp/first")
			who("0\n", "exec", "-u", "0", "cc", "sh", "-c", "id -u; echo x > /tmp/roots; chown 7:8 /tmp/first")
			who("5\n6\n", "exec", "-u", "5:6", "cc", "sh", "-c", "id -u; id -g; echo x > /tmp/fives; chown 7 /tmp/fives")
			got := b.owners()
			for name, want := range map[string]string{"tmp/first": "7:8", "tmp/roots": "0:0", "tmp/fives": "5:6"} {
				if got[name] != want {
					t.Errorf("%s belongs to %q, want %q", name, got[name], want)
				}
			}
			b.tiffin("rm", "-f", "cc", "links", "circle")
		})
	}
}

// TestHelperIsGone: whoever waits for the helper of the emulation gets an error when it dies, and
// the next call starts another one.
func TestHelperIsGone(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := accountBench(t, p)
			b.tiffin("run", "-d", "--userns", "single", "--name", "cc", "-v", b.probe+":/account-probe:ro", "tiffin/base", "/account-probe", "chowner")
			var supervisor []int
			waitFor(t, func() bool { // a child of it is like it until execve(2)
				supervisor = supervisors(b.store())
				return len(supervisor) == 1
			})
			killed := 0
			for end := time.Now().Add(time.Minute); killed < 20 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				for _, pid := range helpers(supervisor[0]) {
					if syscall.Kill(pid, syscall.SIGKILL) == nil {
						killed++
					}
				}
			}
			if killed == 0 {
				t.Error("there was no helper")
			}
			_, _ = b.run(nil, "exec", "cc", "touch", "/stop") // process 1 may end before touch does
			if got := b.tiffin("wait", "cc"); got != "0\n" {
				t.Errorf("the container ended with %s%s", got, b.tiffin("logs", "cc"))
			}
			b.tiffin("rm", "cc")
		})
	}
}

// helpers are the processes below a supervisor that run as helpers of the emulation.
func helpers(supervisor int) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		args, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		status, _ := os.ReadFile(filepath.Join(d, "status"))
		if strings.Contains(string(args), "\x00__root\x00") && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", supervisor)) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}
