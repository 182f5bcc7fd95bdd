// The test of a lab: its solution passes, its untouched start does not, each wrong answer fails
// for its reason.

package tutorial

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Trial is a test of a lab: whether it judges as it should.
type Trial struct {
	Lab         *Lab
	Unsupported string    // why it could not be run here; what can be seen without was
	Problems    []Problem // none: the lab is good
	Checks      []Check   // as the untouched start reports them
	Commands    int       // that the lesson has
	Wrongs      int       // wrong answers
	Tried       int       // attacks of the adversary
}

// Problem is a fault of a lab.
type Problem struct{ Where, What string }

func (p Problem) String() string { return p.Where + ": " + p.What }

func (t *Trial) problem(where, format string, args ...any) {
	if p := (Problem{where, fmt.Sprintf(format, args...)}); !slices.Contains(t.Problems, p) {
		t.Problems = append(t.Problems, p)
	}
}

// TestOptions say how to try a lab.
type TestOptions struct {
	Seed  string
	Brief bool         // leave the wrong answers out, and the adversary
	Few   int          // if not 0: about so many attacks, and one wrong answer for each stage
	Step  func(string) // if not nil: is told what is tried next
}

// Test tries a lab in a store and a directory of its own.
func (r *Runner) Test(ctx context.Context, l *Lab, o TestOptions) (*Trial, error) {
	t := &Trial{Lab: l}
	t.look()
	if need, why := l.missing(); need != "" {
		t.Unsupported = why
		return t, nil
	}
	dir, held, err := makeTemp()
	if err != nil {
		return nil, err
	}
	defer held.Close()
	defer func() { _ = removeAll(dir) }()
	own := *r
	own.Env = append(slices.Clone(r.Env), "TIFFIN_ROOT="+filepath.Join(dir, "store"), "TIFFIN_LABS="+dir)
	work := filepath.Join(dir, l.Name)
	if err := os.Mkdir(work, 0o755); err != nil {
		return nil, err
	}
	b, err := own.set(l, work, o.Seed)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	e := &trial{Trial: t, bench: b, TestOptions: o}
	defer e.end(context.WithoutCancel(ctx))
	e.all(ctx)
	return t, ctx.Err()
}

// trial is a Trial while it is made.
type trial struct {
	*Trial
	*bench
	TestOptions
}

func (t *trial) step(what string) {
	if t.Step != nil {
		t.Step(what)
	}
}

// all tries everything. Each attempt begins with the start state.
func (t *trial) all(ctx context.Context) {
	start := t.attempt(ctx, "the untouched start", nil)
	if start == nil {
		return
	}
	t.Checks = start.Checks
	if start.State == Passed {
		t.problem("check.sh", "accepts the untouched start: its exit status must be 1")
	}
	t.claimedChecks(ctx)
	t.widths(ctx)
	t.commands(ctx)
	res := t.attempt(ctx, "solution.sh", []string{"solution.sh"})
	if res != nil && res.State != Passed {
		t.problem("solution.sh", "does not pass: %s", failures(res))
	}
	if !t.Brief && res != nil && res.State == Passed {
		t.attacked(ctx)
	}
	if !t.Brief {
		wrongs, _ := t.lab.wrongs() // look has told of an error
		last := 0
		for _, w := range wrongs { // by stage, as their names sort
			if t.Few == 0 || w.Stage == 0 || w.Stage != last {
				t.wrong(ctx, w)
			}
			last = w.Stage
		}
	}
	t.step("reset")
	if err := t.wipe(ctx, ""); err != nil {
		t.problem("reset", "%v", err)
	}
	t.leftovers()
}

// end removes everything that the trial made, wherever it stopped.
func (t *trial) end(ctx context.Context) {
	_ = t.wipe(ctx, "")
	ctrs, _ := t.containers()
	for _, c := range ctrs {
		_, _ = t.tiffin("rm", "-f", c.id)
	}
}

