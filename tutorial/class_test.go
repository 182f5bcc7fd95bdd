package tutorial

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRosters(t *testing.T) {
	ada := []Member{{"ada", "Ada Lovelace", "ada@x.example"}}
	for text, want := range map[string][]Member{
		"id,name,email\nada,Ada Lovelace,ada@x.example\n":                       ada,
		"\ufeffid;name;email\r\nada;Ada Lovelace;ada@x.example\r\n":             ada,
		"Email\tGroup\tID\tName\nada@x.example\t7\t ada \t\"Ada Lovelace\"\n\n": ada,
		"id\n1\n2\n": {{ID: "1"}, {ID: "2"}},
	} {
		if got, err := ParseRoster([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                                 "first line must name",
		"name,email\nAda,x\n":              `line 1 names no column id: it is "name,email"`,
		"id,name\n":                        "it has no students",
		"id,name\nada,Ada\nada\n":          "line 3 has another number of columns",
		"id,name\nada,Ada\nbob,B\nADA,A\n": `line 4: the id "ADA" is that of line 2`,
		"id,name\n../x,Ada\n":              `line 2: "../x" cannot be an id`,
		"id,name\n-x,Ada\n":                "cannot be an id",
		"id,name\n,Ada\n":                  `line 2: "" cannot be an id`,
		"id,name\nada,\"A\x1b[2Jda\"\n":    "line 2 has characters that are no text",
		"id,name\nada,Bj\xf6rn\n":          "line 2 is not UTF-8",
		"id,name\nada,\"A\"da\n":           "line 2: ",
		"id,name\nada,\"A\nda\"\n":         "no text",
	} {
		if got, err := ParseRoster([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
}

// TestTokensAreEachStudentsOwn: the secret gives the same each time, of no use with another id,
// class or lab, and a mistyped one is seen.
func TestTokensAreEachStudentsOwn(t *testing.T) {
	s := Secret(strings.Repeat("s", 32))
	token := s.Token("os1", "ada")
	if token != s.Token("os1", "Ada") || len(token) != 28 || !token.fits("os1", "ADA") {
		t.Errorf("%s does not fit", token)
	}
	seen := map[string]bool{}
	for _, other := range []Token{token, s.Token("os1", "bob"), s.Token("os2", "ada"), Secret(strings.Repeat("t", 32)).Token("os1", "ada")} {
		for _, word := range []string{string(other), other.seed("01-x"), other.seed("02-x"), other.seed(""), string(other.key())} {
			if seen[word] {
				t.Errorf("%q is there twice", word)
			}
			seen[word] = true
		}
	}
	for _, wrong := range []Token{"", "x", token[1:], token[:27] + "_", "a" + token[:27]} {
		if wrong.fits("os1", "ada") {
			t.Errorf("%s fits", wrong)
		}
	}
	if token.fits("os1", "bob") || token.fits("os2", "ada") {
		t.Error("the token fits somebody else")
	}
}

func TestReckoning(t *testing.T) {
	p := Policy{Hint: 5, Attempt: 1, Free: 10, Late: 10, Days: 3}
	for _, c := range []struct {
		reached, hints, attempts, late int
		points                         float64
		note                           string
	}{
		{10, 0, 1, 0, 8, ""},
		{5, 0, 10, 0, 4, ""},
		{10, 2, 12, 1, 6.24, "2 hints: 10 % less; 12 attempts: 2 % less; 1 day late: 10 % less"},
		{7, 1, 0, 0, 5.32, "1 hint: 5 % less"},
		{10, 0, 0, 3, 5.6, "3 days late: 30 % less"},
		{10, 0, 0, 4, 0, "4 days late, more than 3: 100 % less"},
		{10, 3, 200, 3, 0, "3 hints: 15 % less; 200 attempts: 190 % less; 3 days late: 30 % less"},
	} {
		m := Mark{Of: 8, Hints: c.hints, Attempts: c.attempts, Late: c.late, Result: &Result{Points: c.reached, Of: 10}}
		if p.reckon(&m); m.Points != c.points || m.Note != c.note {
			t.Errorf("%+v: %v points, %s", c, m.Points, m.Note)
		}
	}
	l := ClassLab{Deadline: time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)}
	for after, want := range map[time.Duration]int{-time.Hour: 0, 0: 0, time.Second: 1, 24 * time.Hour: 1, 24*time.Hour + 1: 2, 100 * time.Hour: 5} {
		if got := l.late(l.Deadline.Add(after)); got != want {
			t.Errorf("%v after: %d days late, want %d", after, got, want)
		}
	}
}

func TestDeadlines(t *testing.T) {
	for text, want := range map[string]string{
		"2026-12-24T18:00": "2026-12-24 18:00:00", "2026-12-24 18:00": "2026-12-24 18:00:00", "2026-12-24": "2026-12-24 23:59:59",
	} {
		if got, err := ParseDeadline(text); err != nil || got.Format(time.DateTime) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := ParseDeadline("tomorrow"); err == nil || !strings.Contains(err.Error(), "2026-12-24T18:00") {
		t.Errorf("%v", err)
	}
}

// TestAClassIsMade: what others must not read they cannot, nothing is written over, and a formula
// is none in the tokens.
func TestAClassIsMade(t *testing.T) {
	top := t.TempDir()
	roster, dir := filepath.Join(top, "r.csv"), filepath.Join(top, "os1")
	if err := os.WriteFile(roster, []byte("id,name\nada,=1+1\nbob,Bob\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := NewClass("os1", []*Lab{{Name: "01-x", Title: "X"}, {Name: "02-y"}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := MakeClass(dir, c, roster); err != nil || n != 2 {
		t.Fatal(err)
	}
	if _, err := MakeClass(dir, c, roster); err == nil {
		t.Error("written over another")
	}
	for _, name := range []string{"secret", "tokens.csv", "roster.csv"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	secret, err := readSecret(dir)
	if err != nil {
		t.Fatal(err)
	}
	tokens, _ := os.ReadFile(filepath.Join(dir, "tokens.csv"))
	if !strings.Contains(string(tokens), "ada,'=1+1,,"+string(secret.Token("os1", "ada"))+"\n") {
		t.Errorf("%s", tokens)
	}
	if got, err := ReadClass(dir); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, %v", got, err)
	}
	path := filepath.Join(dir, "class.json")
	whole, _ := os.ReadFile(path)
	for _, edit := range []struct{ old, new, want string }{
		{`"version": 1`, `"version": 2`, "another tiffin"}, {`"os1"`, `"o s"`, "cannot be the name"}, {`"policy"`, `"polity"`, "unknown field"},
		{`_hint": 5`, `_hint": -5`, "no percentage"}, {`"points": 10`, `"points": -1`, "points"}, {`02-y`, `01-x`, "twice"}, {`02-y`, `2`, "not the name of a lab"},
	} {
		if err := os.WriteFile(path, []byte(strings.Replace(string(whole), edit.old, edit.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadClass(dir); err == nil || !strings.Contains(err.Error(), edit.want) {
			t.Errorf("%s: %v", edit.new, err)
		}
	}
	if _, err := NewClass("os1", []*Lab{{Name: "01-x"}, {Name: "01-x"}}); err == nil {
		t.Error("a lab twice")
	}
}
