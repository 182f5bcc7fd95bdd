package tutorial

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// handIn makes a submission of a started lab with a solve.sh.
func (s *Student) handIn(t *testing.T, l *Lab, solve string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Work(l), SolveScript), []byte(solve), 0o644); err != nil {
		t.Fatal(err)
	}
	text, _, err := s.Submit([]*Lab{l})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "submission.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHandInsAreReplayed: the right script passes with a seed that the student never saw, and a
// value of the student's own does not. Whoever hangs, forks, fills the disk or the memory, ends the
// processes around or looks for the judge harms nobody else.
func TestHandInsAreReplayed(t *testing.T) {
	needContainers(t)
	l := small(t)
	s := student(t)
	if _, err := s.Seed("first"); err != nil {
		t.Fatal(err)
	}
	s.mustStart(t, l)
	word, err := s.replace(background, l, "{{WORD}}")
	if err != nil {
		t.Fatal(err)
	}
	other := student(t)
	for i := 0; ; i++ { // a seed with another word
		other.Dir += "x"
		if _, err := other.Seed(strings.Repeat("x", i+1)); err != nil {
			t.Fatal(err)
		}
		if text, err := other.replace(background, l, "{{WORD}}"); err != nil || text != word {
			break
		}
	}
	seed, err := other.Seed("")
	if err != nil {
		t.Fatal(err)
	}
	want, files := map[string]string{}, []string{}
	for solve, why := range map[string]string{
		"echo $WORD >answer":                  "",
		"echo " + word + " >answer":           "You wrote another word",
		"rm start; echo $WORD >answer":        "You removed it",
		"echo $WORD >answer; exec sleep 1000": "into the background, with &",
		"echo $WORD >answer; while :; do sh -c 'sleep 100 & sleep 100 & sleep 100' & done":                          "*",
		"head -c 1g /dev/zero >x; echo $WORD >answer":                                                               "*",
		"(while :; do kill -9 -1; done) & echo no >answer":                                                          "-",
		"(while :; do for p in /proc/[0-9]*; do (exec 4>$p/fd/3; printf x >&4); done; done) 2>&- & echo no >answer": "You wrote another word",
		"dd if=/dev/zero of=/dev/null bs=1200M count=1 || echo $WORD >answer":                                       "", // has a limit
		"cat /run/own/*/solution.sh /run/own/*/wrong/* && echo $WORD >answer || echo no >answer":                    "You wrote another word",
		// The program that the scripts see has no solutions of other labs.
		"grep -q 'dd of=$B conv=notrunc; cat $C >/dev/null' /run/tiffin/tiffin && echo $WORD >answer || echo no >answer": "You wrote another word",
		"grep -q 'A file is copied out of its layer' /run/tiffin/tiffin && echo $WORD >answer || echo no >answer":        "", // grep finds what is there
		"mount -t tmpfs none /run/judging && echo $WORD >answer || echo no >answer":                                      "You wrote another word",
	} {
		f := s.handIn(t, l, solve)
		files = append(files, f)
		want[f] = solve + "\x00" + why
	}
	changed := s.handIn(t, l, "true")
	b, err := os.ReadFile(changed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, []byte(strings.Replace(string(b), `"hints": 0`, `"hints": 1`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	files = append(files, changed)

	s.Limit = 2 * time.Minute
	g := &Grader{Runner: s.Runner, Labs: []*Lab{l}, Jobs: 2, Seed: seed, Solve: 10 * time.Second}
	n := 0
	g.Grade(background, files, func(o Grade) {
		n++
		t.Logf("%s: %+v", o.File, o.Result)
		if o.File == changed {
			if !strings.Contains(o.Error, "was changed after it was made") {
				t.Errorf("changed: %+v", o)
			}
			return
		}
		solve, why, _ := strings.Cut(want[o.File], "\x00")
		switch {
		case o.Error != "":
			t.Errorf("%s: %s", solve, o.Error)
		case why == "*": // it had its limits, and has what it has
		case why == "" && (o.Result.State != Passed || o.Result.Points != 4):
			t.Errorf("%s: %+v", solve, o.Result)
		case why != "" && o.Result.State != Failed:
			t.Errorf("%s: %+v", solve, o.Result)
		case why != "-" && !strings.Contains(failures(o.Result), why):
			t.Errorf("%s: %s", solve, failures(o.Result))
		}
	})
	if n != len(files) {
		t.Errorf("%d outcomes of %d", n, len(files))
	}
	if ctrs, err := s.containers(); err != nil || len(ctrs) > 0 {
		t.Errorf("left: %v, %v", ctrs, err)
	}
}

// TestALabIsHandedInOnce: the signature is the student's own, so it keeps nobody from that.
func TestALabIsHandedInOnce(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "submission.json")
	for labs, want := range map[string]string{"50-a 50-b": "", "50-a 50-b 50-a": "twice"} {
		sub := Submission{Version: 1}
		for _, l := range strings.Fields(labs) {
			sub.Labs = append(sub.Labs, Handed{Lab: l})
		}
		text, err := sub.seal(key)
		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSubmission(path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", labs, err)
		}
	}
}
