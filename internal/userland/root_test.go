package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// jailed runs a script with our sh as root of a new user namespace, in a
// directory in which jail/bin has all commands and outside is a file that is
// not in the jail.
func jailed(t *testing.T, script string) (out, errs string) {
	t.Helper()
	bin, dir := binDir(t), t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	jail := filepath.Join(dir, "jail/bin")
	if err := os.MkdirAll(jail, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(jail, "sh"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		if name != "sh" {
			if err := os.Symlink("sh", filepath.Join(jail, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "outside"), []byte("seen\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "sh"), "-c", script)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":/bin", "HOME=/", "OUTSIDE=" + filepath.Join(dir, "outside")}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Start(); err != nil {
		lacks(t, "userns", "there are no user namespaces: %v", err)
	}
	_ = cmd.Wait() // the scripts' output tells
	return o.String(), e.String()
}

// escape is the classic: make the root directory one that is not above the
// working directory, climb, and make what is there the root.
const escape = `mkdir x; chroot --skip-chdir x bin/chroot ../../../../../../../../../.. cat "$OUTSIDE"`

func TestChrootMovesTheWorkingDirectory(t *testing.T) {
	out, errs := jailed(t, `chroot jail /bin/sh -c 'pwd; ls -d ../*; cat "$OUTSIDE"'`)
	if out != "/\n../bin\n" || !strings.Contains(errs, "no such file or directory") {
		t.Errorf("%q %q", out, errs)
	}
	out, errs = jailed(t, `mkdir jail/in; cd jail; chroot --skip-chdir in bin/ls ..`)
	if out != "jail\noutside\n" {
		t.Errorf("a working directory outside of the root: %q %q", out, errs)
	}
}

func TestChrootCanBeLeft(t *testing.T) {
	if out, errs := jailed(t, "chroot jail /bin/sh -c '"+escape+"'"); out != "seen\n" {
		t.Errorf("%q %q", out, errs)
	}
}

func TestPivotRootCannotBeLeft(t *testing.T) {
	pivot := `mount --make-rprivate /; mount --rbind jail jail; cd jail; pivot_root . . && umount -l . && cd / || exit 1; `
	out, errs := jailed(t, pivot+`/bin/ls -d ../*; /bin/sh -c '`+escape+`'`)
	if out != "../bin\n" || !strings.Contains(errs, "no such file or directory") {
		t.Errorf("%q %q", out, errs)
	}
	if out, errs = jailed(t, "mkdir jail/old; pivot_root jail jail/old"); out != "" || !strings.Contains(errs, "is it a mount point") {
		t.Errorf("%q %q", out, errs)
	}
}
