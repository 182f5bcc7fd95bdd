// Marks in the Test Anything Protocol.

package gradebook

import (
	"fmt"
	"io"
	"strings"

	"tiffin/tutorial"
)

// writeTAP writes the Test Anything Protocol, version 14:
// https://testanything.org/tap-version-14-specification.html
//
// The YAML block below a test point is indented by two spaces ("YAML Diagnostics").
// Its strings are written as JSON, which is YAML too (YAML 1.2.2, 1.2). A lab that was not checked
// is one test point.
func writeTAP(w io.Writer, b *Book) error {
	var points strings.Builder
	n := 0
	point := func(ok, name, directive string) {
		n++
		fmt.Fprintf(&points, "%s %d - %s%s\n", ok, n, tapEscape(name), directive)
	}
	for i := range b.Marks.Marks {
		m := &b.Marks.Marks[i]
		switch {
		case m.State == tutorial.Unsupported:
			point("ok", heading(m), " # SKIP unsupported here: "+squeeze(m.Note))
			continue
		case m.Result == nil:
			point("not ok", heading(m)+": "+squeeze(lack(m)), "")
			continue
		}
		for _, c := range m.Result.Checks {
			ok := "ok"
			if c.State == tutorial.Failed {
				ok = "not ok"
			}
			name := c.Name
			if m.ID != "" {
				name = heading(m) + ": " + name
			}
			point(ok, name, "")
			if err := diagnose(&points, c); err != nil {
				return err
			}
		}
		fmt.Fprintf(&points, "# %s: %s of %s points, seed %s\n", heading(m), number(m.Points), number(m.Of), m.Result.Seed)
	}
	_, err := fmt.Fprintf(w, "TAP version 14\n1..%d\n%s", n, points.String())
	return err
}

// diagnose writes the YAML block of a check.
func diagnose(w io.Writer, c tutorial.Check) error {
	fmt.Fprint(w, "  ---\n")
	for _, f := range []struct{ key, value string }{
		{"message", c.Why}, {"expected", c.Expected}, {"found", c.Found}, {"evidence", c.Evidence},
	} {
		if f.value == "" {
			continue
		}
		v, err := tutorial.JSON(f.value)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s: %s", f.key, v)
	}
	_, err := fmt.Fprintf(w, "  points: %d\n  ...\n", c.Points)
	return err
}

// tapEscape: "Escaping": # would begin a directive, and \ escapes it.
func tapEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `#`, `\#`).Replace(s)
}
