package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAMachineIsMadeWholly: where making one fails, or is killed, scripts/vm does not take what is
// there for a machine, and makes it anew.
func TestAMachineIsMadeWholly(t *testing.T) {
	dir := t.TempDir()
	vm, err := os.ReadFile(top + "/scripts/vm")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"scripts/vm":             string(vm),
		"scripts/setup":          "#!/bin/sh\n",
		"scripts/machines/guest": "",
		// After half of its work it does what the test says. $PPID is the shell that calls it.
		"bin/mmdebstrap":         "#!/bin/sh\necho half >\"$DIR/disk\"\neval \"$HOW\"\necho whole >\"$DIR/kernel\"\n",
		"bin/qemu-system-x86_64": "#!/bin/bash\nf=${*: -1}\necho 0 >\"${f#file:}\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	kernel := filepath.Join(dir, "cache/tiffin-vm/debian11/kernel")
	for _, e := range []struct {
		how  string
		made bool
	}{
		{"exit 3", false},
		{"kill -9 $PPID; exit", false},
		{"", true},
		{"exit 3 # it is not made again", true},
	} {
		cmd := exec.Command(filepath.Join(dir, "scripts/vm"), "systemd@debian11", "--", "true")
		cmd.Env = append(os.Environ(), "HOW="+e.how, "XDG_CACHE_HOME="+dir+"/cache", "TMPDIR="+dir, "PATH="+dir+"/bin:"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		text, _ := os.ReadFile(kernel)
		if (err == nil) != e.made || e.made != (string(text) == "whole\n") || e.made == strings.Contains(string(out), "could not be made") {
			t.Errorf("%q: %v, a kernel %q\n%s", e.how, err, text, out)
		}
	}
}
