package tutorial

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tiffin/tutorial/mini"
)

// TestTheSmallContainers: a container in 300 lines of Go passes the nine stages. That one in 120
// of a shell does, and that wrong ones do not, is the lab's test.
func TestTheSmallContainers(t *testing.T) {
	l, err := Find(embedded(t), "mini")
	if err != nil {
		t.Fatal(err)
	}
	need(t, l)
	for name, most := range map[string]int{"mini.go": 300, "mini.sh": 120} {
		text, err := os.ReadFile(filepath.Join(l.Name, "reference", name))
		if n := bytes.Count(text, []byte("\n")); err != nil || n > most {
			t.Errorf("%s has %d lines, more than %d: %v", name, n, most, err)
		}
	}
	dir := t.TempDir()
	cmd := exec.Command("/bin/sh", "-eu", "-c", "unsupported() { echo $1; exit 1; }; . $0", filepath.Join(working(t), l.Name, "setup.sh"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "WORK="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "mini"), filepath.Join(l.Name, "reference/mini.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := &mini.Bench{Tiffin: binary, Root: filepath.Join(dir, "root"), Dir: filepath.Join(dir, "bench")}
	if err := os.Mkdir(b.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(filepath.Join(dir, "mini")); err != nil {
		t.Fatal(err)
	}
	all, err := b.Check(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if !f.OK {
			t.Errorf("%s: expected %s, found %s: %s\n%s", f.Name, f.Expected, f.Found, f.Why, f.Evidence)
		}
	}
}

func working(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
