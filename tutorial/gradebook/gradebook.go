// Package gradebook writes what a class has reached, or one check has found, in the formats that
// other programs read: spreadsheets, course servers, browsers.
//
// Each format is a function of a Book, and a Book is made of tutorial.Marks. Texts in it are
// printable, and strangers': a format escapes what would be more than text where it is read.
package gradebook

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tiffin/tutorial"
	"tiffin/tutorial/similar"
)

// Book is what there is to report.
type Book struct {
	*tutorial.Marks
	Made    time.Time           `json:"made,omitzero"`
	Similar []similar.Pair      `json:"similar,omitempty"`
	Env     func(string) string `json:"-"` // the variables by which Classroom 50 tells what it grades
}

// formats are those of a class; alone are those that the result of one check has, too.
var formats = []struct {
	name  string
	alone bool
	write func(io.Writer, *Book) error
}{
	{"csv", false, writeCSV},
	{"moodle", false, writeMoodle},
	{"canvas", false, writeCanvas},
	{"gradescope", true, writeGradescope},
	{"classroom50", false, writeClassroom50},
	{"junit", true, writeJUnit},
	{"tap", true, writeTAP},
	{"json", true, writeJSON},
	{"html", false, writeHTML},
}

// Formats are the names of the formats, of a class's or of those of one check.
func Formats(ofClass bool) []string {
	var names []string
	for _, f := range formats {
		if ofClass || f.alone {
			names = append(names, f.name)
		}
	}
	return names
}

// Known fails if there is no such format.
func Known(name string, ofClass bool) error {
	if names := Formats(ofClass); !slices.Contains(names, name) {
		return fmt.Errorf("format %q is none of %s", name, strings.Join(names, ", "))
	}
	return nil
}

// Write writes a book in a format.
func Write(w io.Writer, name string, b *Book) error {
	if err := Known(name, true); err != nil {
		return err
	}
	var whole bytes.Buffer // nothing is written if it fails
	if err := formats[slices.Index(Formats(true), name)].write(&whole, b); err != nil {
		return err
	}
	_, err := w.Write(whole.Bytes())
	return err
}

// WriteResult writes the result of one check in a format.
func WriteResult(w io.Writer, name string, r *tutorial.Result) error {
	if err := Known(name, false); err != nil {
		return err
	}
	if name == "json" {
		return writeIndented(w, r)
	}
	return Write(w, name, &Book{Marks: &tutorial.Marks{
		Labs:  []tutorial.ClassLab{{Lab: r.Lab, Title: r.Title, Points: float64(r.Of)}},
		Marks: []tutorial.Mark{{Lab: r.Lab, State: r.State, Points: float64(r.Points), Of: float64(r.Of), Note: r.Why, Result: r}},
	}})
}

// Plain makes marks of what was graded without a class: the name of a file stands for a student.
func Plain(labs []*tutorial.Lab, grades []tutorial.Grade) *tutorial.Marks {
	all := &tutorial.Marks{Labs: []tutorial.ClassLab{}, Marks: []tutorial.Mark{}, Strays: []tutorial.Stray{}}
	for _, g := range grades {
		if g.Result != nil {
			g.Lab = g.Result.Lab // a student may have called it otherwise
		}
		if lab(labs, g.Lab) == nil {
			all.Strays = append(all.Strays, tutorial.Stray{File: g.File, Why: g.Error})
			continue
		}
		m := tutorial.Mark{ID: nameOf(g.File), Lab: g.Lab, State: tutorial.Lost,
			Hints: g.Hints, Attempts: g.Attempts, File: g.File, Note: g.Error, Result: g.Result}
		if r := g.Result; r != nil {
			m.State, m.Points, m.Of, m.Note = r.State, float64(r.Points), float64(r.Of), r.Why
		}
		all.Marks = append(all.Marks, m)
	}
	for _, l := range labs {
		column, used := tutorial.ClassLab{Lab: l.Name, Title: l.Title}, false
		for _, m := range all.Marks {
			if m.Lab == l.Name {
				column.Points, used = max(column.Points, m.Of), true
			}
		}
		if used {
			all.Labs = append(all.Labs, column)
		}
	}
	slices.SortStableFunc(all.Marks, func(a, b tutorial.Mark) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Lab, b.Lab))
	})
	return all
}

