// Package book is the book about this program: chapters and appendices in Markdown, with a
// drawing for each chapter, once as SVG for a browser and once as text for a terminal. The files
// are the book; the code here only finds a page.
//
// A chapter follows something real through named functions, in a block marked "calls":
//
//	pkg.Function                what happens there
//	  -> pkg.Type.Method        is called by the line above that is indented less
//	  => pkg.Function           runs after it, elsewhere: in another process, on a message
//
// A test reads the source and fails when one of the functions is gone or does not call the next.
package book

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

//go:embed *.md *.txt
var files embed.FS

// Page is a chapter ("1-layers") or an appendix ("a-formats").
type Page struct {
	Name  string // of its file, without .md
	Title string
	text  string
}

// Pages returns all pages in the order to read them.
func Pages() (pages []Page) {
	names, _ := fs.Glob(files, "?-*.md") // sorted: digits come before letters
	for _, name := range names {
		b, _ := files.ReadFile(name)
		title, _, _ := strings.Cut(strings.TrimPrefix(string(b), "# "), "\n")
		pages = append(pages, Page{strings.TrimSuffix(name, ".md"), title, string(b)})
	}
	return pages
}

// Find returns the page whose name, number or word is what was asked for: "1-layers", "1" or
// "layers".
func Find(asked string) (Page, error) {
	for _, p := range Pages() {
		number, word, _ := strings.Cut(p.Name, "-")
		if asked == p.Name || asked == number || asked == word {
			return p, nil
		}
	}
	return Page{}, fmt.Errorf("the book has no chapter %q", asked)
}

// drawing matches a drawing in a page: ![what it shows](1-layers.svg).
var drawing = regexp.MustCompile(`(?m)^!\[.*\]\((.*)\.svg\)$`)

// Text returns the page for a terminal: the drawings are those made of characters.
func (p Page) Text() string {
	return drawing.ReplaceAllStringFunc(p.text, func(s string) string {
		b, err := files.ReadFile(path.Base(drawing.FindStringSubmatch(s)[1]) + ".txt")
		if err != nil {
			return s
		}
		return strings.TrimRight(string(b), "\n")
	})
}
