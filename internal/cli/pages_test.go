package cli

import (
	"strings"
	"testing"

	"tiffin/tutorial"
)

// TestPagesFit: each page of each lab fits a screen of 24 lines, all lines are there once, and no
// heading is alone at the end of a page.
func TestPagesFit(t *testing.T) {
	labs, err := tutorial.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{strings.Repeat("line\n", 100), "a\n\nYour task\n\n" + strings.Repeat("b\n", 20)}
	for _, l := range labs {
		texts = append(texts, l.Lesson)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, text := range texts {
		all := pages(text, 23)
		if squeeze(strings.Join(all, "\n")) != squeeze(text) {
			t.Errorf("the pages have another text than %.40q", text)
		}
		for _, page := range all {
			if n := strings.Count(page, "\n"); n > 23 {
				t.Errorf("a page of %d lines: %.40q", n, page)
			}
			lines := strings.Split(strings.TrimSpace(page), "\n")
			if last := lines[len(lines)-1]; last == "Your task" || last == "Afterwards" {
				t.Errorf("%q is alone at the end of a page", last)
			}
		}
	}
}
