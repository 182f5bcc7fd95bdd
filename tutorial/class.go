// A class: which labs it has, until when, what they are worth and what is taken off. All of it is
// told to the students.

package tutorial

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tiffin/internal/errs"
)

// Class is the file class.json of an instructor's directory. Beside it are
//
//	roster.csv   the students: see Roster
//	secret       32 bytes by chance, for nobody else to read: see Secret
//	tokens.csv   the roster with the token of each student, to be sent to them
type Class struct {
	Version int        `json:"version"` // 1
	Name    string     `json:"name"`    // a word
	Labs    []ClassLab `json:"labs"`
	Policy  Policy     `json:"policy"`
	From    string     `json:"from,omitempty"` // the directory of labs of one's own
}

// ClassLab is a lab of a class.
type ClassLab struct {
	Lab      string    `json:"lab"` // "03-user-namespace"
	Title    string    `json:"title"`
	Points   float64   `json:"points"`
	Deadline time.Time `json:"deadline,omitzero"`
}

// Policy says how much of a lab's points, in percent, is taken off. It is never more than all.
type Policy struct {
	Hint    float64 `json:"percent_per_hint"`
	Attempt float64 `json:"percent_per_attempt"` // beyond those that are free
	Free    int     `json:"free_attempts"`
	Late    float64 `json:"percent_per_late_day"`
	Days    int     `json:"late_days"` // what comes later than that has no points
}

// DefaultPolicy lets students look as often as they like: checks are there to learn from.
var DefaultPolicy = Policy{Hint: 5, Attempt: 0, Free: 10, Late: 10, Days: 7}

// defaultPoints is what a lab is worth.
const defaultPoints = 10

// NewClass makes a class of labs.
func NewClass(name string, labs []*Lab) (*Class, error) {
	c := &Class{Version: 1, Name: name, Policy: DefaultPolicy}
	for _, l := range labs {
		if slices.ContainsFunc(c.Labs, func(o ClassLab) bool { return o.Lab == l.Name }) {
			return nil, fmt.Errorf("lab %s is there twice", l.Number())
		}
		c.Labs = append(c.Labs, ClassLab{Lab: l.Name, Title: l.Title, Points: defaultPoints})
	}
	return c, c.check()
}

// ReadClass reads the class of an instructor's directory.
func ReadClass(dir string) (*Class, error) {
	path := filepath.Join(dir, "class.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("read the class: %w", err), "`tiffin class new DIR --roster FILE` makes one")
	}
	return parseClass(path, b)
}

func parseClass(path string, b []byte) (*Class, error) {
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	c := &Class{}
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// check finds what an instructor may have mistyped.
func (c *Class) check() error {
	switch {
	case c.Version != 1:
		return fmt.Errorf("version %d is for another tiffin: this one knows 1", c.Version)
	case !classWord().MatchString(c.Name):
		return fmt.Errorf("%q cannot be the name of a class: use letters, digits, dots, - and _", c.Name)
	case len(c.Labs) == 0:
		return errors.New("the class has no labs")
	}
	p := c.Policy
	for _, percent := range []float64{p.Hint, p.Attempt, p.Late} {
		if !(percent >= 0 && percent <= 100) {
			return fmt.Errorf("%v is no percentage from 0 to 100", percent)
		}
	}
	for i, l := range c.Labs {
		switch {
		case !labName().MatchString(l.Lab):
			return fmt.Errorf("%q is not the name of a lab, such as 03-user-namespace", l.Lab)
		case !(l.Points >= 0 && l.Points <= 1e6):
			return fmt.Errorf("lab %s has %v points", l.Lab, l.Points)
		case slices.ContainsFunc(c.Labs[:i], func(o ClassLab) bool { return o.Lab == l.Lab }):
			return fmt.Errorf("lab %s is there twice", l.Lab)
		}
	}
	return nil
}

// classWord is the name of a class.
var classWord = pattern(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ParseDeadline reads 2026-12-24T18:00, by this machine's clock. A day alone ends at midnight.
func ParseDeadline(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	t, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		return t, fmt.Errorf("%q is no time such as 2026-12-24T18:00", text)
	}
	return t.AddDate(0, 0, 1).Add(-time.Second), nil
}

// late is the number of days that have begun since the deadline.
func (l ClassLab) late(handed time.Time) int {
	if l.Deadline.IsZero() || !handed.After(l.Deadline) {
		return 0
	}
	return int(math.Ceil(handed.Sub(l.Deadline).Hours() / 24))
}

// reckon gives a mark its points, and says what was taken off.
func (p Policy) reckon(m *Mark) {
	if m.Result == nil || m.Result.Of == 0 || m.Result.State == Unsupported {
		return
	}
	var notes []string
	off := 0.0
	take := func(percent float64, why string) {
		if percent > 0 {
			off += percent
			notes = append(notes, fmt.Sprintf("%s: %v %% less", why, percent))
		}
	}
	take(p.Hint*float64(m.Hints), count(m.Hints, "hint"))
	take(p.Attempt*float64(max(0, m.Attempts-p.Free)), count(m.Attempts, "attempt"))
	if m.Late > p.Days {
		take(100, fmt.Sprintf("%s late, more than %d", count(m.Late, "day"), p.Days))
	} else {
		take(p.Late*float64(m.Late), count(m.Late, "day")+" late")
	}
	full := m.Of * float64(m.Result.Points) / float64(m.Result.Of)
	m.Points = math.Round(full*max(0, 100-off)) / 100
	if m.Note != "" {
		notes = append([]string{m.Note}, notes...)
	}
	m.Note = strings.Join(notes, "; ")
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
