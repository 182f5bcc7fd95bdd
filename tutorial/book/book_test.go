// Tests that keep the book whole: its pages have their parts, links lead somewhere, and drawings
// say the same to a browser and to a terminal. That call paths are true is tested in internal/arch,
// and sessions are run in internal/cli.

package book

import (
	"encoding/xml"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPagesAreFoundByNumberAndWord(t *testing.T) {
	pages := Pages()
	if len(pages) != 17 {
		t.Errorf("the book has %d pages; nine chapters and eight appendices are expected", len(pages))
	}
	for _, p := range pages {
		number, word, _ := strings.Cut(p.Name, "-")
		for _, asked := range []string{p.Name, number, word} {
			if got, err := Find(asked); err != nil || got.Name != p.Name {
				t.Errorf("Find(%q) is %q, %v; want %s", asked, got.Name, err, p.Name)
			}
		}
		if p.Title == "" || strings.Contains(p.Text(), ".svg)") {
			t.Errorf("%s has no title, or a drawing that a terminal cannot show", p.Name)
		}
	}
	if _, err := Find("10"); err == nil {
		t.Error("a chapter 10 was found")
	}
}

// TestChaptersHaveTheirParts: a drawing, a path of calls, something to try, and where to look.
func TestChaptersHaveTheirParts(t *testing.T) {
	for _, p := range Pages() {
		if p.Name[0] < '1' || p.Name[0] > '9' {
			continue
		}
		for what, mark := range map[string]string{
			"a drawing": "](" + p.Name + ".svg)", "a path of calls": "```calls\n", "a session": "```console\n",
			"a section on what to try": "\n## Try it\n", "a section on where to look": "\n## Where to look\n",
		} {
			if !strings.Contains(p.text, mark) {
				t.Errorf("%s has not got %s (%q)", p.Name, what, mark)
			}
		}
	}
}

// TestLinksOfTheBookLeadSomewhere: to files that exist, and to headings of the book's own pages.
func TestLinksOfTheBookLeadSomewhere(t *testing.T) {
	names := []string{"README.md", "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md"}
	for _, p := range Pages() {
		names = append(names, p.Name+".md")
	}
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	for _, name := range names {
		dir := strings.TrimSuffix(name, strings.TrimLeft(name, "./"))
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			to := dir + m[1]
			if strings.Contains(m[1], "://") {
				continue
			}
			if m[1] == "" {
				to = name
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if m[2] != "" && !anchors(read(t, to))[m[2]] {
				t.Errorf("%s links to %s%s, and there is no such heading", name, to, m[2])
			}
		}
	}
}

// anchors are the names of a page's headings as links know them.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		a := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found["#"+strings.ReplaceAll(a, " ", "-")] = true
	}
	return found
}

// TestDrawingsSayTheSame: every word of an SVG is in the drawing of characters beside it, which
// fits a terminal; and the SVG is light, has a title, and needs nothing from elsewhere.
func TestDrawingsSayTheSame(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	drawings := 0
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".svg")
		if !ok {
			continue
		}
		drawings++
		svg, text := read(t, e.Name()), read(t, name+".txt")
		for n, line := range strings.Split(text, "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s.txt:%d is wider than 80 columns", name, n+1)
			}
		}
		words := map[string]bool{}
		for _, w := range strings.Fields(text) {
			words[w] = true
		}
		for _, w := range strings.Fields(labels(t, e.Name(), svg)) {
			if !words[w] {
				t.Errorf("%s.svg says %q, %s.txt does not", name, w, name)
			}
		}
		if !strings.Contains(svg, "<title>") || !strings.Contains(svg, `fill="#fffdf7"`) || strings.Contains(svg, "href") {
			t.Errorf("%s.svg needs a title, the light background, and no links", name)
		}
	}
	if drawings < 10 {
		t.Errorf("there are %d drawings; one for each of nine chapters and an overview are expected", drawings)
	}
}

// labels returns what the <text> elements of an SVG say.
func labels(t *testing.T, name, svg string) string {
	var all strings.Builder
	in := 0
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all.String()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if in > 0 || token.Name.Local == "text" {
				in++
			}
		case xml.EndElement:
			if in > 0 {
				in--
				all.WriteByte(' ')
			}
		case xml.CharData:
			if in > 0 {
				all.Write(token)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTheREADMEIsShort: it is the first page, and what it does not have room for is a chapter.
func TestTheREADMEIsShort(t *testing.T) {
	if n := strings.Count(read(t, "../../README.md"), "\n"); n > 170 {
		t.Errorf("the README has %d lines, 170 are allowed: move something to the book", n)
	}
}

// TestTheEndsQuoteTheMeasurements: appendix F computes from numbers that stand in appendix B.
func TestTheEndsQuoteTheMeasurements(t *testing.T) {
	ends, measured := strings.Join(strings.Fields(read(t, "f-ends.md")), " "), strings.Join(strings.Fields(read(t, "b-measurements.md")), " ")
	for quoted, from := range map[string]string{
		"one after the other in 7.0 s": "| 72 (1.4) | 7.0 (", "2.9 MB of memory each": "and 2.9 with `fuse`", "2.2 MB each": "take 2.2 MB each with `unpacked`",
		"1,921 MB of page cache": "1,921 MB of page cache", "58 MB with `--driver unpacked`": "and 58 MB and 1,921", "lists them in 0.27 s": "`ps` 0.27 s",
		"in 7.2 s, with 6.3 s of CPU": "| `tiffin serve` | 7.2 (0.58) | 6.3 (",
	} {
		if !strings.Contains(ends, quoted) || !strings.Contains(measured, from) {
			t.Errorf("appendix F says %q, and appendix B is to say %q", quoted, from)
		}
	}
}
