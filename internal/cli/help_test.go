// The help texts: they fit, and nothing is lost when they are made to.

package cli

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHelpFitsATerminal: no line of any help text is wider than helpWidth.
func TestHelpFitsATerminal(t *testing.T) {
	var b strings.Builder
	printHelp(&b)
	narrow(t, "tiffin", b.String())
	for _, g := range table {
		for _, c := range append(g.commands, below(g.commands)...) {
			cmd := c.make()
			cmd.Name, cmd.Usage = c.name, c.short
			b.Reset()
			printCommandHelp(&b, cmd)
			narrow(t, c.name, b.String())
			if got := strings.Fields(paragraphs(cmd.Description)); !slices.Equal(got, strings.Fields(cmd.Description)) {
				t.Errorf("%s: words of the description are lost: %q", c.name, got)
			}
		}
	}
}

// below are the commands below commands.
func below(commands []command) (all []command) {
	for _, c := range commands {
		all = append(all, belowOf(c.name)...)
	}
	return all
}

func narrow(t *testing.T, name, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
			t.Errorf("%s: %d columns: %s", name, n, line)
		}
	}
}

func TestParagraphs(t *testing.T) {
	long := strings.Repeat("word ", 20)
	for text, want := range map[string]string{
		"one\ntwo\n\nthree":            "one two\n\nthree",
		long:                           strings.TrimSpace(strings.Repeat("word ", 16)) + "\nword word word word",
		"a\n  name    " + long + "\nb": "a\n  name    " + strings.TrimSpace(strings.Repeat("word ", 14)) + "\n          word word word word word word\nb",
		"Try it: x\n        y\nz":      "Try it: x\n        y\nz",
	} {
		if got := paragraphs(strings.TrimRight(text, " ")); got != want {
			t.Errorf("%q becomes\n%s\nwant\n%s", text, got, want)
		}
	}
}
