package tutorial

import (
	"regexp"
	"strings"
	"testing"
)

// bitten is the box about what the subject of a lab did to somebody.
var bitten = regexp.MustCompile(`(?s)\nWhere it bit somebody.*(CVE-[0-9]{4}-[0-9]+|\b20[0-9]{2}\b)`)

// TestLabsHaveOneForm: what a student finds in one lab is where it is in the others.
func TestLabsHaveOneForm(t *testing.T) {
	labs, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range labs {
		if strings.HasSuffix(l.Title, ".") {
			t.Errorf("%s: the title is no sentence: %s", l.Name, l.Title)
		}
		if !strings.HasSuffix(l.Concept, ".") || strings.Contains(l.Concept, ". ") || len(l.Concept) > 76 {
			t.Errorf("%s: the concept is one sentence of one line: %s", l.Name, l.Concept)
		}
		if l.Name == "21-mini" {
			continue // it has a text for each stage
		}
		lesson, rest, _ := strings.Cut(l.Lesson, "\nYour task\n")
		task, after, _ := strings.Cut(rest, "\nAfterwards\n")
		switch {
		case len(commands(lesson)) == 0:
			t.Errorf("%s: nothing is to be typed before the task", l.Name)
		case !strings.Contains(task, "\nThen: tiffin lab check\n"):
			t.Errorf("%s: the task does not end with `Then: tiffin lab check`", l.Name)
		case !strings.Contains(after, "tiffin "):
			t.Errorf("%s: Afterwards does not say how tiffin does it", l.Name)
		case !regexp.MustCompile(`(?m)\b[Ii]n docker`).MatchString(after):
			t.Errorf("%s: Afterwards does not say what it is in docker", l.Name)
		case !bitten.MatchString(after):
			t.Errorf("%s: Afterwards does not say where it bit somebody, and which CVE or year that was", l.Name)
		}
		for paragraph := range strings.SplitSeq(l.Lesson, "\n\n") {
			if n := strings.Count(paragraph, "\n") + 1; n > 20 {
				t.Errorf("%s: a paragraph of %d lines fits no screen: %.40s…", l.Name, n, paragraph)
			}
		}
	}
}
