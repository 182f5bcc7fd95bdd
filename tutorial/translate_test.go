package tutorial

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTranslationsFit: nothing is missing in a translation and nothing in it is of an older text.
func TestTranslationsFit(t *testing.T) {
	seen := 0
	for _, l := range embedded(t) {
		seen += len(l.Languages())
		trial := &Trial{Lab: l}
		trial.lookTranslations()
		for _, p := range trial.Problems {
			t.Errorf("%s: %s", l.Name, p)
		}
	}
	if seen == 0 {
		t.Error("no lab is translated")
	}
}

// TestStaleTranslationsAreFound changes a lab below its translation.
func TestStaleTranslationsAreFound(t *testing.T) {
	labs, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct{ file, from, to, want string }{
		"another text":     {"lab.txt", "a handful of files", "many files", "is of another text"},
		"another hint":     {"hints.txt", "lists", "shows", "is of another text"},
		"another command":  {"lab.txt", "$ ls lunch lunch", "$ ls -l lunch", "has other commands"},
		"another message":  {"check.sh", "The config is one of the parts", "One of them is the config", "lacks what check.sh may say"},
		"a message gone":   {"check.sh", "Empty is the whiteout", "That is the whiteout", `does not say any more: "Empty`},
		"a key of its own": {"de/lab.txt", "{{TAG}}", "{{DAY}}", "has {{DAY}}, which lab.txt has not"},
		"a hint gone":      {"de/hints.txt", "\n---\n", "\n", "has 1 hints, not 3"},
		"half an entry":    {"de/messages.txt", "    layer nennt", "layer nennt", "below each message is one line"},
		"an unknown place": {"de/messages.txt", "über {SPICE}", "über {X}", "{X} is not in the message"},
	} {
		dir := filepath.Join(t.TempDir(), "01-image-is-files")
		if err := os.CopyFS(dir, labs[0].files); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, x.file)
		b, err := os.ReadFile(path)
		changed := strings.ReplaceAll(string(b), x.from, x.to)
		if err != nil || changed == string(b) {
			t.Fatalf("%s: %v, or nothing to change", name, err)
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		trial := &Trial{Lab: l}
		trial.lookTranslations()
		if !slices.ContainsFunc(trial.Problems, func(p Problem) bool { return strings.Contains(p.String(), x.want) }) {
			t.Errorf("%s: %v", name, trial.Problems)
		}
	}
}

// TestMessagesAreTranslated: the longest entry that fits, with what stands in its places.
func TestMessagesAreTranslated(t *testing.T) {
	all, err := parseCatalogue("# comment\nthe file {F} is gone\n    weg ist {F}\n\nthe file {F} is {S}\n    {F} ist {S}\n{A}{A} twice\n    zweimal {A}\n")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{messages: all}
	for from, want := range map[string]string{
		"the file x.y is gone": "weg ist x.y", "the file $1 is red": "$1 ist red", "another": "another", "the file {S} is {F}": "{S} ist {F}",
	} {
		if got := l.Say(from); got != want {
			t.Errorf("%q: %q, not %q", from, got, want)
		}
	}
}

// TestTheLanguageIsChosen: by the environment if the lab has it, and by name.
func TestTheLanguageIsChosen(t *testing.T) {
	labs, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ all, messages, lang, want string }{
		{"", "", "", ""}, {"", "", "de_DE.UTF-8", "de"}, {"", "de_AT@euro", "en_US.UTF-8", "de"}, {"C", "de_DE", "de_DE", ""}, {"", "xx_YY", "", ""}, {"", "../de", "", ""},
	} {
		t.Setenv("LC_ALL", x.all)
		t.Setenv("LC_MESSAGES", x.messages)
		t.Setenv("LANG", x.lang)
		if l, err := labs[0].In(Languages()...); err != nil || l.lang != x.want {
			t.Errorf("%+v: %q, %v", x, l.lang, err)
		}
	}
	if _, err := labs[0].MustIn("xx"); err == nil {
		t.Error("a language that is not there")
	}
}

// TestANewerFormatIsRefused: and one without a version is of the first.
func TestANewerFormatIsRefused(t *testing.T) {
	for format, want := range map[string]string{"1": "", "2": "its format is version 2, and this tiffin knows 1", "x": "is no version", "0": "is no version"} {
		err := (&Lab{}).parse("format: " + format + "\ntitle: a\nconcept: b\nminutes: 1\n\ntext\n")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", format, err)
		}
	}
}
