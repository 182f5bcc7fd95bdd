// A result in the Test Anything Protocol.

package gradebook

import (
	"fmt"
	"strings"

	"tiffin/tutorial"
)

// tap writes the Test Anything Protocol, version 14:
// https://testanything.org/tap-version-14-specification.html
//
// The YAML block below a test point is indented by two spaces ("YAML Diagnostics").
// Its strings are written as JSON, which is YAML too (YAML 1.2.2, 1.2).
func tap(r *tutorial.Result) ([]byte, error) {
	var b strings.Builder
	b.WriteString("TAP version 14\n")
	if r.State == tutorial.Unsupported {
		// "The Plan": a plan of none is a skipped test, with the reason.
		fmt.Fprintf(&b, "1..0 # SKIP unsupported here: %s\n", squeeze(r.Why))
		return []byte(b.String()), nil
	}
	fmt.Fprintf(&b, "1..%d\n# %s: %s\n", len(r.Checks), r.Lab, squeeze(r.Title))
	for i, c := range r.Checks {
		ok := "ok"
		if c.State == tutorial.Failed {
			ok = "not ok"
		}
		fmt.Fprintf(&b, "%s %d - %s\n  ---\n", ok, i+1, tapEscape(c.Name))
		for _, f := range []struct{ key, value string }{
			{"message", c.Why}, {"expected", c.Expected}, {"found", c.Found}, {"evidence", c.Evidence},
		} {
			if f.value == "" {
				continue
			}
			v, err := tutorial.JSON(f.value)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "  %s: %s", f.key, v)
		}
		fmt.Fprintf(&b, "  points: %d\n  ...\n", c.Points)
	}
	fmt.Fprintf(&b, "# %d of %d points, seed %s\n", r.Points, r.Of, r.Seed)
	return []byte(b.String()), nil
}

// squeeze replaces each run of white space by one blank.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// tapEscape: "Escaping": # would begin a directive, and \ escapes it.
func tapEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `#`, `\#`).Replace(s)
}
