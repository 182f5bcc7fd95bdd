package tutorial

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tiffin/internal/errs"
)

// classOf makes a class of a lab with students ada, bob and eve.
func classOf(t *testing.T, l *Lab, deadline time.Time) (dir string, secret Secret) {
	t.Helper()
	top := t.TempDir()
	roster := filepath.Join(top, "roster.csv")
	if err := os.WriteFile(roster, []byte("id,name\nada,Ada\nbob,Bob\neve,Eve\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := NewClass("os1", []*Lab{l})
	if err != nil {
		t.Fatal(err)
	}
	c.Labs[0].Deadline = deadline
	dir = filepath.Join(top, "os1")
	if _, err := MakeClass(dir, c, roster); err != nil {
		t.Fatal(err)
	}
	if secret, err = readSecret(dir); err != nil {
		t.Fatal(err)
	}
	return dir, secret
}

// member joins the class as a student.
func member(t *testing.T, dir, id string, token Token) *Student {
	t.Helper()
	c, err := ReadClass(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := student(t)
	if err := s.Join(c, id, string(token)); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStudentsJoinTheirClass: each with values of their own, which the class alone can know.
func TestStudentsJoinTheirClass(t *testing.T) {
	l := small(t)
	dir, secret := classOf(t, l, time.Time{})
	c, err := ReadClass(dir)
	if err != nil {
		t.Fatal(err)
	}
	token := secret.Token("os1", "ada")
	s := member(t, dir, "Ada", Token(strings.ToUpper(string(token[:14])+"-"+string(token[14:]))))
	if seed, err := s.seedOf(l); err != nil || seed != token.seed(l.Name) || seed == token.seed("01-other") {
		t.Errorf("%s, %v", seed, err)
	}
	if err := s.Join(c, "ada", string(token)); err != nil {
		t.Errorf("again: %v", err)
	}
	for want, j := range map[string]struct{ id, token string }{
		"is not that of \"bob\"": {"bob", string(token)},
		"labs that were begun":   {"bob", string(secret.Token("os1", "bob"))},
		"28 letters":             {"ada", "x"},
	} {
		if err := s.Join(c, j.id, j.token); err == nil || !strings.Contains(err.Error()+errs.HintOf(err), want) {
			t.Errorf("%v: %v", j, err)
		}
	}
	if st, err := os.Stat(s.joinedPath()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	alone := student(t)
	if _, err := alone.Seed("mine"); err != nil {
		t.Fatal(err)
	}
	if err := alone.Join(c, "ada", string(token)); err == nil || !strings.Contains(err.Error(), "labs that were begun") {
		t.Errorf("over labs of one's own: %v", err)
	}
}

// TestWhichHandInCounts: the last before the deadline, if its student signed it. Others are told.
func TestWhichHandInCounts(t *testing.T) {
	l := small(t)
	deadline := time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	dir, secret := classOf(t, l, deadline)
	files := t.TempDir()
	hand := func(name, id string, token Token, after time.Duration, change func(*Submission)) {
		t.Helper()
		sub := Submission{Version: 1, Class: "os1", Student: id, Made: deadline.Add(after), Labs: []Handed{{Lab: l.Name, Record: Entry{Hints: 1, Checks: 2}}}}
		if change != nil {
			change(&sub)
		}
		text, err := sub.seal(token.key())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(files, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ada, bob, eve := secret.Token("os1", "ada"), secret.Token("os1", "bob"), secret.Token("os1", "eve")
	hand("ada-1", "ada", ada, -2*time.Hour, nil)
	hand("ada-2", "ADA", ada, -time.Hour, nil)
	hand("ada-3", "ada", ada, time.Hour, nil)
	hand("bob-1", "bob", bob, time.Hour, nil)
	hand("bob-2", "bob", bob, 25*time.Hour, func(s *Submission) {
		s.Labs[0].Record = Entry{Hints: -5, Checks: 1 << 40, State: Done, Begun: deadline, Checked: deadline.Add(time.Minute)}
	})
	hand("as-bob", "bob", eve, -time.Hour, nil)
	hand("nobody", "mallory\x1b[2J", eve, -time.Hour, nil)
	hand("os2", "eve", eve, -time.Hour, func(s *Submission) { s.Class = "os2" })
	hand("alone", "eve", eve, -time.Hour, func(s *Submission) { s.Class = "" })
	hand("another-lab", "eve", eve, -time.Hour, func(s *Submission) { s.Labs[0].Lab = "50" })
	if err := os.WriteFile(filepath.Join(files, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := openClassroom(dir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(files + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range names {
		k.take(f)
	}
	got := map[string]string{}
	for i := range k.marks.Marks {
		h, _ := k.choose(i)
		got[k.marks.Marks[i].ID] = filepath.Base(h.File)
	}
	if want := map[string]string{"ada": "ada-2", "bob": "bob-2", "eve": "."}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v counts, want %v", got, want)
	}
	m := k.marks.Marks[1]
	if m.Late != 2 || m.Hints != 0 || m.Attempts != 1<<20 || m.Seconds != 60 || m.Note != "handed in 2 times" {
		t.Errorf("bob: %+v", m)
	}
	if m := k.marks.Marks[2]; m.State != Missing || m.Of != 10 {
		t.Errorf("eve: %+v", m)
	}
	strays := map[string]string{}
	for _, s := range k.marks.Strays {
		strays[filepath.Base(s.File)] = s.Why
	}
	for file, why := range map[string]string{
		"ada-1": "more than once", "ada-3": "ada-2 counts", "bob-1": "bob-2 counts", "as-bob": "signed by somebody else", "os2": "for the class \"os2\"",
		"nobody": "no student \"mallory\ufffd[2J\"", "alone": "had not joined", "another-lab": "not one of the class", "empty": "is not what",
	} {
		if !strings.Contains(strays[file], why) {
			t.Errorf("%s: %q, want %q", file, strays[file], why)
		}
		delete(strays, file)
	}
	if len(strays) > 0 {
		t.Errorf("strays too: %v", strays)
	}
}

// TestAClassIsGraded: with what a student has from the class, from the join to the marks.
func TestAClassIsGraded(t *testing.T) {
	needContainers(t)
	l := small(t)
	dir, secret := classOf(t, l, time.Now().Add(-time.Hour))
	var files []string
	for id, solve := range map[string]string{"ada": "echo $WORD >answer", "bob": "echo no >answer"} {
		s := member(t, dir, id, secret.Token("os1", id))
		s.mustStart(t, l)
		if _, _, _, err := s.Hint(background, l); err != nil {
			t.Fatal(err)
		}
		files = append(files, s.handIn(t, l, solve))
	}
	s := student(t)
	g := &Grader{Runner: s.Runner, Labs: []*Lab{l}, Jobs: 2, Solve: time.Minute}
	n := 0
	marks, err := g.Class(background, dir, files, func(Grade) { n++ })
	if err != nil || n != 2 {
		t.Fatalf("%d replays, %v", n, err)
	}
	var got []string
	for _, m := range marks.Marks {
		got = append(got, fmt.Sprint(m.ID, " ", m.State, " ", m.Points, " ", m.Note))
	}
	want := []string{
		"ada passed 8.5 1 hint: 5 % less; 1 day late: 10 % less",
		"bob failed 2.13 1 hint: 5 % less; 1 day late: 10 % less",
		"eve missing 0 ",
	}
	if !reflect.DeepEqual(got, want) || len(marks.Strays) > 0 {
		t.Errorf("%q, %v", got, marks.Strays)
	}
}
