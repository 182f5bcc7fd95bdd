package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// TestRealProgramsFindTheirDataAgain runs testdata/workload.sh, which is heavy work of SQLite, git
// and dpkg in the image of scripts/testimage: first in a container, then, after it has
// been started anew, once more, and at last in a container of the image it was committed to.
func TestRealProgramsFindTheirDataAgain(t *testing.T) {
	for _, driver := range []string{"fuse", "overlay"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel() // each is a chain of single processes
			realPrograms(t, driver)
		})
	}
}

func realPrograms(t *testing.T, driver string) {
	image := os.Getenv("TIFFIN_TEST_IMAGE")
	if image == "" {
		must.Skip(t, "", "TIFFIN_TEST_IMAGE is not set: make an image with scripts/testimage")
	}
	ps := people(t)
	p := ps[len(ps)-1] // a user, with subordinate ids if the machine has one
	need(t, p)
	dir, err := os.MkdirTemp("/var/tmp", "tiffin-workload-") // on a disk: it takes 2 GB
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	script, err := os.ReadFile("testdata/workload.sh")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "workload.sh"), script, 0o755)
	}
	if err == nil {
		err = os.Chown(dir, p.uid, p.gid)
	}
	if err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "store")
	tiffin := func(args ...string) {
		t.Helper()
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+store, "HOME="+dir)
		cmd.Dir, cmd.SysProcAttr = "/", p.attr()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("tiffin %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tiffin("load", "-q", "-i", image)
	volume := filepath.Join(dir, "workload.sh") + ":/workload.sh:ro"
	tiffin("run", "-d", "--init", "--driver", driver, "--name", "work", "-v", volume, "debian", "sleep", "infinity")
	tiffin("exec", "work", "sh", "/workload.sh", "do")
	tiffin("stop", "-t", "0", "work")
	tiffin("start", "work")
	tiffin("exec", "work", "sh", "/workload.sh", "check")
	tiffin("commit", "work", "worked") // while it runs
	tiffin("rm", "-f", "work")
	tiffin("run", "--rm", "-v", volume, "worked", "sh", "/workload.sh", "check")
	checkLeaks(t, store)
}
