// Package shell writes what a shell reads: a command line or script that tiffin prints may hold any
// name or value, and whoever pastes it runs what was meant and nothing else.
package shell

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Word makes one word of s for sh(1), where it stands for s itself (POSIX.1-2017, Shell Command
// Language, 2.2 Quoting). s has no byte 0, like all that execve(2) takes.
func Word(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("-_./:=@%+,", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return s
	}
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	// Control characters would act on the terminal that shows them: printf(1) makes them. A command
	// substitution takes line ends at the end away, so that those stand behind it.
	text := strings.TrimRight(s, "\n")
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, `\%03o`, c)
	}
	word := `"$(printf '` + b.String() + `')"`
	if ends := s[len(text):]; ends != "" {
		word += "'" + ends + "'"
	}
	return word
}
