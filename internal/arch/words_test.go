package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxComment is how wide a line of comment may be, in columns; a tab counts as four.
const maxComment = 100

// puzzles are turns of phrase that a reader has to take apart before they mean something.
var puzzles = regexp.MustCompile(`\b(for|of|to) who\b|\bwhat is none\b|\bis for before\b|\bwhat is no [a-z]|\bwho has mapped\b`)

// opening is a sentence: it begins with a capital letter, and says something.
var opening = regexp.MustCompile(`(?s)^[A-Z].{20}`)

// goFiles are the files of Go in the repository, tests included, by path below the top.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for path, err := range walk(top) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
	}
	return files
}

// TestFilesOpenWithWhatTheyHold: before the imports, a sentence says what is in the file. In a
// file of tests the names of the tests say it.
func TestFilesOpenWithWhatTheyHold(t *testing.T) {
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), top+"/"+path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		said := slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool { return c.Pos() < f.Name.Pos() && opening.MatchString(c.Text()) })
		if !said {
			t.Errorf("%s does not open with what it holds", path)
		}
	}
}

// TestCommentsAreNarrowAndPlain: comments fit beside one another on a screen, and are sentences
// that are understood when they are read once.
func TestCommentsAreNarrowAndPlain(t *testing.T) {
	for _, path := range goFiles(t) {
		b, err := os.ReadFile(top + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		number := 0
		for line := range strings.Lines(string(b)) {
			number++
			line = strings.TrimSuffix(line, "\n")
			if !strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			at := fmt.Sprintf("%s:%d", path, number)
			if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); n > maxComment {
				t.Errorf("%s: a comment of %d columns, %d are allowed", at, n, maxComment)
			}
			if found := puzzles.FindString(line); found != "" && path != "internal/arch/words_test.go" {
				t.Errorf("%s: %q has to be parsed: say it plainly", at, found)
			}
		}
	}
}
