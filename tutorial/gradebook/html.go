// One page for a browser: how the class does, what it misunderstands, and who is stuck.

package gradebook

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"tiffin/tutorial"
)

// page is the template. It has no script and asks for nothing, which its policy tells the browser:
// https://www.w3.org/TR/CSP3/, 3.3 "The <meta> element".
//
//go:embed page.html
var page string

type (
	heat struct { // of a lab, or of one check of it
		Lab          tutorial.ClassLab
		ID, Name     string // ID is "03-2"
		Passed, Of   int    // students
		Why          string // the most frequent
		Checks       []*heat
		Handed       int
		Hints, Tries float64 // of those who handed in, on average
	}
	reason struct {
		Lab, Check, Why string
		Times           int
	}
	stuck struct {
		Student *student
		Mark    *tutorial.Mark
	}
	pageData struct {
		*Book
		Students []*student
		Heat     []*heat
		Most     int // checks of a lab
		Reasons  []reason
		Stuck    []stuck
	}
)

func writeHTML(w io.Writer, b *Book) error {
	book, marks := *b, *b.Marks
	marks.Marks = alike(marks.Marks)
	book.Marks = &marks
	b = &book
	d := pageData{Book: b, Students: b.students()}
	d.Heat = warm(b)
	for _, h := range d.Heat {
		d.Most = max(d.Most, len(h.Checks))
	}
	d.Reasons, d.Stuck = reasons(b), whoIsStuck(d.Students)
	t, err := template.New("page").Funcs(template.FuncMap{
		"share": share, "shade": shade, "number": number, "title": title, "why": why, "failed": failed,
		"times": func(n int) []struct{} { return make([]struct{}, max(0, n)) }, "sub": func(a, b int) int { return a - b },
		"add": func(a, b int) int { return a + b }, "name": func(s *student) string { return cmp.Or(s.Name, s.ID) },
		"stuckAt": func(m *tutorial.Mark) string { return failed(m)[0].Why },
		"short":   func(l tutorial.ClassLab) string { return l.Lab[:2] },
		"total": func(s *student) (sum float64) {
			for _, m := range s.Marks {
				if m != nil {
					sum += m.Points
				}
			}
			return sum
		},
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, d)
}

// share is a part in percent.
func share(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}

// shade is one of five, from nobody to all: the number beside it says the same.
func shade(part, whole float64) string {
	if whole == 0 {
		return "none"
	}
	return fmt.Sprintf("h%d", int(4*max(0, min(1, part/whole))))
}

// warm counts who passed which check, in the order of labs and checks.
func warm(b *Book) (labs []*heat) {
	for _, l := range b.Labs {
		lab := &heat{Lab: l, ID: l.Lab[:2], Name: l.Title}
		whys := map[string]map[string]int{}
		for i := range b.Marks.Marks {
			m := &b.Marks.Marks[i]
			if m.Lab != l.Lab || m.State == tutorial.Unsupported || m.State == tutorial.Lost {
				continue
			}
			lab.Of++
			if m.Result == nil {
				continue
			}
			lab.Handed++
			lab.Hints, lab.Tries = lab.Hints+float64(m.Hints), lab.Tries+float64(m.Attempts)
			if m.State == tutorial.Passed {
				lab.Passed++
			}
			for _, c := range m.Result.Checks {
				at := slices.IndexFunc(lab.Checks, func(h *heat) bool { return h.Name == c.Name })
				if at < 0 {
					at = len(lab.Checks)
					lab.Checks = append(lab.Checks, &heat{Lab: l, ID: fmt.Sprintf("%s-%d", l.Lab[:2], at+1), Name: c.Name})
					whys[c.Name] = map[string]int{}
				}
				h := lab.Checks[at]
				if h.Of++; c.State == tutorial.Passed {
					h.Passed++
				} else if c.Why != "" {
					whys[c.Name][c.Why]++
				}
			}
		}
		for _, h := range lab.Checks {
			h.Why = mostFrequent(whys[h.Name])
		}
		if n := float64(lab.Handed); n > 0 {
			lab.Hints, lab.Tries = lab.Hints/n, lab.Tries/n
		}
		labs = append(labs, lab)
	}
	return labs
}

// PassedShare is the part of the students who passed, from 0 to 1.
func (h *heat) PassedShare() float64 { return float64(share(h.Passed, h.Of)) / 100 }

func mostFrequent(times map[string]int) (most string) {
	for why, n := range times {
		if most == "" || n > times[most] || n == times[most] && why < most {
			most = why
		}
	}
	return most
}

// reasons are the misconceptions, the most frequent first.
func reasons(b *Book) (all []reason) {
	for i := range b.Marks.Marks {
		m := &b.Marks.Marks[i]
		for _, c := range failed(m) {
			at := slices.IndexFunc(all, func(r reason) bool { return r.Lab == m.Lab && r.Check == c.Name && r.Why == c.Why })
			if at < 0 {
				at, all = len(all), append(all, reason{m.Lab, c.Name, c.Why, 0})
			}
			all[at].Times++
		}
	}
	slices.SortStableFunc(all, func(a, b reason) int {
		return cmp.Or(b.Times-a.Times, strings.Compare(a.Lab, b.Lab), strings.Compare(a.Check, b.Check))
	})
	return all
}

// Somebody is stuck who has not passed a lab and has read all three hints, or tried five times.
const (
	allHints  = 3
	manyTries = 5
)

func whoIsStuck(students []*student) (all []stuck) {
	for _, s := range students {
		for _, m := range s.Marks {
			if m != nil && len(failed(m)) > 0 && (m.Hints >= allHints || m.Attempts >= manyTries) {
				all = append(all, stuck{s, m})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b stuck) int { return b.Mark.Hints + b.Mark.Attempts - a.Mark.Hints - a.Mark.Attempts })
	return all
}
