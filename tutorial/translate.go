// Labs in other languages: beside lab.txt, a directory de/ has the text, the hints and a catalogue
// of what the check says. The check itself speaks English, and so do the formats for other
// programs; what a person reads is translated when it is shown.

package tutorial

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"tiffin/internal/errs"
)

// language names a directory of a translation: "de", "de_AT".
var language = pattern(`^[a-z]{2,3}(_[A-Z]{2})?$`)

// Languages are those that the environment asks for, the best first: locale(7), LC_MESSAGES.
func Languages() []string {
	asked := cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG"))
	asked, _, _ = strings.Cut(asked, ".")
	asked, _, _ = strings.Cut(asked, "@")
	short, _, _ := strings.Cut(asked, "_")
	return []string{asked, short}
}

// Languages are those into which a lab is translated.
func (l *Lab) Languages() (all []string) {
	names, _ := fs.Glob(l.files, "*/lab.txt") // the pattern is a good one
	for _, n := range names {
		if dir := path.Dir(n); language().MatchString(dir) {
			all = append(all, dir)
		}
	}
	return all
}

// In is the lab in the first of some languages that it has, or as it is.
func (l *Lab) In(languages ...string) (*Lab, error) {
	for _, lang := range languages {
		if slices.Contains(l.Languages(), lang) {
			return l.in(lang)
		}
	}
	return l, nil
}

// MustIn is In for a language that somebody has asked for by name.
func (l *Lab) MustIn(lang string) (*Lab, error) {
	if t, err := l.In(lang); t != l || err != nil || lang == "en" {
		return t, err
	}
	return nil, errs.Hint(fmt.Errorf("lab %s is not translated into %q", l.Name, lang), "it is there in: "+strings.Join(append([]string{"en"}, l.Languages()...), " "))
}

func (l *Lab) in(lang string) (*Lab, error) {
	t := *l
	t.original, t.lang = l, lang
	failed := func(file string, err error) (*Lab, error) {
		return nil, fmt.Errorf("read %s/%s/%s: %w", l.Name, lang, file, err)
	}
	text, err := fs.ReadFile(l.files, path.Join(lang, "lab.txt"))
	if err != nil {
		return failed("lab.txt", err)
	}
	var header map[string]string
	if header, t.Lesson, err = parseHeader(string(text), "of", "title", "concept"); err != nil {
		return failed("lab.txt", err)
	}
	t.of, t.Title, t.Concept = header["of"], header["title"], header["concept"]
	if text, err = fs.ReadFile(l.files, path.Join(lang, "messages.txt")); err != nil {
		return failed("messages.txt", err)
	}
	if t.messages, err = parseCatalogue(string(text)); err != nil {
		return failed("messages.txt", err)
	}
	own, err := builtin.ReadFile("engine." + lang + ".txt")
	if errors.Is(err, fs.ErrNotExist) {
		return &t, nil // what the engine says stays English
	}
	words, err := parseCatalogue(string(own))
	t.messages = append(t.messages, words...)
	return &t, err
}

// Original is the lab as its author has written it.
func (l *Lab) Original() *Lab { return cmp.Or(l.original, l) }

// Say is a message in the lab's language, or as it is.
func (l *Lab) Say(message string) string {
	best, fixed := message, -1
	for _, m := range l.messages {
		if found := m.fits().FindStringSubmatch(message); found != nil && m.fixed > fixed {
			var pairs []string
			for i, name := range m.fits().SubexpNames() {
				pairs = append(pairs, "{"+name+"}", found[i])
			}
			best, fixed = strings.NewReplacer(pairs[2:]...).Replace(m.to), m.fixed
		}
	}
	return best
}

// message is an entry of a catalogue: {NAME} stands for whatever text is there.
type message struct {
	from, to string
	fixed    int // how much of it is no such place
	fits     func() *regexp.Regexp
}

var place = pattern(`\{[A-Za-z][A-Za-z0-9_]*\}`)

// parseCatalogue reads entries: a line with the message, and below it, indented, the translation.
func parseCatalogue(text string) (all []message, err error) {
	n, open := 0, false // whether a message waits for its translation
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		to, indented := strings.CutPrefix(line, "    ")
		switch {
		case line == "" || line[0] == '#':
		case indented && open:
			all[len(all)-1].to, open = to, false
		case indented || open:
			return nil, fmt.Errorf("line %d: below each message is one line, indented by four blanks", n)
		default:
			if slices.ContainsFunc(all, func(m message) bool { return m.from == line }) {
				return nil, fmt.Errorf("line %d: this message is there twice", n)
			}
			all, open = append(all, message{from: line, fixed: len(place().ReplaceAllString(line, "")), fits: pattern(expression(line))}), true
		}
	}
	if open {
		return nil, errors.New("the last message has no translation")
	}
	for _, m := range all {
		for _, p := range place().FindAllString(m.to, -1) {
			if !strings.Contains(m.from, p) {
				return nil, fmt.Errorf("%s is not in the message %q", p, m.from)
			}
		}
	}
	return all, nil
}

