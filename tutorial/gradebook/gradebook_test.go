package gradebook

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tiffin/tutorial"
	"tiffin/tutorial/similar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// results have every kind of outcome, and characters that one of the formats must escape.
var results = map[string]*tutorial.Result{
	"passed": {Lab: "01-image-is-files", Title: "An image is files", Seed: "first", State: tutorial.Passed, Points: 5, Of: 5, Checks: []tutorial.Check{
		{Name: "the layer is named", State: tutorial.Passed, Points: 5, Evidence: "sha256:0123"},
		{Name: "nothing was added", State: tutorial.Passed},
	}},
	"failed": {Lab: "01-image-is-files", Title: `An <image> is "files" & more`, Seed: "second # seed", State: tutorial.Failed, Points: 2, Of: 10, Checks: []tutorial.Check{
		{Name: "the layer is named", State: tutorial.Passed, Points: 2, Evidence: "two\nlines"},
		{Name: `the digest of #1 is \ "right"`, State: tutorial.Failed, Points: 8, Expected: "<a> & 'b' ]]> : {c}",
			Found: "\ufffd[2J… \tx\n---\n...\nok 3 - forged", Why: "The name is not the content: a ≠ b."},
	}},
	"unsupported": {Lab: "12-chown-rootless", Title: "Why chown fails", Seed: "first", State: tutorial.Unsupported,
		Why: "subordinate ids: no line for \"bob\"\n in /etc/subuid", Checks: []tutorial.Check{}},
}

// books are of one student and of a class: a formula for a name, a lab not handed in whose deadline
// is over and one whose deadline is not, points taken off, what could not be graded.
func books() map[string]*Book {
	over, later := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	made := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	labs := []tutorial.ClassLab{{Lab: "01-image-is-files", Title: "An image is files", Points: 10, Deadline: over}, {Lab: "12-chown-rootless", Title: "Why chown fails", Points: 5, Deadline: later}}
	env := map[string]string{"CLASSROOM": "os1", "ASSIGNMENT": "labs", "OWNER": "ada", "SUBMISSION_TAG": "submit/2026-11-30T08-00-00Z-abc1234",
		"COMMIT_URL": "https://example.org/c", "RELEASE_URL": "https://example.org/r"}
	ada := []tutorial.Mark{
		{ID: "ada", Name: "=HYPERLINK(\"http://x\")", Email: "+ada@x.example", Lab: labs[0].Lab, State: tutorial.Failed, Points: 1.8, Of: 10, Hints: 3, Attempts: 7, Late: 1,
			File: "in/ada.json", Note: "1 day late: 10 % less", Result: results["failed"]},
		{ID: "ada", Name: "=HYPERLINK(\"http://x\")", Email: "+ada@x.example", Lab: labs[1].Lab, State: tutorial.Missing, Of: 5},
	}
	class := append(ada[:2:2],
		tutorial.Mark{ID: "bob", Name: "Bob <b>", Email: "bob@x.example", Lab: labs[0].Lab, State: tutorial.Passed, Points: 10, Of: 10, Attempts: 1, File: "in/bob.json", Result: results["passed"]},
		tutorial.Mark{ID: "bob", Name: "Bob <b>", Email: "bob@x.example", Lab: labs[1].Lab, State: tutorial.Unsupported, Of: 5, Note: results["unsupported"].Why, Result: results["unsupported"]},
		tutorial.Mark{ID: "eve", Lab: labs[0].Lab, State: tutorial.Missing, Of: 10},
		tutorial.Mark{ID: "eve", Lab: labs[1].Lab, State: tutorial.Lost, Of: 5, File: "in/eve.json", Note: "set lab 12 up: no space left on device"},
	)
	return map[string]*Book{
		"student": {Marks: &tutorial.Marks{Class: "os1", Labs: labs, Marks: ada, Strays: []tutorial.Stray{}}, Made: made, Env: func(k string) string { return env[k] }},
		"class": {Marks: &tutorial.Marks{Class: "os1", Labs: labs, Marks: class, Strays: []tutorial.Stray{{File: "@in/x.json", Why: "it was changed after it was made"}}}, Made: made,
			Similar: []similar.Pair{{A: "ada", B: "bob", Lab: labs[0].Lab, Percent: 90, Why: "9 of 10 statements", Shared: []string{"echo '<script>' >answer"}}}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata/golden", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not as written down (%v):\n%s", path, err, got)
	}
}

// cannot are what has no form in a format, and what is said then.
var cannot = map[string]string{
	"unsupported.gradescope": "could not be judged on this machine",
	"class.gradescope":       "is for one submission, and there are 3",
	"class.classroom50":      "is for one submission, and there are 3",
}