// attempt makes the start state, runs scripts and then the check. It is nil if
// that went wrong, or the machine lacks something, and has been noted.
func (t *trial) attempt(ctx context.Context, what string, scripts []string) *Result {
	if t.Unsupported != "" || ctx.Err() != nil {
		return nil
	}
	t.step(what)
	if !t.begin(ctx) {
		return nil
	}
	for _, s := range scripts {
		out, err := t.answer(ctx, s)
		if err != nil {
			t.problem(what, "%v", err)
			return nil
		}
		if res := t.refused(out); res != nil {
			t.Unsupported = res.Why
			return nil
		}
	}
	return t.judge(ctx, what)
}

// begin makes the start state.
func (t *trial) begin(ctx context.Context) bool {
	if err := t.wipe(ctx, ""); err != nil {
		t.problem("reset", "%v", err)
		return false
	}
	res, err := t.setUp(ctx)
	if err != nil {
		t.problem("setup.sh", "%v", err)
		return false
	}
	if res != nil {
		t.Unsupported = res.Why
	}
	return res == nil
}

// judge runs the check, and compares what it looks at with the first time.
func (t *trial) judge(ctx context.Context, what string) *Result {
	res, err := t.check(ctx)
	if err != nil {
		t.problem(what, "%v", err)
		return nil
	}
	if res.State == Unsupported {
		t.Unsupported = res.Why
		return nil
	}
	if t.Checks != nil && t.stage == 0 && !sameChecks(t.Checks, res.Checks) {
		t.problem(what, "check.sh must report the same names and points in every run: %s; at the start: %s", listChecks(res.Checks), listChecks(t.Checks))
	}
	for _, c := range res.Checks {
		if c.State == Failed && c.Why == "" {
			t.problem(what, "check %q fails and does not say why that may be", c.Name)
		} else if c.State == Failed && !whole().MatchString(c.Why) {
			t.problem(what, "check %q does not say why in whole sentences: %q", c.Name, c.Why)
		}
	}
	t.untranslated(res)
	return res
}

// whole is a text of whole sentences. They may begin with the name of a command, so only their end
// is looked at.
var whole = pattern("[.?!)\"`]$")

// wrong tries a wrong answer: the check must fail with the message it promises.
func (t *trial) wrong(ctx context.Context, w Wrong) {
	t.Wrongs++
	t.stage = w.Stage
	defer func() { t.stage = 0 }()
	res := t.attempt(ctx, w.Script, []string{w.Script})
	if res == nil {
		return
	}
	if res.State == Passed {
		t.problem(w.Script, "passes, though it is wrong")
		return
	}
	if !slices.ContainsFunc(res.Checks, func(c Check) bool { return c.State == Failed && strings.Contains(c.Why, w.Says) }) {
		t.problem(w.Script, "no failed check says %q; they say: %s", w.Says, failures(res))
	}
}

// commands types the lesson's commands as a student does. They must work, and must not solve the
// task.
func (t *trial) commands(ctx context.Context) {
	if t.Unsupported != "" || ctx.Err() != nil {
		return
	}
	t.step("the lesson's commands")
	if !t.begin(ctx) {
		return
	}
	lesson, err := t.replace(ctx, t.lab.Lesson)
	if err != nil {
		t.problem("values.sh", "%v", err)
		return
	}
	list := commands(lesson)
	if t.Commands = len(list); t.Commands == 0 {
		return
	}
	student, err := t.newTypist()
	if err != nil {
		t.problem("lab.txt", "%v", err)
		return
	}
	defer student.close()
	for _, c := range append([]string{""}, list...) {
		if _, err := student.enter(ctx, c); err != nil {
			t.problem("lab.txt", "the command `%s` %v", c, err)
			return
		}
	}
	if res := t.judge(ctx, "the lesson's commands"); res != nil && res.State == Passed {
		t.problem("lab.txt", "the lesson's commands solve the task")
	}
}

