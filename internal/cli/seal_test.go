// What a supervisor has while its container runs, seen from outside.
package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/must"
)

func TestTheSupervisorKeepsOnlyWhatItNeeds(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	const sysAdmin, andFiles = "0000000000200000", "000000000020000a" // DAC_OVERRIDE and FOWNER
	for _, c := range []struct {
		flags                          []string
		noNewPrivs, seccomp, effective string
	}{
		{nil, "1", "2", sysAdmin},
		{[]string{"--cap-add", "ALL"}, "1", "2", sysAdmin},
		{[]string{"--driver", "overlay"}, "1", "2", andFiles},
		{[]string{"--driver", "unpacked"}, "1", "2", andFiles},
		{[]string{"--security-opt", "no-new-privileges=false"}, "0", "2", sysAdmin},
		{[]string{"--security-opt", "seccomp=unconfined"}, "1", "0", sysAdmin},
		{[]string{"--without", "mount"}, "1", "2", sysAdmin},
	} {
		k.tiffin(slices.Concat([]string{"run", "-d", "--name", "sealed"}, c.flags, []string{"tiffin/base", "sleep", "1000"})...)
		// Each thread by itself has these.
		tasks := fmt.Sprintf("/proc/%d/task/*/status", k.supervisorOf("sealed"))
		want := map[string]string{"NoNewPrivs": c.noNewPrivs, "Seccomp": c.seccomp, "CapEff": c.effective, "CapPrm": c.effective}
		var wrong []string
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if wrong = statusOtherThan(t, tasks, want); wrong == nil {
				break
			}
		}
		if wrong != nil {
			t.Errorf("%v: %s", c.flags, wrong)
		}
		if !slices.Contains(c.flags, "mount") { // else it would be the host's file
			// What is done later by those that it starts.
			k.tiffin("exec", "sealed", "sh", "-c", "echo text > /file")
			if out := k.tiffin("cp", "sealed:/file", "-"); !strings.Contains(out, "text\n") {
				t.Errorf("%v: cp: %q", c.flags, out)
			}
			k.tiffin("commit", "sealed", "saved")
		}
		k.tiffin("rm", "-f", "sealed")
	}
	k.tiffin("rmi", "saved", "tiffin/base") // and the unpacked tree, which subordinate ids own
}

// statusOtherThan lists what differs from want in files such as /proc/pid/status, proc(5).
func statusOtherThan(t *testing.T, files string, want map[string]string) (wrong []string) {
	t.Helper()
	all, err := filepath.Glob(files)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %v, %d files", files, err, len(all))
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			if value = strings.TrimSpace(value); want[name] != "" && value != want[name] {
				wrong = append(wrong, fmt.Sprintf("%s %s: %s", file, name, value))
			}
		}
	}
	return wrong
}

// programOf makes a container "shut" with a set-user-ID program, which with --driver overlay is so
// on this machine's disk, and returns the container's directory.
func (b *bench) programOf(flags ...string) string {
	b.t.Helper()
	args := slices.Concat([]string{"run", "--name", "shut", "--driver", "overlay"}, flags, []string{"tiffin/base", "sh", "-c", "cp /bin/true /su; chmod 4755 /su"})
	b.tiffin(args...)
	b.t.Cleanup(func() { b.tiffin("rm", "-f", "shut") })
	dir, err := filepath.EvalSymlinks(filepath.Join(b.store(), "containers", "shut"))
	if err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// as runs a command as a person, in whom this process must be able to change.
func as(p person, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.SysProcAttr = "/", p.attr()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// With subordinate ids, what the container has made stays behind a directory that is not its
// owner's to open.
func TestTheOwnersChmodOpensNoOverlay(t *testing.T) {
	ps := everybody(t)
	b := newBench(t, ps[len(ps)-1])
	if !b.subordinate() {
		must.Skip(t, "subids", "%s has no subordinate ids", b.p.name)
	}
	dir := b.programOf()
	program := filepath.Join(b.upper("shut"), "su")
	_, _ = as(b.p, "chmod", "-R", "go+rX", b.store()) // it says what it may not enter
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || st.Mode&0o777 != 0o755 {
		t.Fatalf("the container's directory is not open: %v, mode %o", err, st.Mode)
	}
	if err := unix.Stat(filepath.Join(dir, "overlay"), &st); err != nil || st.Mode&0o777 != 0o700 || st.Uid == uint32(b.p.uid) {
		t.Errorf("before what the container made: %v, mode %o, owner %d", err, st.Mode&0o777, st.Uid)
	}
	neighbour := b.p // of whom the directory keeps out even the owner
	if os.Getuid() == 0 {
		neighbour = person{"neighbour", 54322, 54322}
		if st, err := os.Stat(program); err != nil || st.Mode()&os.ModeSetuid == 0 {
			t.Errorf("nothing is to be kept from others: %v, %v", st, err)
		}
	}
	if out, err := as(neighbour, "ls", dir); err != nil {
		t.Errorf("others cannot come as far as the wall: %v, %s", err, out)
	}
	if out, err := as(neighbour, program); !errors.Is(err, os.ErrPermission) {
		t.Errorf("others run what the container made: %v, %s", err, out)
	}
	// The container goes on, and its own commands see it.
	b.tiffin("start", "shut")
	b.tiffin("wait", "shut")
	if got := b.tiffin("diff", "shut"); got != "A /su\n" {
		t.Errorf("diff: %q", got)
	}
}

// Without a wall, only the mode of the container's directory keeps others out.
func TestAnOverlayIsNotStartedWhereOthersCanEnter(t *testing.T) {
	b := newBench(t, person{uid: os.Getuid(), gid: os.Getgid()})
	dir := b.programOf("--userns", "single")
	if st, err := os.Stat(filepath.Join(b.upper("shut"), "su")); err != nil || st.Mode()&os.ModeSetuid == 0 {
		t.Fatalf("nothing is to be kept from others: %v, %v", st, err)
	}
	for _, mode := range []os.FileMode{0o710, 0o701, 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := b.run(nil, "start", "shut"); err == nil || !strings.Contains(err.Error(), "others can enter") || !strings.Contains(err.Error(), "hint: chmod 700 ") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.tiffin("start", "shut")
	b.tiffin("wait", "shut")
}

// A container that an earlier version has made, with upper/ and work/ in its directory, goes on.
func TestAnOverlayOfAnEarlierVersionGoesOn(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			dir := b.programOf("--userns", "single")
			for _, name := range []string{"upper", "work"} {
				if err := os.Rename(filepath.Join(dir, "overlay", name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Remove(filepath.Join(dir, "overlay")); err != nil {
				t.Fatal(err)
			}
			if got := b.tiffin("diff", "shut"); got != "A /su\n" {
				t.Errorf("diff: %q", got)
			}
			b.tiffin("start", "shut")
			b.tiffin("wait", "shut")
		})
	}
}
