package mini

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryStageHasItsFunction: what `lab diff` shows is in the source, with its comment.
func TestEveryStageHasItsFunction(t *testing.T) {
	if n := len(Stages()); n != 9 {
		t.Errorf("%d stages", n)
	}
	for n, s := range Stages() {
		all, err := Ours(n + 1)
		if err != nil || len(all) == 0 {
			t.Errorf("stage %d: %v", n+1, err)
		}
		for _, e := range all {
			source, err := os.ReadFile("../../" + e.File)
			if err != nil || !strings.Contains(string(source), e.Text) || !strings.HasSuffix(e.Text, "\n}") {
				t.Errorf("%s, line %d: %q: %v", e.File, e.Line, e.Text, err)
			}
		}
		page, err := os.ReadFile(fmt.Sprintf("../21-mini/stages/%d.txt", n+1))
		if err != nil || !strings.HasPrefix(string(page), s.Title+"\n\n") || !strings.Contains(string(page), "\nPredict: ") ||
			!strings.Contains(string(page), "\nTo do") || strings.Count(string(page), "\n---\n") != 3 {
			t.Errorf("the page of stage %d is not as the others: %v", n+1, err)
		}
		for line := range strings.Lines(string(page)) {
			if len([]rune(line)) > 81 {
				t.Errorf("stage %d: a line of more than 80 columns: %q", n+1, line)
			}
		}
	}
}

