// The results of one student for a server that asks for them: Gradescope, Classroom 50.

package gradebook

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tiffin/internal/errs"
	"tiffin/tutorial"
)

// Gradescope's results.json, which its autograders leave in
// /autograder/results: https://gradescope-autograders.readthedocs.io/en/latest/specs/,
// "Output format".
type (
	gradescopeResults struct {
		Score  float64          `json:"score"` // overrides the sum of the tests'
		Output string           `json:"output"`
		Format string           `json:"output_format"`
		Extra  map[string]any   `json:"extra_data"`
		Tests  []gradescopeTest `json:"tests"`
	}
	gradescopeTest struct {
		Score  int    `json:"score"`
		Max    int    `json:"max_score"`
		Status string `json:"status"` // passed or failed
		Name   string `json:"name"`
		Output string `json:"output,omitempty"`
	}
)

func writeGradescope(w io.Writer, b *Book) error {
	s, err := b.only("gradescope")
	if err != nil {
		return err
	}
	g := gradescopeResults{Format: "text", Extra: map[string]any{}, Tests: []gradescopeTest{}}
	var output []string
	for _, stray := range b.Strays {
		output = append(output, stray.Why)
	}
	for i, m := range s.Marks {
		if m == nil {
			continue
		}
		g.Score += m.Points
		line := fmt.Sprintf("%s: %s of %s points", title(b.Labs[i]), number(m.Points), number(m.Of))
		if m.Note != "" {
			line += ": " + m.Note
		}
		output = append(output, line)
		g.Extra[m.Lab] = map[string]any{"state": m.State, "hints": m.Hints, "attempts": m.Attempts}
		for _, c := range checks(m) {
			t := gradescopeTest{Max: c.Points, Status: "failed", Name: m.Lab[:2] + " " + c.Name, Output: text(c)}
			if c.State == tutorial.Passed {
				t.Score, t.Status = c.Points, "passed"
			}
			g.Tests = append(g.Tests, t)
		}
	}
	g.Output = strings.Join(output, "\n")
	return writeIndented(w, g)
}

func checks(m *tutorial.Mark) []tutorial.Check {
	if m.Result == nil {
		return nil
	}
	return m.Result.Checks
}

// Classroom 50's result.json, which an autograder.py of a classroom leaves in the directory where
// it runs: https://github.com/foundation50/classroom50, schemas/result-v1.schema.json. Points are
// whole numbers there, so they are those of the checks.
type (
	classroom50Result struct {
		Schema     string            `json:"schema"`
		Classroom  string            `json:"classroom"`
		Assignment string            `json:"assignment"`
		Type       string            `json:"assignment_type"`
		Owner      string            `json:"owner"`
		Submission string            `json:"submission"`
		Commit     string            `json:"commit"`
		Release    string            `json:"release"`
		Review     string            `json:"review"`
		Time       string            `json:"datetime"`
		Score      int               `json:"score"`
		Max        int               `json:"max-score"`
		Tests      []classroom50Test `json:"tests"`
	}
	classroom50Test struct {
		Name   string `json:"test-name"`
		Passed bool   `json:"passed"`
		Score  int    `json:"score"`
		Max    int    `json:"max-score"`
		Output string `json:"output,omitempty"`
	}
)

func writeClassroom50(w io.Writer, b *Book) error {
	s, err := b.only("classroom50")
	if err != nil {
		return err
	}
	first := func(names ...string) string {
		for _, n := range names {
			if v := b.Env(n); v != "" {
				return v
			}
		}
		return ""
	}
	r := classroom50Result{
		Schema: "classroom50/result/v1", Classroom: first("CLASSROOM"), Assignment: first("ASSIGNMENT"),
		Type: first("ASSIGNMENT_TYPE"), Owner: first("OWNER", "USERNAME"), Submission: first("SUBMISSION_TAG"),
		Commit: first("COMMIT_URL"), Release: first("RELEASE_URL"), Review: first("REVIEW_URL", "COMMIT_URL"),
		Time: b.Made.UTC().Format(time.RFC3339), Tests: []classroom50Test{},
	}
	if r.Type == "" {
		r.Type = "individual"
	}
	if r.Classroom == "" || r.Assignment == "" || r.Owner == "" || r.Submission == "" || r.Commit == "" || r.Release == "" {
		return errs.Hint(errors.New("format classroom50 is for an autograder.py of Classroom 50, which has $CLASSROOM and others in its environment"), "tutorial/recipes/classroom50 has one")
	}
	for _, stray := range b.Strays {
		r.Tests = append(r.Tests, classroom50Test{Name: "it can be read", Output: stray.Why})
	}
	for _, m := range s.Marks {
		if m == nil {
			continue
		}
		if m.Result != nil {
			r.Score, r.Max = r.Score+m.Result.Points, r.Max+m.Result.Of
		}
		for _, c := range checks(m) {
			t := classroom50Test{Name: m.Lab[:2] + " " + c.Name, Passed: c.State == tutorial.Passed, Max: c.Points, Output: text(c)}
			if t.Passed {
				t.Score = c.Points
			}
			r.Tests = append(r.Tests, t)
		}
	}
	return writeIndented(w, r)
}
