// A result for Gradescope.

package gradebook

import (
	"fmt"
	"strings"

	"tiffin/tutorial"
)

// Gradescope's results.json, which its autograders leave in
// /autograder/results: https://gradescope-autograders.readthedocs.io/en/latest/specs/,
// "Output format".
type (
	gradescopeResults struct {
		Score  *int             `json:"score,omitempty"` // overrides the sum of the tests'
		Output string           `json:"output"`
		Format string           `json:"output_format"`
		Extra  gradescopeExtra  `json:"extra_data"`
		Tests  []gradescopeTest `json:"tests"`
	}
	gradescopeTest struct {
		Score  int    `json:"score"`
		Max    int    `json:"max_score"`
		Status string `json:"status"` // passed or failed
		Name   string `json:"name"`
		Output string `json:"output,omitempty"`
	}
	gradescopeExtra struct {
		Lab   string         `json:"lab"`
		Seed  string         `json:"seed"`
		State tutorial.State `json:"state"`
	}
)

func gradescope(r *tutorial.Result) ([]byte, error) {
	g := gradescopeResults{
		Output: fmt.Sprintf("%s: %d of %d points", r.Title, r.Points, r.Of), Format: "text",
		Extra: gradescopeExtra{r.Lab, r.Seed, r.State}, Tests: []gradescopeTest{},
	}
	if r.State == tutorial.Unsupported {
		// There is no score for "not tried", and one must be there: the machine
		// that grades has to have what the lab needs.
		g.Score, g.Output = new(int), fmt.Sprintf("%s: unsupported on the machine that grades: %s", r.Title, r.Why)
	}
	for _, c := range r.Checks {
		t := gradescopeTest{Max: c.Points, Status: "failed", Name: c.Name, Output: text(c)}
		if c.State == tutorial.Passed {
			t.Score, t.Status = c.Points, "passed"
		}
		g.Tests = append(g.Tests, t)
	}
	return tutorial.JSON(g)
}

// text is what a check found, in lines.
func text(c tutorial.Check) string {
	var lines []string
	for _, f := range []struct{ label, value string }{
		{"expected", c.Expected}, {"found", c.Found}, {"why", c.Why}, {"seen", c.Evidence},
	} {
		if f.value != "" {
			lines = append(lines, f.label+": "+f.value)
		}
	}
	return strings.Join(lines, "\n")
}
