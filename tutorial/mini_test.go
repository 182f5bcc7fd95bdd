package tutorial

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTheSmallContainers: a container in 300 lines of Go is handed in, and passes the nine stages;
// what solve.sh has left running does not reach what it is tried with.
// That one in 120 of a shell does, and that wrong ones do not, is the lab's test.
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
	s := student(t)
	s.mustStart(t, l)
	build := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "mini"), filepath.Join(l.Name, "reference/mini.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(build.Args[3], filepath.Join(s.Work(l), "mini")); err != nil {
		t.Fatal(err)
	}
	g := &Grader{Runner: s.Runner, Labs: []*Lab{l}, Solve: DefaultLimit}
	g.Grade(background, []string{s.handIn(t, l, "chmod +x mini; while sleep 0.01; do rm -rf .check-*; done >/dev/null 2>&1 &")}, func(o Grade) {
		if o.Error != "" || o.Result.State != Passed {
			t.Errorf("%s, %+v", o.Error, o.Result)
		}
	})
}
