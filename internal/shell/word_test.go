package shell

import (
	"os/exec"
	"strings"
	"testing"
)

// TestAShellReadsAWordAsItIs: and plain ones are not quoted, for people.
func TestAShellReadsAWordAsItIs(t *testing.T) {
	for word, want := range map[string]string{
		"a-b=c": "a-b=c", "": "''", "a b": "'a b'", "~": "'~'", "é": "'é'",
		"it's $HOME": `'it'\''s $HOME'`, "two\nlines\n": "'two\nlines\n'",
		"\x1b[2J":  `"$(printf '\033\133\062\112')"`,
		"\n\x07\n": "\"$(printf '\\012\\007')\"'\n'",
		"\xff'":    `"$(printf '\377\047')"`,
	} {
		if got := Word(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
		wordOfAShell(t, word)
	}
}

// FuzzWord: no text is more or less than one word, and none has what acts on a terminal.
func FuzzWord(f *testing.F) {
	f.Add("$(id) `id` \"'\\ #\r!*?[~")
	f.Fuzz(func(t *testing.T, word string) {
		if strings.ContainsRune(word, 0) || len(word) > 10_000 { // bytes; an argument has 128 KiB
			return
		}
		wordOfAShell(t, word)
	})
}

func wordOfAShell(t *testing.T, word string) {
	t.Helper()
	text := Word(word)
	if strings.ContainsAny(text, "\x1b\x07\x08\r\x7f") {
		t.Errorf("%q: has control characters: %q", word, text)
	}
	out, err := exec.Command("sh", "-c", "set -- "+text+"; [ $# = 1 ] && printf %s \"$1\"").Output()
	if err != nil || string(out) != word {
		t.Errorf("%q: a shell reads %q, %v", word, out, err)
	}
}
