// What tiffin itself does at a stage: functions of its source, which is embedded where it is.

package mini

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tiffin/image/union"
	"tiffin/ns"
)

// quoted is a function of this program, TYPE.NAME or NAME.
type quoted struct{ pkg, file, name string }

// Excerpt is a function as it stands in the source.
type Excerpt struct {
	File string // below the repository
	Line int    // at which it begins, with its comment
	Text string
}

// Ours are the functions of this program that do what stage n asks for.
func Ours(n int) ([]Excerpt, error) {
	var all []Excerpt
	for _, q := range Stages()[n-1].ours {
		e, err := q.excerpt()
		if err != nil {
			return nil, err
		}
		all = append(all, *e)
	}
	return all, nil
}

func (q quoted) excerpt() (*Excerpt, error) {
	rooms := map[string]struct {
		dir  string
		text embed.FS
	}{"ns": {"ns", ns.Source}, "union": {"image/union", union.Source}}
	text, err := rooms[q.pkg].text.ReadFile(q.file)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if !q.begins(line) {
			continue
		}
		first, last := i, i
		for first > 0 && strings.HasPrefix(lines[first-1], "//") {
			first--
		}
		for lines[last] != "}" { // gofmt ends a function like this, and nothing in one
			last++
		}
		return &Excerpt{rooms[q.pkg].dir + "/" + q.file, first + 1, strings.Join(lines[first:last+1], "\n")}, nil
	}
	return nil, fmt.Errorf("%s has no function %s", q.file, q.name)
}

// begins tells whether a line begins the function.
func (q quoted) begins(line string) bool {
	typ, name, method := strings.Cut(q.name, ".")
	if !method {
		return strings.HasPrefix(line, "func "+q.name+"(")
	}
	rest, ok := strings.CutPrefix(line, "func (")
	receiver, after, _ := strings.Cut(rest, ") ")
	return ok && strings.HasSuffix(receiver, typ) && strings.HasPrefix(after, name+"(")
}

// Marked are the lines of a student's text that belong to stage n: from a comment that names the
// stage to one that names others.
func Marked(file string, text []byte, n int) (all []Excerpt) {
	var part *Excerpt
	for i, line := range strings.Split(string(text), "\n") {
		if of := named(line); of != nil {
			if part = nil; slices.Contains(of, n) {
				all = append(all, Excerpt{File: file, Line: i + 1, Text: line})
				part = &all[len(all)-1]
			}
		} else if part != nil {
			part.Text += "\n" + line
		}
	}
	return all
}

// named are the stages that a comment names, as `# stage 2 and 5:` does.
func named(line string) (all []int) {
	for _, comment := range []string{"#", "//", "--", ";", "/*"} {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), comment)
		rest, stage := strings.CutPrefix(strings.ToLower(strings.TrimSpace(rest)), "stage ")
		if !ok || !stage {
			continue
		}
		rest, _, _ = strings.Cut(rest, ":")
		for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r < '0' || r > '9' }) {
			if n, err := strconv.Atoi(word); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}
