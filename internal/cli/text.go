// Text on its way to the terminal. Much of what tiffin prints was written by strangers: labels,
// histories, names of files, messages of registries. A terminal obeys control characters
// (console_codes(4)), and marks of direction make a name look like another one (Unicode
// Standard Annex 9), so all that commands print goes through stdout and stderr here, which write
// such characters as escapes. Only what a container itself prints, and tarballs, go past them.

package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// stdout and stderr are where commands print text.
var stdout, stderr = &plainText{to: os.Stdout}, &plainText{to: os.Stderr}

// plainText writes text to another writer, with escapes for all characters that are neither
// graphic nor a line's end or a tab. The escapes are those of JSON, so that JSON stays what it is.
// It remembers the first error, for commands that do not look at each line's.
type plainText struct {
	to io.Writer

	mu   sync.Mutex
	rest []byte // the beginning of a character that the last Write has cut in two
	err  error
}

func (t *plainText) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := append(t.rest, b...)
	t.rest = nil
	var out strings.Builder
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			t.rest = text // a line's end makes it complete, if nothing else does
			break
		}
		r, n := utf8.DecodeRune(text)
		if r == '\n' || r == '\t' {
			out.WriteByte(byte(r))
		} else {
			escape(&out, r, text[:n])
		}
		text = text[n:]
	}
	if _, err := io.WriteString(t.to, out.String()); err != nil {
		if t.err == nil {
			t.err = err
		}
		return 0, err
	}
	return len(b), nil
}

// lost is the error of output that could not be written, nil if all was: on a full disk a command
// must not look as if it had nothing to print.
func (t *plainText) lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		return nil
	}
	return fmt.Errorf("write the output: %w", t.err)
}

// escape writes the character r, whose bytes are b, or an escape for it.
func escape(out *strings.Builder, r rune, b []byte) {
	const digits = "0123456789abcdef"
	switch {
	case r == utf8.RuneError && len(b) == 1:
		out.WriteString(`\x` + string(digits[b[0]>>4]) + string(digits[b[0]&15]))
	case unicode.IsGraphic(r):
		out.WriteRune(r)
	default:
		units := utf16.AppendRune(nil, r)
		for _, u := range units {
			hex := strconv.FormatUint(uint64(u), 16)
			out.WriteString(`\u` + "0000"[len(hex):] + hex)
		}
	}
}

// printable is foreign text within a line of ours: its own line ends and tabs are escaped, too, so
// that a name cannot pretend to be the next line.
func printable(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		escape(&out, r, []byte(s[:n]))
		s = s[n:]
	}
	return out.String()
}