// widths: with the student's values in it, a text fits a terminal of 80 columns.
func (t *trial) widths(ctx context.Context) {
	texts := map[string]string{}
	for _, lang := range append(t.lab.Languages(), "") {
		if l, err := t.lab.In(lang); err == nil { // look has told of an error
			hints, _ := l.hints()
			texts[path.Join(lang, "lab.txt")], texts[path.Join(lang, "hints.txt")] = l.Lesson, strings.Join(hints, "\n")
		}
	}
	for name, text := range texts {
		text, err := t.replace(ctx, text)
		if err != nil {
			t.problem("values.sh", "%v", err)
			return
		}
		for line := range strings.SplitSeq(text, "\n") {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.problem(name, "a line is %d columns wide, more than 80: %q", n, line)
			}
		}
	}
}

// leftovers looks for what reset should have ended or removed.
func (t *trial) leftovers() {
	ctrs, err := t.containers()
	if err != nil {
		t.problem("reset", "%v", err)
	}
	for _, c := range ctrs {
		t.problem("reset", "the container %s is left: name it %s-something", c.name, t.lab.prefix())
	}
	names, err := t.tiffin("images", "--format", imageName)
	if err != nil {
		t.problem("reset", "%v", err)
	}
	for _, n := range names {
		if n != "tiffin/base:latest" {
			t.problem("reset", "the image %s is left: name it %ssomething", n, t.lab.imagePrefix())
		}
	}
}

// sameChecks compares names and points.
func sameChecks(a, b []Check) bool {
	return listChecks(a) == listChecks(b)
}

func listChecks(all []Check) string {
	var names []string
	for _, c := range all {
		if c.void {
			continue
		}
		names = append(names, fmt.Sprintf("%q (%d)", c.Name, c.Points))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// failures are the messages of a result.
func failures(r *Result) string {
	var all []string
	for _, c := range r.Checks {
		if c.State == Failed {
			all = append(all, fmt.Sprintf("%q: expected %q, found %q: %s", c.Name, c.Expected, c.Found, c.Why))
		}
	}
	return strings.Join(all, "; ")
}

// claimedChecks finds claims whose evidence is a check that the lab does not have.
func (t *trial) claimedChecks(ctx context.Context) {
	claims, _ := t.lab.claims() // look has told of an error
	for _, c := range claims {
		name, err := t.replace(ctx, c.Check)
		if err != nil {
			t.problem("values.sh", "%v", err)
			return
		}
		if c.Check != "" && !slices.ContainsFunc(t.Checks, func(k Check) bool { return k.Name == name }) {
			t.problem("claims.txt", "there is no check %q", name)
		}
	}
}

// look finds the problems that can be seen in the files alone.
func (t *Trial) look() {
	l := t.Lab
	for _, name := range []string{"setup.sh", "check.sh", "solution.sh"} {
		if !l.has(name) {
			t.problem(name, "is missing")
		}
	}
	if hints, err := l.hints(); err != nil {
		t.problem("hints.txt", "%v", err)
	} else if len(hints) != 3 {
		t.problem("hints.txt", "has %d hints, not 3: lines `---` are between them", len(hints))
	}
	if _, err := l.claims(); err != nil {
		t.problem("claims.txt", "%v", err)
	}
	t.lookWrongs()
	t.lookTranslations()
	if !strings.Contains("\n"+l.Lesson, "\nYour task\n") {
		t.problem("lab.txt", "has no section `Your task`")
	}
	for _, name := range []string{"lab.txt", "hints.txt"} {
		text, err := fs.ReadFile(l.files, name)
		if err != nil {
			continue
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			line = strings.TrimRight(line, "\n")
			if clean(line) != line || strings.Contains(line, "\t") {
				t.problem(name, "line %d has a tab, or characters that are no text", n)
			}
		}
	}
}

func (t *Trial) lookWrongs() {
	wrongs, err := t.Lab.wrongs()
	if err != nil {
		t.problem("wrong", "%v", err)
		return
	}
	if len(wrongs) < 3 {
		t.problem("wrong", "there are %d wrong answers, at least 3 are needed", len(wrongs))
	}
	for i, a := range wrongs {
		for _, b := range wrongs[:i] {
			if strings.Contains(a.Says, b.Says) || strings.Contains(b.Says, a.Says) {
				t.problem(a.Script, "promises the same message as %s: %q", b.Script, a.Says)
			}
		}
	}
}
