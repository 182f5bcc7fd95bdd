// Tables: CSV (RFC 4180) for anybody, for Moodle and for Canvas.

package gradebook

import (
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"

	"tiffin/tutorial"
)

// table writes rows, of which no cell is a formula.
func table(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	for _, row := range rows {
		for i, cell := range row {
			if cell != "-" { // that alone is text
				row[i] = tutorial.Inert(cell)
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// number is a number of points, to a hundredth at most.
func number(points float64) string {
	return strconv.FormatFloat(math.Round(points*100)/100, 'f', -1, 64)
}

// writeCSV has a line for each lab of each student.
func writeCSV(w io.Writer, b *Book) error {
	rows := [][]string{{"id", "name", "email", "lab", "state", "points", "of", "hints", "attempts", "days late", "file", "why"}}
	for i := range b.Marks.Marks {
		m := &b.Marks.Marks[i]
		rows = append(rows, []string{m.ID, m.Name, m.Email, m.Lab, string(m.State), number(m.Points), number(m.Of),
			fmt.Sprint(m.Hints), fmt.Sprint(m.Attempts), fmt.Sprint(m.Late), m.File, why(m)})
	}
	for _, s := range b.Strays {
		rows = append(rows, []string{"", "", "", "", "stray", "", "", "", "", "", s.File, s.Why})
	}
	return table(w, rows)
}

// writeMoodle has a line for each student and two columns for each lab, as Moodle's "Import grades:
// CSV file" takes them: who imports says there which column is what ("Identify user by", "Grade
// item mappings"). A grade of "-" is none, see grade/import/csv/classes/load_data.php of Moodle 4,
// and feedback is HTML: https://docs.moodle.org/en/Grade_import
func writeMoodle(w io.Writer, b *Book) error {
	head := []string{"ID number", "Full name", "Email address"}
	for _, l := range b.Labs {
		head = append(head, title(l), title(l)+" (feedback)")
	}
	rows := [][]string{head}
	for _, s := range b.students() {
		row := []string{s.ID, s.Name, s.Email}
		for i, m := range s.Marks {
			grade, said := "-", ""
			if b.settled(m, b.Labs[i]) {
				grade, said = number(m.Points), feedback(m)
			}
			row = append(row, grade, said)
		}
		rows = append(rows, row)
	}
	return table(w, rows)
}

// feedback is what a student is told: the misconceptions, and what was taken off.
func feedback(m *tutorial.Mark) string {
	var said []string
	for _, c := range failed(m) {
		said = append(said, c.Name+": "+c.Why)
	}
	if m.Note != "" {
		said = append(said, m.Note)
	}
	return html.EscapeString(strings.Join(said, "; "))
}

// title names the column of a lab.
func title(l tutorial.ClassLab) string { return l.Lab[:2] + " " + l.Title }

// writeCanvas has a line for each student and a column for each lab, as "Import" in Canvas'
// gradebook takes them: its columns are known by their names, up to "Section", the second line has
// the points that can be had, and who has no number of Canvas' own is found by the other two: see
// lib/gradebook_importer.rb of https://github.com/instructure/canvas-lms. An empty cell is no
// grade.
func writeCanvas(w io.Writer, b *Book) error {
	head := []string{"Student", "ID", "SIS User ID", "SIS Login ID", "Section"}
	possible := []string{"    Points Possible", "", "", "", ""}
	for _, l := range b.Labs {
		head, possible = append(head, title(l)), append(possible, number(l.Points))
	}
	rows := [][]string{head, possible}
	for _, s := range b.students() {
		row := []string{s.Name, "", s.ID, s.ID, ""}
		if s.Name == "" {
			row[0] = s.ID
		}
		for i, m := range s.Marks {
			if b.settled(m, b.Labs[i]) {
				row = append(row, number(m.Points))
			} else {
				row = append(row, "")
			}
		}
		rows = append(rows, row)
	}
	return table(w, rows)
}
