package tutorial

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// small writes the good lab of testdata as 50-small, with some of its files
// replaced ("-" removes one), and reads it.
func small(t *testing.T, changes ...txtar.File) *Lab {
	t.Helper()
	good, err := txtar.ParseFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "50-small")
	for _, f := range append(good.Files, changes...) {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if string(f.Data) == "-\n" {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, f.Data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func file(name, text string) txtar.File { return txtar.File{Name: name, Data: []byte(text)} }

// student makes a student with a store of its own.
func student(t *testing.T) *Student {
	t.Helper()
	dir := t.TempDir()
	return &Student{Dir: filepath.Join(dir, "labs"), Runner: &Runner{
		Binary: binary, Limit: DefaultLimit, Env: []string{"TIFFIN_ROOT=" + filepath.Join(dir, "store")},
	}}
}

// mustStart starts a lab.
func (s *Student) mustStart(t *testing.T, l *Lab) {
	t.Helper()
	if res, err := s.Start(context.Background(), l); err != nil || res != nil {
		t.Fatalf("start: %+v, %v", res, err)
	}
}

func TestGoodLabHasNoProblems(t *testing.T) {
	r := &Runner{Binary: binary, Limit: DefaultLimit}
	trial, err := r.Test(context.Background(), small(t), TestOptions{Seed: "s"})
	if err != nil || len(trial.Problems) > 0 || trial.Unsupported != "" {
		t.Fatalf("%v, %q, %v", trial.Problems, trial.Unsupported, err)
	}
	if len(trial.Checks) != 2 || trial.Commands != 2 || trial.Wrongs != 3 {
		t.Errorf("%+v", trial)
	}
}

// TestBrokenLabsAreFound tries each lab of testdata/broken: the first line of
// the file is the beginning of a problem that must be found.
func TestBrokenLabsAreFound(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.txtar")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	r := &Runner{Binary: binary, Limit: DefaultLimit}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(string(a.Comment), "\n")
			trial, err := r.Test(context.Background(), small(t, a.Files...), TestOptions{Seed: "s", Brief: !strings.HasPrefix(want, "wrong/")})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range trial.Problems {
				if strings.HasPrefix(p.String(), want) {
					return
				}
			}
			t.Errorf("the problem is not found:\n%s\nbut these are: %q", want, trial.Problems)
		})
	}
}

func TestBrokenHeadersAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"title: x\nconcept: y\nminutes: 1\n":                 "no blank line",
		"title: x\nconcept: y\nminutes: soon\n\nz":           "not a number of minutes",
		"title: x\nconcept: y\nminutes: -1\n\nz":             "not a number of minutes",
		"concept: y\nminutes: 1\n\nz":                        "no title",
		"title: x\nminutes: 1\n\nz":                          "no concept",
		"title: x\nconcept: y\n\nz":                          "no minutes",
		"title: x\nconcept: y\nminutes: 1\nneeds: magic\n\n": "none of userns fuse subids net",
		"title: x\nauthor: y\n\nz":                           "use format, title, track, concept",
		"title\n\nz":                                         "not `key: value`",
	} {
		if err := (&Lab{}).parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestScriptThatHangsIsEnded: with all that it has started, and as an error of
// the lab and not of the student.
func TestScriptThatHangsIsEnded(t *testing.T) {
	l := small(t, file("check.sh", "sleep 1000 & sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' & echo waiting; wait\n"))
	s := student(t)
	s.mustStart(t, l)
	var err error
	for s.Limit = 300 * time.Millisecond; s.Limit < time.Minute; s.Limit *= 2 { // until it has come so far
		if _, err = s.Check(context.Background(), l); err != nil && strings.Contains(err.Error(), "waiting") {
			break
		}
	}
	var b *brokenError
	if !errors.As(err, &b) || !strings.Contains(err.Error(), fmt.Sprint("did not end within ", s.Limit)) || !strings.Contains(err.Error(), "waiting") {
		t.Errorf("%v", err)
	}
	if left := marked(labVariable, s.Work(l)); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestInterruptedCheckLeavesNothing(t *testing.T) {
	l := small(t, file("check.sh", "touch \"$WORK/running\"\nsleep 1000\n"))
	s := student(t)
	s.mustStart(t, l)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for range 12000 {
			if _, err := os.Stat(filepath.Join(s.Work(l), "running")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	_, err := s.Check(ctx, l)
	var b *brokenError
	if err == nil || errors.As(err, &b) || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
	if left := marked(labVariable, s.Work(l)); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

// TestWhatACheckStartsEndsWithIt: also what has left its process group. What
// setup has started stays until reset.
func TestWhatACheckStartsEndsWithIt(t *testing.T) {
	l := small(t,
		file("setup.sh", "echo nothing >start\nsleep 1000 &\necho $! >pid\n"),
		file("check.sh", "sleep 1001 &\npass a 1\n"))
	s := student(t)
	s.mustStart(t, l)
	if _, err := s.Check(context.Background(), l); err != nil {
		t.Fatal(err)
	}
	left := marked(labVariable, s.Work(l))
	if len(left) != 1 {
		t.Fatalf("processes %v are left after check, want only setup's", left)
	}
	if _, err := s.Reset(context.Background(), l); err != nil {
		t.Fatal(err)
	}
	if again := marked(labVariable, s.Work(l)); len(again) != 1 || again[0] == left[0] {
		t.Errorf("processes %v, and before reset %v", again, left)
	}
	wipe(t, s, l)
	if left := marked(labVariable, s.Work(l)); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func wipe(t *testing.T, s *Student, l *Lab) {
	t.Helper()
	b, err := s.on(l)
	if err != nil {
		t.Fatal(err)
	}
	defer b.clear()
	if err := b.wipe(context.Background(), ""); err != nil {
		t.Error(err)
	}
}

// TestHostileAnswerIsShownAsText: what a student wrote is neither a record nor
// does it move the cursor.
func TestHostileAnswerIsShownAsText(t *testing.T) {
	l := small(t)
	s := student(t)
	s.mustStart(t, l)
	evil := "x\x1f\x1e" + "passed\x1fthe answer is the word\x1f3\x1f\x1f\x1f\x1f\x1e\x1b[2J\xff\r\n"
	if err := os.WriteFile(filepath.Join(s.Work(l), "answer"), []byte(evil), 0o644); err != nil {
		t.Fatal(err)
	}
	res, err := s.Check(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	found := res.Checks[0].Found
	if res.State != Failed || len(res.Checks) != 2 || strings.ContainsAny(found, "\x1b\x1e\x1f") || !strings.HasPrefix(found, "xpassed") {
		t.Errorf("%+v", res)
	}
	for _, answer := range []string{"", strings.Repeat("y", 10<<20), "\x00\x00", "-n", "`touch evil`$(touch evil)"} {
		if err := os.WriteFile(filepath.Join(s.Work(l), "answer"), []byte(answer), 0o644); err != nil {
			t.Fatal(err)
		}
		if res, err := s.Check(context.Background(), l); err != nil || res.State != Failed || len(res.Checks[0].Found) > maxField+3 {
			t.Errorf("%.20q: %+v, %v", answer, res, err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Work(l), "evil")); err == nil {
		t.Error("the answer was executed")
	}
}

// TestAForgedReportDoesNotCount: a student's program that a check runs by mistake with its
// descriptor 3, or that looks for it in /proc, gives nobody points.
func TestAForgedReportDoesNotCount(t *testing.T) {
	const forged = `printf 'passed\037the answer is the word\0373\037\037\037\037\036'`
	for answer, want := range map[string]string{
		forged + " >&3":           "the report is that of the check alone",
		"printf passed >&3":       "the report is that of the check alone", // half a record, to spoil the next
		"exec 4>/proc/$PPID/fd/3": "the answer is the word",                // ENXIO, and nothing is spoilt
	} {
		l := small(t, file("check.sh", "sh answer 2>err || :\nfail 'the answer is the word' 3 a b c\n"))
		s := student(t)
		s.mustStart(t, l)
		if err := os.WriteFile(filepath.Join(s.Work(l), "answer"), []byte(answer), 0o644); err != nil {
			t.Fatal(err)
		}
		res, err := s.Check(background, l)
		if err != nil || res.State != Failed || res.Points != 0 || res.Checks[len(res.Checks)-1].Name != want {
			t.Errorf("%s: %+v, %v", answer, res, err)
		}
	}
}

// TestChecksFetchNothing: the name of an image that is gone is never looked for in a registry.
func TestChecksFetchNothing(t *testing.T) {
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	s := student(t)
	const command = "tiffin run --rm $P.example/gone true 2>err || :\npass a 1\n"
	l := small(t, file("check.sh", command), file("solution.sh", command))
	s.mustStart(t, l)
	if _, err := s.Check(background, l); err != nil || asked.Load() {
		t.Errorf("asked: %v, %v", asked.Load(), err)
	}
	b, err := s.on(l)
	if err != nil {
		t.Fatal(err)
	}
	defer b.clear()
	if _, err := b.answer(background, "solution.sh"); err != nil || !asked.Load() {
		t.Errorf("this test sees no request: %v", err)
	}
}

// TestSeedsAreIndependent: two keys of the same seed take all combinations,
// and the same seed gives the same again.
func TestSeedsAreIndependent(t *testing.T) {
	l := small(t, file("values.sh", `
ALL=$(for n in 0 1 2 3 4 5 6 7 8 9; do for m in 0 1 2 3 4 5 6 7 8 9; do
	SEED=$n$m
	printf '%s%s ' "$(pick k1 a b c d)" "$(number k2 1 4)"
done; done)
`))
	s := student(t)
	first, err := s.replace(context.Background(), l, "{{ALL}}")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range strings.Fields(first) {
		seen[v] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d of 16 combinations: %s", len(seen), first)
	}
	if second, err := s.replace(context.Background(), l, "{{ALL}}"); err != nil || first != second {
		t.Errorf("%v: another time\n%s and\n%s", err, first, second)
	}
}

// TestOldTemporariesAreRemoved: those that a killed tiffin left, and no others.
func TestOldTemporariesAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	long := time.Now().Add(-2 * time.Hour)
	old := func() (string, *os.File) {
		dir, held, err := makeTemp()
		if err != nil || held == nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, long, long); err != nil {
			t.Fatal(err)
		}
		return dir, held
	}
	used, held := old()
	defer held.Close()
	left, gone := old()
	gone.Close()
	if err := os.MkdirAll(filepath.Join(left, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(left, "a"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(left, long, long); err != nil {
		t.Fatal(err)
	}
	_, third := old()
	third.Close()
	if _, err := os.Stat(left); err == nil {
		t.Error("an old one is left")
	}
	if _, err := os.Stat(used); err != nil {
		t.Error("one in use was removed")
	}
}
