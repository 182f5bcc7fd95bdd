// The record of a check: what its script reports on descriptor 3, one line for each check, read
// strictly.

package tutorial

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// State of a check, and of a lab.
type State string

const (
	Passed      State = "passed"
	Failed      State = "failed" // not yet
	Unsupported State = "unsupported"
)

// Check is what a lab found of one thing that must hold. It is the one record
// that every output format is made of.
type Check struct {
	Name     string `json:"name"` // what must hold, the same in every run
	State    State  `json:"state"`
	Points   int    `json:"points"` // that it is worth, passed or not
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
	Why      string `json:"why,omitempty"` // the misconception that this suggests, or what the machine lacks
	Evidence string `json:"evidence,omitempty"`

	void bool // it is the engine's, and takes all points away: see void
}

// Result is what a run of a lab's check found.
type Result struct {
	Lab    string  `json:"lab"`
	Title  string  `json:"title"`
	Seed   string  `json:"seed"`
	State  State   `json:"state"`
	Points int     `json:"points"` // reached
	Of     int     `json:"of"`     // that can be reached
	Why    string  `json:"why,omitempty"`
	Checks []Check `json:"checks"`
}

// Limits on what a check may say: it quotes what students wrote.
const (
	maxRecords = 1 << 20 // bytes, of all together
	maxField   = 4 << 10 // bytes, of one field
)

// errForged is a report into which something else than the check has written.
var errForged = errors.New("somebody else has written into its report")

// parseRecords reads what a script has written to descriptor 3: see lib.sh. Each record begins with
// the token that the script alone knows. If anything else is there, the error is errForged.
func parseRecords(b []byte, token string) ([]Check, error) {
	flood := len(b) > maxRecords
	var checks []Check
	for len(b) > 0 {
		rec, rest, ok := bytes.Cut(b, []byte{0x1e})
		said, genuine := bytes.CutPrefix(rec, []byte(token+"\x1f"))
		switch {
		case !genuine:
			return checks, errForged
		case flood && !ok:
			return nil, fmt.Errorf("it reports more than %d bytes", maxRecords)
		case !ok:
			return nil, errors.New("its last record has no end")
		}
		b = rest
		f := strings.Split(string(said), "\x1f")
		if len(f) != 7 {
			return nil, fmt.Errorf("a record has %d fields, not 7", len(f))
		}
		points, err := strconv.Atoi(f[2])
		if err != nil || points < 0 {
			return nil, fmt.Errorf("check %q has %q points", clean(f[1]), clean(f[2]))
		}
		c := Check{Name: squeeze(clean(f[1])), State: State(f[0]), Points: points,
			Expected: clean(f[3]), Found: clean(f[4]), Why: squeeze(clean(f[5])), Evidence: clean(f[6])}
		switch c.State {
		case Unsupported:
		case Passed, Failed:
			for _, other := range checks {
				if other.Name == c.Name {
					return nil, fmt.Errorf("it reports the check %q twice", c.Name)
				}
			}
			if c.Name == "" {
				return nil, errors.New("a check has no name")
			}
		default:
			return nil, fmt.Errorf("a record has the state %q", clean(f[0]))
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// clean makes printable text of whatever a student wrote, which may be no text at all, or may move
// the cursor of the terminal on which it is shown.
func clean(s string) string {
	if len(s) > maxField {
		s = s[:maxField] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
	return strings.TrimRight(s, "\n")
}

// judge makes the result of the records of a check.
func judge(l *Lab, seed string, checks []Check) (*Result, error) {
	r := &Result{Lab: l.Name, Title: l.Title, Seed: seed, State: Passed, Checks: []Check{}}
	for _, c := range checks {
		if c.State == Unsupported {
			return unsupported(l, seed, c.Why), nil
		}
		r.Checks = append(r.Checks, c)
		r.Of += c.Points
		if c.State == Passed {
			r.Points += c.Points
		} else {
			r.State = Failed
		}
	}
	if len(r.Checks) == 0 {
		return nil, errors.New("it reports no check")
	}
	return r, nil
}

// void adds a check of the engine's own to the result, one that failed: then nothing counts.
func (r *Result) void(name, expected, found, why string) {
	r.Checks = append(r.Checks, Check{Name: name, State: Failed, Expected: clean(expected), Found: clean(found), Why: why, void: true})
	r.State, r.Points = Failed, 0
}

// unsupported is the result on a machine that lacks something.
func unsupported(l *Lab, seed, why string) *Result {
	return &Result{Lab: l.Name, Title: l.Title, Seed: seed, State: Unsupported, Why: why, Checks: []Check{}}
}
