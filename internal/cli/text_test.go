package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tiffin/image"
)

// TestPlainTextHasNothingThatActsOnATerminal: control characters (console_codes(4)), marks of
// direction and bytes that are no UTF-8 are written as escapes, whatever pieces they come in.
func TestPlainTextHasNothingThatActsOnATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"a line\n\ta tab\n":  "a line\n\ta tab\n",
		"\x1b]0;title\x07\n": `\u001b]0;title\u0007` + "\n",
		"\x1b[2J\r\b\x7f\n":  `\u001b[2J\u000d\u0008\u007f` + "\n",
		"\u009b31m\n":        `\u009b31m` + "\n", // CSI in one character: ECMA-48, 8.3.16
		"a\u202eb\u2066c\n":  `a\u202eb\u2066c` + "\n",
		"\U000e0041\n":       `\udb40\udc41` + "\n", // tags, which no one sees
		"\xff\xc3\n":         `\xff\xc3` + "\n",
		"größe … 大\n":        "größe … 大\n",
	} {
		for _, piece := range []int{1, 2, 3, len(in)} {
			var out bytes.Buffer
			w := &plainText{to: &out}
			for rest := in; rest != ""; {
				n := min(piece, len(rest))
				if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
					t.Fatalf("Write = %d, %v", k, err)
				}
				rest = rest[n:]
			}
			if out.String() != want {
				t.Errorf("%q in pieces of %d bytes is written as %q, want %q", in, piece, out.String(), want)
			}
		}
	}
}

// TestJSONStaysTheSame: what the escapes stand for is what was there.
func TestJSONStaysTheSame(t *testing.T) {
	in := "\x1b[2J\u202e\u0085\U000e0041\ttab\nline"
	var out bytes.Buffer
	if err := json.NewEncoder(&plainText{to: &out}).Encode(in); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != in {
		t.Errorf("%s is read as %q, %v; want %q", out.Bytes(), back, err, in)
	}
	if strings.ContainsAny(out.String(), "\x1b\u202e\u0085") {
		t.Errorf("%q acts on a terminal", out.String())
	}
}

// TestANameIsNotTheNextLine: printable is for names within a line.
func TestANameIsNotTheNextLine(t *testing.T) {
	if got, want := printable("a\nA /etc/shadow\t\x1b"), `a\u000aA /etc/shadow\u0009\u001b`; got != want {
		t.Errorf("printable: %q, want %q", got, want)
	}
}

// TestARowOfATableIsOneLine, whoever wrote what is in it.
func TestARowOfATableIsOneLine(t *testing.T) {
	rows := []*historyRow{newHistoryRow(image.HistoryEntry{CreatedBy: "by\nFAKE", Comment: "a comment\nFAKE\tROW"}, true, true)}
	var out bytes.Buffer
	if err := printRows(&out, "", "table {{.ID}}\t{{.CreatedBy}}\t{{.Comment}}", &historyHeader, rows); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n"); got != 2 || !strings.HasSuffix(out.String(), "a comment FAKE ROW\n") {
		t.Errorf("a table of one row:\n%s", out.String())
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestLostOutputIsAnError: fmt's error is looked at by nobody.
func TestLostOutputIsAnError(t *testing.T) {
	w := &plainText{to: full{}}
	fmt.Fprintln(w, "a line")
	if err := w.lost(); !errors.Is(err, errFull) {
		t.Errorf("lost: %v", err)
	}
	if err := (&plainText{to: &bytes.Buffer{}}).lost(); err != nil {
		t.Errorf("nothing was lost, but %v", err)
	}
}
