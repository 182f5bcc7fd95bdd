package gradebook

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/test/browser"
	"tiffin/tutorial"
)

// TestThePageInABrowser: it is read at two widths, by keyboard and on paper, and asks for nothing.
func TestThePageInABrowser(t *testing.T) {
	b := books()["class"]
	for i := range 40 { // a class as large as a screen is not
		for at, l := range b.Labs {
			m := b.Marks.Marks[at%2*2]
			m.ID, m.Name, m.Lab = fmt.Sprint("s", i), fmt.Sprint("Student ", i), l.Lab
			b.Marks.Marks = append(b.Marks.Marks, m)
		}
	}
	var html bytes.Buffer
	if err := Write(&html, "html", b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "class.html")
	if err := os.WriteFile(file, html.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	p := browser.Open(t, file, 1280)
	is := func(what, expression, want string) {
		t.Helper()
		if got := p.Eval(expression); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	is("rows of the heat map", "document.querySelectorAll('#heat tbody tr').length", "2")
	is("its first lab", "document.querySelector('#heat tbody tr').innerText.replaceAll(/\\s+/g, ' ')", "01 An image is files 42 of 43 1 2.9 6.9 100 0 100")
	is("few have passed the second check", "document.querySelectorAll('#heat tbody tr td.h0').length > 0", "true")
	is("the most frequent misconception", "document.querySelector('#whys + div tbody tr').innerText.replaceAll(/\\s+/g, ' ')",
		`41 01-image-is-files the digest of #1 is \ "right" The name is not the content: a ≠ b.`)
	is("who is stuck", "document.querySelectorAll('#stuck ~ ul')[0].children.length", "41")
	is("a name is text", "document.querySelectorAll('#points b, script').length", "0")
	is("what is alike", "document.querySelector('#similar ~ ol code').innerText", "echo '<script>' >answer")
	p.Screenshot("wide")
	// The skip link, five links to parts and one more, the table, and in it a check.
	for range 9 {
		p.Press("Tab")
	}
	is("nine times Tab", "document.activeElement.href.split('#')[1]", "check-01-1")
	p.Press("Enter")
	is("where that leads", "document.querySelector('#check-01-1').closest('details').open", "true")
	p.Resize(360)
	p.Screenshot("narrow")
	is("a wide table moves by itself", "[...document.querySelectorAll('.scroll')].some(d => d.scrollWidth > d.clientWidth)", "true")
	p.Resize(794) // an A4 page: 210 mm of 96 pixels to an inch
	p.Print()
	is("paper has no links to parts", "getComputedStyle(document.querySelector('nav')).display", "none")
	is("paper has what is folded", "[...document.querySelectorAll('details')].every(d => d.offsetHeight > 60)", "true")
	p.Screenshot("printed")
}

// TestAlike: two students' values make neither two checks of one nor two reasons, and what is
// graded stays as it was. Two checks whose names differ in as little stay two.
func TestAlike(t *testing.T) {
	b := &Book{Marks: &tutorial.Marks{Labs: []tutorial.ClassLab{{Lab: "02-container"}}}}
	for _, name := range []string{"apple", "lemon", "mango"} {
		b.Marks.Marks = append(b.Marks.Marks, tutorial.Mark{ID: name, Lab: "02-container", Result: &tutorial.Result{Checks: []tutorial.Check{
			{Name: "the container " + name + " runs", State: tutorial.Failed, Why: name + " does not run, so it has no number"},
			{Name: "the container " + name + " sleeps", State: tutorial.Passed},
		}}})
	}
	if checks := warm(b)[0].Checks; len(checks) != 6 {
		t.Fatalf("%d checks before", len(checks))
	}
	var html bytes.Buffer
	if err := Write(&html, "html", b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the container … runs: 0 of 3 passed", "the container … sleeps: 3 of 3 passed", "… does not run, so it has no number"} {
		if n := strings.Count(html.String(), want); n == 0 || strings.Contains(html.String(), "container apple") {
			t.Errorf("%q is there %d times in\n%s", want, n, html.String())
		}
	}
	if got := b.Marks.Marks[0].Result.Checks[0].Name; got != "the container apple runs" {
		t.Error(got)
	}
}

// TestMostFrequent: of the same number, the same is named each time.
func TestMostFrequent(t *testing.T) {
	for range 20 {
		if got := mostFrequent(map[string]int{"b": 2, "a": 2, "c": 1}); got != "a" {
			t.Fatal(got)
		}
	}
	if s := shade(1, 0) + shade(0, 5) + shade(5, 5) + shade(2, 5); s != "noneh0h4h1" || strings.Contains(s, " ") {
		t.Error(s)
	}
	if len(warm(&Book{Marks: &tutorial.Marks{}})) != 0 {
		t.Error("labs of none")
	}
}