// lab is that of a name, nil if there is none.
func lab(labs []*tutorial.Lab, name string) *tutorial.Lab {
	if i := slices.IndexFunc(labs, func(l *tutorial.Lab) bool { return l.Name == name }); i >= 0 {
		return labs[i]
	}
	return nil
}

// Similar compares the scripts in the files of submissions: in a class, of those that count. What
// cannot be read is left out: who grades is told so then.
func Similar(files []string, labs []*tutorial.Lab, marks *tutorial.Marks) []similar.Pair {
	var works []similar.Work
	given, owner := map[string]string{}, map[string]string{}
	if marks != nil {
		for _, m := range marks.Marks {
			owner[m.File] = m.ID
		}
	}
	for _, l := range labs {
		given[l.Name] = l.Given()
	}
	for _, f := range files {
		sub, err := tutorial.ReadSubmission(f)
		if err != nil {
			continue
		}
		who := owner[f]
		if who == "" && marks != nil && marks.Class != "" {
			continue
		}
		for _, h := range sub.Labs {
			if lab(labs, h.Lab) == nil {
				continue
			}
			w := similar.Work{Student: cmp.Or(who, nameOf(f)), Lab: h.Lab, Seed: sub.Seed, Script: string(h.Files[tutorial.SolveScript]), Files: h.Files}
			delete(w.Files, tutorial.SolveScript)
			works = append(works, w)
		}
	}
	return similar.Pairs(works, given)
}

// nameOf calls a student as the file that was handed in.
func nameOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".json") }

func writeJSON(w io.Writer, b *Book) error { return writeIndented(w, b) }

func writeIndented(w io.Writer, v any) error {
	text, err := tutorial.JSON(v)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// student is one of a book's, with a mark for each lab; nil where there is none.
type student struct {
	ID, Name, Email string
	Marks           []*tutorial.Mark
}

// students are those of the book, in its order.
func (b *Book) students() []*student {
	var all []*student
	known := map[string]*student{}
	for i := range b.Marks.Marks {
		m := &b.Marks.Marks[i]
		who := cmp.Or(m.File, m.ID) // two files may have one name
		if b.Class != "" {
			who = m.ID
		}
		s := known[who]
		if s == nil {
			s = &student{m.ID, m.Name, m.Email, make([]*tutorial.Mark, len(b.Labs))}
			known[who], all = s, append(all, s)
		}
		if at := slices.IndexFunc(b.Labs, func(l tutorial.ClassLab) bool { return l.Lab == m.Lab }); at >= 0 {
			s.Marks[at] = m
		}
	}
	return all
}

// only returns the one student of a book, whose every lab was judged: to the server that wants a
// number, 0 would say something that nobody knows.
func (b *Book) only(format string) (*student, error) {
	all := b.students()
	if len(all) == 0 && len(b.Strays) == 1 { // it cannot be read, which is the student's
		return &student{}, nil
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("format %s is for one submission, and there are %d", format, len(all))
	}
	for _, m := range all[0].Marks {
		if m != nil && m.Result == nil && m.State != tutorial.Missing || m != nil && m.State == tutorial.Unsupported {
			return nil, fmt.Errorf("lab %s could not be judged on this machine, so there are no points: %s", m.Lab, m.Note)
		}
	}
	return all[0], nil
}

// settled tells whether a mark is one to enter: not if nobody could judge, nor while there is time.
func (b *Book) settled(m *tutorial.Mark, l tutorial.ClassLab) bool {
	switch {
	case m == nil, m.State == tutorial.Lost, m.State == tutorial.Unsupported:
		return false
	case m.State == tutorial.Missing:
		return !l.Deadline.After(b.Made)
	}
	return true
}

// lack says why a mark has no result.
func lack(m *tutorial.Mark) string { return cmp.Or(m.Note, "nothing was handed in") }

// failed are the checks of a mark that failed.
func failed(m *tutorial.Mark) (all []tutorial.Check) {
	if m.Result == nil {
		return nil
	}
	for _, c := range m.Result.Checks {
		if c.State == tutorial.Failed {
			all = append(all, c)
		}
	}
	return all
}

// why says in a line why a mark is not full.
func why(m *tutorial.Mark) string {
	if f := failed(m); len(f) > 0 && m.Note == "" {
		return f[0].Why
	}
	return m.Note
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

// heading names a mark: "ada 03-user-namespace", or the lab alone.
func heading(m *tutorial.Mark) string { return strings.TrimSpace(m.ID + " " + m.Lab) }

// squeeze replaces each run of white space by one blank.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