// expression fits the text of a message, with groups named as its places.
func expression(from string) string {
	named := map[string]bool{}
	var b strings.Builder
	b.WriteString("(?s)^")
	at := 0
	for _, m := range place().FindAllStringIndex(from, -1) {
		b.WriteString(regexp.QuoteMeta(from[at:m[0]]))
		name := from[m[0]+1 : m[1]-1]
		if named[name] {
			b.WriteString("(?:.*?)") // the same again
		} else {
			b.WriteString("(?P<" + name + ">.*?)")
		}
		named[name], at = true, m[1]
	}
	return b.String() + regexp.QuoteMeta(from[at:]) + "$"
}

// digest names the text that a translation is of: eight digits of its SHA-256.
func (l *Lab) digest() string {
	hints, _ := fs.ReadFile(l.files, "hints.txt") // lab test tells of an error
	return fmt.Sprintf("%x", sha256.Sum256([]byte(l.Title+"\n"+l.Concept+"\n"+l.Lesson+string(hints))))[:8]
}

// lookTranslations finds what is missing in translations, and what is left of an older text.
func (t *Trial) lookTranslations() {
	for _, lang := range t.Lab.Languages() {
		where := lang + "/lab.txt"
		l, err := t.Lab.In(lang)
		if err != nil {
			t.problem(where, "%v", err)
			continue
		}
		if want := t.Lab.digest(); l.of != want {
			t.problem(where, "is of another text: when it says what lab.txt and hints.txt say now, its header has `of: %s`", want)
		}
		if got, want := commands(l.Lesson), commands(t.Lab.Lesson); !slices.Equal(got, want) {
			t.problem(where, "has other commands than lab.txt: %q, %q", got, want)
		}
		for _, k := range keys(l.Lesson) {
			if !slices.Contains(keys(t.Lab.Lesson), k) {
				t.problem(where, "has {{%s}}, which lab.txt has not", k)
			}
		}
		if hints, err := l.hints(); err != nil || len(hints) != 3 {
			t.problem(lang+"/hints.txt", "has %d hints, not 3; %v", len(hints), err)
		}
		t.lookMessages(l)
	}
}

// sentence is a text in a script of a shell that is meant for people: between quotes, from a
// capital to a full stop.
var sentence = pattern(`'([A-Z][^']*? [^']*[.?!)])'|"([A-Z](?:[^"\\]|\\.)*? (?:[^"\\]|\\.)*[.?!)])"`)

var comment = pattern(`(?m)^\s*#.*$`)

// inShell is a variable, a substitution or an escape within quotes.
var inShell = pattern(`\$\([^)]*\)|\$\{[^}]*\}|\$[A-Za-z0-9_]+|\\(.)`)

// lookMessages compares the catalogue with what check.sh can say.
func (t *Trial) lookMessages(l *Lab) {
	script, _ := fs.ReadFile(l.files, "check.sh") // look has told of an error
	// Places and variables are the same mark in both.
	plain := func(s string) string {
		return inShell().ReplaceAllStringFunc(s, func(v string) string {
			if v[0] == '\\' {
				return v[1:]
			}
			return "{}"
		})
	}
	has := func(m message) string { return place().ReplaceAllString(m.from, "{}") }
	for _, m := range sentence().FindAllStringSubmatch(comment().ReplaceAllString(string(script), ""), -1) {
		text := cmp.Or(m[1], plain(m[2]))
		if !slices.ContainsFunc(l.messages, func(m message) bool { return has(m) == squeeze(text) }) {
			t.problem(l.lang+"/messages.txt", "lacks what check.sh may say: %q", text)
		}
	}
	own, _ := builtin.ReadFile("engine." + l.lang + ".txt")
	all := plain(string(script))
	for _, m := range l.messages {
		if !strings.Contains(all, has(m)) && !strings.Contains(string(own), m.from+"\n") {
			t.problem(l.lang+"/messages.txt", "has what check.sh does not say any more: %q", m.from)
		}
	}
}

// untranslated finds what a check has said and a translation lacks.
func (t *trial) untranslated(res *Result) {
	for _, lang := range t.lab.Languages() {
		l, err := t.lab.In(lang)
		if err != nil {
			return // noted
		}
		for _, c := range res.Checks {
			for _, text := range []string{c.Name, c.Expected, c.Why} {
				if !c.void && strings.Contains(text, " ") && l.Say(text) == text {
					t.problem(lang+"/messages.txt", "lacks what the check said: %q", text)
				}
			}
		}
	}
}