// TestLinksLeadNowhere: the program can write where its output is kept, and neither makes the judge
// write a file elsewhere nor read one.
func TestLinksLeadNowhere(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(kept, []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &Bench{Tiffin: "/bin/false", Root: t.TempDir(), Dir: dir}
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.start("/bin/echo", "said")
	if err != nil {
		t.Fatal(err)
	}
	<-r.done
	first := filepath.Join(dir, "said-1")
	if err := errors.Join(os.Remove(first), os.Symlink(kept, first), os.Symlink(kept, filepath.Join(dir, "said-2"))); err != nil {
		t.Fatal(err)
	}
	if got := r.output(); got != "said" {
		t.Errorf("%q is read", got)
	}
	r.end()
	if r, err := b.start("/bin/echo", "more"); err == nil {
		r.end()
		t.Error("it is written")
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "kept" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestMarkedLinesAreFound(t *testing.T) {
	text := "a\n# Stage 2 and 5: names\nb\n// stage 3\nc\n    -- stage 2\nd\n# a stage 2 of something\n"
	got := Marked("f", []byte(text), 2)
	if len(got) != 2 || got[0] != (Excerpt{"f", 2, "# Stage 2 and 5: names\nb"}) || got[1] != (Excerpt{"f", 6, "    -- stage 2\nd\n# a stage 2 of something\n"}) {
		t.Errorf("%+v", got)
	}
	for _, file := range []string{"mini.go", "mini.sh"} {
		text, err := os.ReadFile("../21-mini/reference/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for n := range Stages() {
			if len(Marked(file, text, n+1)) == 0 {
				t.Errorf("%s has no mark of stage %d", file, n+1)
			}
		}
	}
}

// TestStacksAreValid: those for each rule, and those by chance; and every kind of entry comes.
func TestStacksAreValid(t *testing.T) {
	for _, s := range known() {
		if !s.valid() {
			t.Errorf("not valid:\n%s", s)
		}
	}
	kinds := map[byte]int{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		s := random(r)
		for _, layer := range s {
			for _, e := range layer {
				kinds[e.kind]++
			}
		}
		for _, small := range s.smaller() {
			if !small.valid() {
				t.Errorf("not valid:\n%s", small)
			}
		}
	}
	for _, k := range "dflhwo" {
		if kinds[byte(k)] < 5 {
			t.Errorf("only %d of %c", kinds[byte(k)], k)
		}
	}
	for _, s := range []stack{
		{{{kind: 'w', path: "a"}}},
		{{{kind: 'l', path: "a", link: "b"}, {kind: 'f', path: "a/c"}}},
		{{{kind: 'f', path: "a"}, {kind: 'f', path: "a"}}},
		{{{kind: 'f', path: "a"}}, {{kind: 'h', path: "b", link: "a"}}},
	} {
		if s.valid() {
			t.Errorf("valid, though the specification leaves open what it means:\n%s", s)
		}
	}
}

// TestRulesAreNamed: for each known stack, what a merge that ignores the rule makes of it.
func TestRulesAreNamed(t *testing.T) {
	for rule, c := range map[string]struct {
		stack int
		spoil func(tree)
	}{
		"What the upper layer has is what is seen: its text": {0, func(t tree) { t["a"].text = "0" }},
		"has the entries of both":                            {1, func(t tree) { delete(t, "a/c") }},
		"has the upper's attributes":                         {1, func(t tree) { t["a"].mode = 0o700 }},
		"keeps the mode that it has below":                   {2, func(t tree) { t["a"].mode = 0o755 }},
		"A whiteout hides the name":                          {3, func(t tree) { t["a"] = t["b"] }},
		"it must not be in the tree":                         {3, func(t tree) { t[".wh.a"] = t["b"] }},
		"An opaque whiteout hides all":                       {5, func(t tree) { t["a/c"] = t["a/d"] }},
		"never what is in its own layer":                     {6, func(t tree) { delete(t, "a/d") }},
		"and that does not come back":                        {10, func(t tree) { t["a/c"] = t["a/d"] }},
		"whatever type is below":                             {8, func(t tree) { *t["a"] = *(t["a"]); t["a"].kind = os.ModeDir }},
		"nothing is written where it leads":                  {11, func(t tree) { t["b/d"] = t["a/c"] }},
		"the upper layer replaces it, and what it leads to":  {13, func(t tree) { t["b"].text = "1" }},
		"A hard link is one more name":                       {16, func(t tree) { b := *t["b"]; b.id++; t["b"] = &b }},
		"Other names of the file below keep what they show":  {17, func(t tree) { t["b"].text = "1" }},
		"The program must take every stack that is valid":    {0, nil},
	} {
		s := known()[c.stack]
		got, err := s.merged()
		if err != nil {
			t.Fatal(err)
		}
		o := outcome{tree: got}
		if c.spoil == nil {
			o.bad = "status 1"
		} else {
			c.spoil(got)
		}
		d, err := s.judge(o)
		if err != nil {
			t.Fatal(err)
		}
		if d == nil {
			t.Errorf("%s: no difference in\n%s", rule, s)
		} else if r := d.rule(); !strings.Contains(r, rule) {
			t.Errorf("%q, want %q, for %s: %s in\n%s", r, rule, d.expected(), d.found(), s)
		}
	}
}

// TestMutantsApply: each fault of the exercises is in one line that is still there, and its test
// is, too. scripts/mutants runs them.
func TestMutantsApply(t *testing.T) {
	text, err := os.ReadFile("mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n\n")[1:]
	if len(all) != 20 {
		t.Errorf("%d faults", len(all))
	}
	seen := map[string]bool{}
	for _, m := range all {
		f := map[string]string{}
		for line := range strings.Lines(m) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			f[key] = value
		}
		name := f["name"]
		if len(f) != 6 || seen[name] || f["new"] == f["old"] || f["seen"] == "" {
			t.Errorf("%q", m)
		}
		seen[name] = true
		source, err := os.ReadFile("../../" + f["file"])
		if n := strings.Count(string(source), f["old"]); err != nil || n != 1 {
			t.Errorf("%s: its line is %d times in %s: %v", name, n, f["file"], err)
		}
		pkg, test, _ := strings.Cut(f["test"], " ")
		if pkg != path.Dir(f["file"]) || !hasTest(t, "../../"+pkg, test) {
			t.Errorf("%s: there is no test %s in %s", name, test, pkg)
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(path.Join(dir, e.Name()))
		if err == nil && strings.HasSuffix(e.Name(), "_test.go") && regexp.MustCompile(`(?m)^func `+name+`\(t \*testing`).Match(b) {
			return true
		}
	}
	return false
}
