// What a supervisor has while its container runs, seen from outside.
package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
		{[]string{"--security-opt", "no-new-privileges=false"}, "0", "2", sysAdmin},
		{[]string{"--security-opt", "seccomp=unconfined"}, "1", "0", sysAdmin},
		{[]string{"--without", "mount"}, "1", "2", sysAdmin},
	} {
		k.tiffin(slices.Concat([]string{"run", "-d", "--name", "sealed"}, c.flags, []string{"tiffin/base", "sleep", "1000"})...)
		// Each thread by itself has these.
		tasks := fmt.Sprintf("/proc/%d/task/*/status", k.supervisorOf("sealed"))
		want := map[string]string{"NoNewPrivs": c.noNewPrivs, "Seccomp": c.seccomp, "CapEff": c.effective, "CapPrm": c.effective}
		var wrong []string
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
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

// With --driver overlay, set-user-ID programs of a container are so on this machine's disk.
func TestAnOverlayIsNotStartedWhereOthersCanEnter(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	k.tiffin("run", "--name", "shut", "--driver", "overlay", "tiffin/base", "sh", "-c", "cp /bin/sh /su; chmod 4755 /su")
	dir, err := filepath.EvalSymlinks(filepath.Join(store, "containers", "shut"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "upper/su")); err != nil || st.Mode()&os.ModeSetuid == 0 {
		t.Fatalf("nothing is to be kept from others: %v, %v", st, err)
	}
	for _, mode := range []os.FileMode{0o710, 0o701, 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		out, err := k.try("start", "shut")
		if err == nil || !strings.Contains(out, "others can enter") || !strings.Contains(out, "hint: chmod 700 "+dir) {
			t.Errorf("mode %o: %v, %s", mode, err, out)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k.tiffin("start", "shut")
	k.tiffin("wait", "shut")
	k.tiffin("rm", "shut")
}
