package cli_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tiffin/internal/test/must"
	"tiffin/ns/cgroup"
)

// TestControlGroups runs the scripts in testdata/cgroup where the user may make control groups,
// with no more than the controllers that every machine has: none. Root gives each of the people a
// group, as an administrator would; others must have one.
func TestControlGroups(t *testing.T) {
	for _, p := range everybody(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			root, err := os.MkdirTemp("", "tiffin-script-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(root) })
			if err := os.Chmod(root, 0o755); err != nil {
				t.Fatal(err)
			}
			if os.Getuid() != 0 {
				if _, err := cgroup.Delegated(nil); err != nil {
					if socket, _ := cgroup.Manager(); socket == "" {
						must.Skip(t, "cgroup", "this user may make no control group: %v", err)
					}
				}
			} else if cgroup.Hierarchy() == "" {
				must.Skip(t, "cgroup", "control groups of version 2 are not mounted")
			}
			testscript.Run(t, params("testdata/cgroup", root, func(e *testscript.Env) error {
				e.Setenv("XDG_RUNTIME_DIR", os.Getenv("XDG_RUNTIME_DIR"))
				if os.Getuid() == 0 {
					e.Setenv("TEST_CGROUP", delegate(t, p, filepath.Base(e.WorkDir)))
				}
				return p.setup(e)
			}))
		})
	}
}

// delegate gives a person a control group, with one for the script in it, and fails if one for a
// container is left there.
func delegate(t *testing.T, p person, name string) string {
	t.Helper()
	top := filepath.Join(cgroup.Hierarchy(), "test-"+p.name+"-"+name)
	shell := filepath.Join(top, "shell")
	if err := os.MkdirAll(shell, 0o755); err != nil {
		must.Skip(t, "cgroup", "%v", err)
	}
	for _, dir := range []string{top, shell} {
		for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
			if err := os.Chown(filepath.Join(dir, file), p.uid, p.gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{shell, top} {
			err := os.Remove(dir) // rmdir(2): refused if a group is in it, or a supervisor that is just going
			for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); err = os.Remove(dir) {
				time.Sleep(10 * time.Millisecond)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	return shell
}
