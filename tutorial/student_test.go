package tutorial

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var background = context.Background()

// needContainers needs what containers need.
func needContainers(t *testing.T) {
	t.Helper()
	need(t, &Lab{Needs: []string{"userns", "fuse"}})
}

// TestResetRemovesAllOfTheLabAndNothingElse, the unreadable too. The directory
// itself stays, since a shell is in it.
func TestResetRemovesAllOfTheLabAndNothingElse(t *testing.T) {
	needContainers(t)
	l := small(t, file("setup.sh", `
echo nothing >start
tiffin run -d --name $P-runs tiffin/base sleep 1000
tiffin run --name $P-ended tiffin/base touch /new
tiffin commit $P-ended $P.example/image:1
tiffin tag $P.example/image:1 $P.example/image:2
`), file("cleanup.sh", "rm -f \"$WORK/../elsewhere\"\n"))
	s := student(t)
	s.mustStart(t, l)
	for _, args := range [][]string{
		{"create", "--name", "lab50", "tiffin/base"}, {"create", "--name", "mylab50-x", "tiffin/base"}, {"tag", "lab50.example/image:1", "mine:1"},
	} {
		if _, err := s.tiffin(args...); err != nil {
			t.Fatal(err)
		}
	}
	work := s.Work(l)
	if err := os.MkdirAll(filepath.Join(work, "dir/below"), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(filepath.Join(work, "dir"), 0)
	if err := os.WriteFile(filepath.Join(s.Dir, "elsewhere"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(work)
	if err != nil {
		t.Fatal(err)
	}
	wipe(t, s, l)
	if after, err := os.Stat(work); err != nil || !os.SameFile(before, after) {
		t.Errorf("the work directory is another: %v", err)
	}
	if ents, _ := os.ReadDir(work); len(ents) > 0 {
		t.Errorf("left in the work directory: %v", ents)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "elsewhere")); err == nil {
		t.Error("cleanup.sh did not run")
	}
	if got := names(t, s); got != "lab50 mylab50-x mine:1 tiffin/base:latest" {
		t.Errorf("left: %s", got)
	}
	if res, err := s.Reset(background, l); res != nil || err != nil {
		t.Fatalf("%+v, %v", res, err)
	}
	if got := names(t, s); got != "lab50 lab50-ended lab50-runs mylab50-x lab50.example/image:1 lab50.example/image:2 mine:1 tiffin/base:latest" {
		t.Errorf("after reset: %s", got)
	}
	wipe(t, s, l)
}

// names are the containers and then the images of a store.
func names(t *testing.T, s *Student) string {
	t.Helper()
	ctrs, err := s.tiffin("ps", "-a", "--format", "{{.Names}}")
	if err != nil {
		t.Fatal(err)
	}
	imgs, err := s.tiffin("images", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		t.Fatal(err)
	}

	slices.Sort(ctrs)
	slices.Sort(imgs)
	return strings.Join(append(ctrs, imgs...), " ")
}

// TestCheckThatHangsInAContainerLeavesNone.
func TestCheckThatHangsInAContainerLeavesNone(t *testing.T) {
	needContainers(t)
	l := small(t, file("check.sh", "tiffin run -d tiffin/base sleep 1000\ntouch running\ntiffin run tiffin/base sleep 1000\n"))
	s := student(t)
	s.mustStart(t, l)
	if _, err := s.tiffin("create", "--name", "mine", "tiffin/base"); err != nil { // unpacks the image, too
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(background)
	go func() {
		for range 12000 {
			ctrs, _ := s.containers()
			if running := slices.DeleteFunc(ctrs, func(c container) bool { return c.pid == 0 }); len(running) == 2 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	if _, err := s.Check(ctx, l); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(filepath.Join(s.Work(l), "running")); err != nil {
		t.Error("the first container did not start")
	}
	if left := marked(labVariable, s.Work(l)); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if got := names(t, s); got != "mine tiffin/base:latest" {
		t.Errorf("left: %s", got)
	}
}

// TestTrialThatStopsEarlyLeavesNothing, when a script is broken or somebody
// interrupts.
func TestTrialThatStopsEarlyLeavesNothing(t *testing.T) {
	needContainers(t)
	const setup = "tiffin run -d --name other tiffin/base sleep 1000\nsleep 1000 &\n"
	r := &Runner{Binary: binary, Limit: DefaultLimit}
	l := small(t, file("setup.sh", setup), file("check.sh", "exit 3\n"))
	trial, err := r.Test(background, l, TestOptions{Seed: "s"})
	if err != nil || len(trial.Problems) == 0 {
		t.Errorf("%+v, %v", trial, err)
	}
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	l = small(t, file("setup.sh", setup))
	_, err = r.Test(ctx, l, TestOptions{Seed: "s", Step: func(what string) {
		if what == "the lesson's commands" { // setup has been there
			cancel()
		}
	}})
	if err == nil {
		t.Error("no error")
	}
	if left := ofTests(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestStudentGoesThroughALab(t *testing.T) {
	l := small(t)
	s := student(t)
	if _, err := s.Check(background, l); err == nil || !strings.Contains(err.Error(), "not started") {
		t.Errorf("check before start: %v", err)
	}
	if seed, err := s.Seed("someone"); err != nil || seed != "someone" {
		t.Errorf("%q, %v", seed, err)
	}
	if _, err := s.Seed("someone else"); err == nil {
		t.Error("the seed was changed")
	}
	s.mustStart(t, l)
	if s.Current([]*Lab{l}) != l {
		t.Error("not the current lab")
	}
	for i, want := range []string{"one", "two", "the word is ", "the word is "} {
		text, n, of, err := s.Hint(background, l)
		if err != nil || !strings.HasPrefix(text, want) || n != min(i+1, 3) || of != 3 || strings.Contains(text, "{{") {
			t.Errorf("hint %d: %q, %d of %d, %v", i, text, n, of, err)
		}
	}
	res, err := s.Check(background, l)
	if err != nil || res.State != Failed || res.Points != 1 || res.Of != 4 || res.Seed != "someone" {
		t.Errorf("%+v, %v", res, err)
	}
	text, _, _, _ := s.Hint(background, l)
	word := strings.TrimPrefix(text, "the word is ")
	if err := os.WriteFile(filepath.Join(s.Work(l), "answer"), []byte("  "+word+" \r\n\nmore"), 0o644); err != nil {
		t.Fatal(err)
	}
	if res, err := s.Check(background, l); err != nil || res.State != Passed || res.Points != 4 {
		t.Errorf("%+v, %v", res, err)
	}
	e, err := s.Entry(l.Name)
	if err != nil || e.State != Done || e.Points != 4 || e.Of != 4 || e.Hints != 3 || e.Checks != 2 || e.Checked.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
	// Tidying up takes nothing away, though the check fails again.
	if err := os.Remove(filepath.Join(s.Work(l), "answer")); err != nil {
		t.Fatal(err)
	}
	if res, err := s.Check(background, l); err != nil || res.State != Failed {
		t.Errorf("%+v, %v", res, err)
	}
	if e, err := s.Entry(l.Name); err != nil || e.State != Done || e.Points != 4 {
		t.Errorf("after tidying up: %+v, %v", e, err)
	}
	if next, err := s.Next([]*Lab{l}); len(next) > 0 || err != nil {
		t.Errorf("next is %v, %v", next, err)
	}
	if ents, _ := os.ReadDir(s.Dir); len(ents) != 4 { // seed, current, record, 50-small
		t.Errorf("%v", ents)
	}
}

// TestABegunLabKeepsItsCounts: to remove a lab and begin it again takes no hint back, and no check.
func TestABegunLabKeepsItsCounts(t *testing.T) {
	needContainers(t)
	l := small(t)
	s := student(t)
	s.mustStart(t, l)
	if _, _, _, err := s.Hint(background, l); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(background, l); err != nil {
		t.Fatal(err)
	}
	before, err := s.Entry(l.Name)
	if err != nil || before.Hints != 1 || before.Checks != 1 || before.Begun.IsZero() {
		t.Fatalf("%+v, %v", before, err)
	}
	if err := s.Clean(background, l); err != nil {
		t.Fatal(err)
	}
	s.mustStart(t, l)
	if e, err := s.Entry(l.Name); err != nil || e.Hints != 1 || e.Checks != 1 || !e.Begun.Equal(before.Begun) {
		t.Errorf("%+v, %v; before %+v", e, err, before)
	}
}

// TestAnEditedRecordDoesNotCount: not for points, not for having passed, and its start is none.
func TestAnEditedRecordDoesNotCount(t *testing.T) {
	l := small(t)
	s := student(t)
	s.mustStart(t, l)
	if res, err := s.Check(background, l); err != nil || res.Points != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	path := s.recordPath(l.Name)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range []struct{ old, new string }{
		{`"points": 1`, `"points": 999`}, {`"started"`, `"passed"`}, {`"lab": "50-small"`, `"lab": "50-other"`},
		{string(whole), ""}, {string(whole), `{"lab": "50-small", "state": "passed", "points": 999, "of": 10}`},
	} {
		text := strings.Replace(string(whole), edit.old, edit.new, 1)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil || text == string(whole) {
			t.Fatalf("%v: %s", err, text)
		}
		if e, err := s.Entry(l.Name); err != nil || *e != (Entry{Lab: l.Name, State: Started}) {
			t.Errorf("%s: %+v, %v", edit.new, e, err)
		}
	}
	res, err := s.Check(background, l)
	if err != nil || res.State != Failed || res.Points != 0 || !strings.Contains(failures(res), "no record, or one that was changed by hand") {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err := s.Reset(background, l); res != nil || err != nil {
		t.Fatal(err)
	}
	if res, err := s.Check(background, l); err != nil || res.Points != 1 {
		t.Errorf("after reset: %+v, %v", res, err)
	}
}

// TestUnsupportedIsNoFailure, and starts nothing.
func TestUnsupportedIsNoFailure(t *testing.T) {
	l := small(t, file("setup.sh", "echo x >start\nunsupported 'there is no moon'\necho y >start\n"))
	s := student(t)
	res, err := s.Start(background, l)
	if err != nil || res == nil || res.State != Unsupported || res.Why != "there is no moon" || s.Started(l) {
		t.Errorf("%+v, %v, started %v", res, err, s.Started(l))
	}
	l = small(t, file("check.sh", "pass 'a' 1\nunsupported 'there is no moon'\n"))
	s.mustStart(t, l)
	if res, err := s.Check(background, l); err != nil || res.State != Unsupported || res.Why != "there is no moon" {
		t.Errorf("%+v, %v", res, err)
	}
	trial, err := (&Runner{Binary: binary, Limit: DefaultLimit}).Test(background, l, TestOptions{Seed: "s"})
	if err != nil || trial.Unsupported != "there is no moon" || len(trial.Problems) > 0 {
		t.Errorf("%+v, %v", trial, err)
	}
}

// TestFailedSetupLeavesNoHalfLab.
func TestFailedSetupLeavesNoHalfLab(t *testing.T) {
	l := small(t, file("setup.sh", "echo nothing >start\nfalse\n"))
	s := student(t)
	if _, err := s.Start(background, l); err == nil || !strings.Contains(err.Error(), "broken: setup.sh") || s.Started(l) {
		t.Errorf("%v, started %v", err, s.Started(l))
	}
}

// TestInterruptedStartLeavesNoHalfLab, though its cleanup.sh takes a process.
func TestInterruptedStartLeavesNoHalfLab(t *testing.T) {
	l := small(t, file("setup.sh", "touch running\nsleep 1000\n"), file("cleanup.sh", "sh -c true\n"))
	s := student(t)
	ctx, cancel := context.WithCancel(background)
	go func() {
		for range 12000 {
			if _, err := os.Stat(filepath.Join(s.Work(l), "running")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	if _, err := s.Start(ctx, l); err == nil || !strings.Contains(err.Error(), "interrupted") || s.Started(l) {
		t.Errorf("%v, started %v", err, s.Started(l))
	}
}

func TestFind(t *testing.T) {
	labs := []*Lab{{Name: "01-image-is-files"}, {Name: "04-uts-ipc"}, {Name: "05-user"}, {Name: "12-users"}}
	for what, want := range map[string]int{"1": 0, "01": 0, "image": 0, "image-is-files": 0, "01-image-is-files": 0, "4": 1, "12": 3, "user": 2, "users": 3} {
		if l, err := Find(labs, what); err != nil || l != labs[want] {
			t.Errorf("%s: %v, %v", what, l, err)
		}
	}
	for _, what := range []string{"", "u", "us", "0", "2", "../01"} {
		if l, err := Find(labs, what); err == nil {
			t.Errorf("%s: %v", what, l)
		}
	}
}

func TestNewLabIsGood(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "51-mine")
	if err := New(dir); err != nil {
		t.Fatal(err)
	}
	if err := New(dir); err == nil {
		t.Error("written over another")
	}
	if err := New(filepath.Join(t.TempDir(), "mine")); err == nil {
		t.Error("a name without a number")
	}
	l, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	trial, err := (&Runner{Binary: binary, Limit: DefaultLimit}).Test(background, l, TestOptions{Seed: "s"})
	if err != nil || len(trial.Problems) > 0 || len(trial.Checks) == 0 {
		t.Errorf("%+v, %v", trial, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "check.sh")); err != nil || st.Mode().Perm()&0o200 == 0 {
		t.Errorf("cannot be edited: %v, %v", st, err)
	}
}
