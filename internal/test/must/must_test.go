package must

import "testing"

// recorder takes the place of a test, to see what becomes of it.
type recorder struct {
	testing.TB
	failed, skipped bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatalf(string, ...any) { r.failed = true }
func (r *recorder) Skipf(string, ...any)  { r.skipped = true }

func TestWhatTheMachineMustHaveIsAFailureAndTheRestIsSkipped(t *testing.T) {
	for _, c := range []struct {
		must, lacks string
		fails       bool
	}{
		{"", "userns", false}, {"", "", false},
		{"fuse", "userns", false}, {"userns,fuse", "fuse", true}, {"userns,fuse", "userns", true},
		{"fuse", "", true}, {"nofuse", "fuse", false},
	} {
		t.Setenv(variable, c.must)
		r := &recorder{}
		if Skip(r, c.lacks, "it is not here"); r.failed != c.fails {
			t.Errorf("TIFFIN_MUST=%q and no %q: failed %v, want %v", c.must, c.lacks, r.failed, c.fails)
		}
		if !r.failed && !r.skipped {
			t.Errorf("TIFFIN_MUST=%q and no %q: neither failed nor skipped", c.must, c.lacks)
		}
	}
	t.Setenv(variable, "fuse")
	r := &recorder{}
	if Tool(r, "no-such-program"); !r.failed {
		t.Error("a program that is missing is no failure")
	}
	if path := Tool(t, "go"); path == "" {
		t.Error("go is not found")
	}
}