// TestFormatsAreAsWrittenDown compares with testdata/golden; -update writes it.
func TestFormatsAreAsWrittenDown(t *testing.T) {
	try := func(name string, write func(*bytes.Buffer) error) {
		var b bytes.Buffer
		err := write(&b)
		if says, ok := cannot[name]; ok {
			if err == nil || !strings.Contains(err.Error(), says) || b.Len() > 0 {
				t.Errorf("%s: %v, %s", name, err, b.String())
			}
			return
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		golden(t, name, b.Bytes())
	}
	for name, res := range results {
		for _, format := range Formats(false) {
			try(name+"."+format, func(b *bytes.Buffer) error { return WriteResult(b, format, res) })
		}
	}
	all := books()
	all["unreadable"] = &Book{Marks: Plain(nil, []tutorial.Grade{{File: "in/ada.json", Error: "in/ada.json was changed after it was made"}}), Made: all["student"].Made, Env: all["student"].Env}
	for name, book := range all {
		for _, format := range Formats(true) {
			try(name+"."+format, func(b *bytes.Buffer) error { return Write(b, format, book) })
		}
	}
	if err := WriteResult(&bytes.Buffer{}, "yaml", results["passed"]); err == nil {
		t.Error("an unknown format")
	}
	if err := Write(&bytes.Buffer{}, "classroom50", &Book{Marks: books()["student"].Marks, Env: func(string) string { return "" }}); err == nil || !strings.Contains(err.Error(), "$CLASSROOM") {
		t.Errorf("classroom50 without its variables: %v", err)
	}
}

// TestFormatsCanBeRead by programs that know nothing of tiffin: what went in
// comes out.
func TestFormatsCanBeRead(t *testing.T) {
	res := results["failed"]
	read := func(format string) []byte {
		var b bytes.Buffer
		if err := WriteResult(&b, format, res); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var again tutorial.Result
	if err := json.Unmarshal(read("json"), &again); err != nil || !slices.Equal(again.Checks, res.Checks) {
		t.Errorf("%+v, %v", again, err)
	}
	var x struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure string `xml:"failure"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(read("junit"), &x); err != nil || x.Tests != 2 || x.Failures != 1 ||
		x.Cases[1].Name != res.Checks[1].Name || !strings.HasSuffix(x.Cases[1].Failure, res.Checks[1].Found) {
		t.Errorf("%+v, %v", x, err)
	}
	var g gradescopeResults
	if err := json.Unmarshal(read("gradescope"), &g); err != nil || g.Score != 2 || g.Tests[0].Score != 2 || g.Tests[1].Score != 0 || g.Tests[1].Max != 8 {
		t.Errorf("%+v, %v", g, err)
	}
	// A line that begins with ok or not ok is a test point, and there are two.
	points := 0
	for line := range strings.Lines(string(read("tap"))) {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "not ok ") {
			points++
		}
	}
	if points != 2 {
		t.Errorf("%d test points:\n%s", points, read("tap"))
	}
}

// TestNoCellIsAFormula: a spreadsheet takes one for what begins so, OWASP "CSV Injection".
func TestNoCellIsAFormula(t *testing.T) {
	for _, format := range []string{"csv", "moodle", "canvas"} {
		var b bytes.Buffer
		if err := Write(&b, format, books()["class"]); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) < 4 {
			t.Fatalf("%s: %v, %v", format, rows, err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "-" && strings.IndexAny(cell, "=+-@\t\r") == 0 {
					t.Errorf("%s: %q", format, cell)
				}
			}
		}
	}
}

// TestPlainMarks: without a class a file is a student, whatever stands in it.
func TestPlainMarks(t *testing.T) {
	labs := []*tutorial.Lab{{Name: "01-image-is-files", Title: "An image is files"}, {Name: "12-chown-rootless"}}
	m := Plain(labs, []tutorial.Grade{
		{File: "b/ada.json", Lab: "1", Hints: 2, Result: results["failed"]},
		{File: "a/ada.json", Lab: "01-image-is-files", Result: results["passed"]},
		{File: "c/eve.json", Error: "it was changed"}, {File: "c/mal.json", Lab: "", Error: "x"}, {File: "c/mal.json", Lab: "9", Error: "y"},
		{File: "c/bob.json", Lab: "01-image-is-files", Error: "the disk is full"},
	})
	all := (&Book{Marks: m}).students()
	if len(m.Labs) != 1 || m.Labs[0].Points != 10 || len(m.Strays) != 3 || len(all) != 3 || all[0].Marks[0].Points != 5 || all[1].Marks[0].Hints != 2 || all[2].Marks[0].State != tutorial.Lost {
		t.Errorf("%+v", m)
	}
	for _, format := range []string{"csv", "moodle", "canvas", "junit", "tap", "json", "html"} {
		if err := Write(&bytes.Buffer{}, format, &Book{Marks: m}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}
