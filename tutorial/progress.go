// The student's progress, a file of plain text that survives whatever else is edited into it.

package tutorial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Progress is what progress.txt says: words separated by spaces, a line for
// each lab that was begun, and one for the current. Each command writes it anew, so if you delete
// a line, that lab is forgotten, and nothing else.
//
//	# tiffin labs: lab, state, points reached, of, hints seen, last check
//	current 02-container-is-process
//	01-image-is-files passed 10 10 1 2026-03-04T10:11:12Z
//	02-container-is-process started 4 10 0 -
type Progress struct {
	Current string // name of the lab that is meant when none is named
	Entries []*Entry
}

// Stage is how far a student is with a lab.
type Stage string

const (
	NotStarted Stage = "-"
	Started    Stage = "started"
	Done       Stage = "passed"
)

// Entry is a line of it.
type Entry struct {
	Lab        string
	State      Stage
	Points, Of int // of the last check
	Hints      int // seen so far
	Checked    time.Time
}

const progressTitle = "# tiffin labs: lab, state, points reached, of, hints seen, last check\n"

// Entry is the line of a lab, a new one if there is none.
func (p *Progress) Entry(lab string) *Entry {
	for _, e := range p.Entries {
		if e.Lab == lab {
			return e
		}
	}
	return &Entry{Lab: lab, State: NotStarted}
}

// Progress reads it. If there is no file, no lab was begun. A line that cannot be read is left
// out, since a person may have written it.
func (s *Student) Progress() (*Progress, error) {
	b, err := os.ReadFile(filepath.Join(s.Dir, "progress.txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the progress: %w", err)
	}
	p := &Progress{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "current" {
			p.Current = f[1]
		}
		if len(f) != 6 || !labName().MatchString(f[0]) {
			continue
		}
		e := &Entry{Lab: f[0], State: Stage(f[1])}
		e.Points, _ = strconv.Atoi(f[2])
		e.Of, _ = strconv.Atoi(f[3])
		e.Hints, _ = strconv.Atoi(f[4])
		e.Hints = max(0, e.Hints)
		e.Checked, _ = time.Parse(time.RFC3339, f[5])
		p.Entries = append(p.Entries, e)
	}
	return p, nil
}

func (p *Progress) text() string {
	var b strings.Builder
	b.WriteString(progressTitle)
	if p.Current != "" {
		fmt.Fprintf(&b, "current %s\n", p.Current)
	}
	for _, e := range p.Entries {
		when := "-"
		if !e.Checked.IsZero() {
			when = e.Checked.Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%s %s %d %d %d %s\n", e.Lab, e.State, e.Points, e.Of, e.Hints, when)
	}
	return b.String()
}

// note changes a lab's line, and makes it the current one.
func (s *Student) note(l *Lab, change func(*Entry)) error {
	p, err := s.Progress()
	if err != nil {
		return err
	}
	e := p.Entry(l.Name)
	if change(e); e.State == NotStarted {
		e.State = Started
	}
	known := false
	for _, other := range p.Entries {
		known = known || other.Lab == l.Name
	}
	if !known {
		at := 0
		for at < len(p.Entries) && p.Entries[at].Lab < l.Name {
			at++
		}
		p.Entries = append(p.Entries[:at], append([]*Entry{e}, p.Entries[at:]...)...)
	}
	p.Current = l.Name
	return writeFile(filepath.Join(s.Dir, "progress.txt"), p.text())
}

// Current is the lab that is meant when none is named: the one whose work directory this process
// is in, or else the last one used. It is nil if there is neither.
func (s *Student) Current(labs []*Lab) *Lab {
	p, err := s.Progress()
	if err != nil {
		p = &Progress{}
	}
	name := p.Current
	if wd, err := os.Getwd(); err == nil {
		if dir, err := filepath.EvalSymlinks(s.Dir); err == nil {
			if wd, err = filepath.EvalSymlinks(wd); err == nil {
				if rel, err := filepath.Rel(dir, wd); err == nil && labName().MatchString(firstPart(rel)) {
					name = firstPart(rel)
				}
			}
		}
	}
	for _, l := range labs {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Next are the labs that are not passed: first those after the current one.
func (s *Student) Next(labs []*Lab) ([]*Lab, error) {
	p, err := s.Progress()
	if err != nil {
		return nil, err
	}
	at := 1 + slices.Index(labs, s.Current(labs))
	open := slices.Concat(labs[at:], labs[:at])
	return slices.DeleteFunc(open, func(l *Lab) bool { return p.Entry(l.Name).State == Done }), nil
}

func firstPart(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// Use makes a lab the current one.
func (s *Student) Use(l *Lab) error { return s.note(l, func(*Entry) {}) }
