package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tiffin/ns"
)

// tell explains the table as a start does that skips nothing, but for what is not init's.
func tell(e *explainer) {
	spec := &ns.Spec{Root: ns.Root{Target: "/" + strings.Repeat("long/", 30) + "root"}}
	for i, s := range ns.Steps() {
		if s.Where != "exec" {
			e.step(spec, ns.Report{N: i + 1, Step: s.Name, Took: 1500 * time.Microsecond,
				Calls: []string{`mount("` + spec.Root.Target + `/proc", ` + strings.Repeat("MS_NOSUID|", 20) + `) = 0`}})
		}
	}
	e.step(spec, ns.Report{N: len(ns.Steps()), Step: "exec"}) // it failed, and was reported again
}

func TestExplainTellsEveryStepOnce(t *testing.T) {
	var text, lines bytes.Buffer
	tell(&explainer{w: &text, steps: ns.Steps()})
	tell(&explainer{w: &lines, steps: ns.Steps(), json: true})
	dec := json.NewDecoder(&lines)
	for i, s := range ns.Steps() {
		if n := strings.Count(text.String(), " "+s.Name+strings.Repeat(" ", 10)); n != 1 {
			t.Errorf("step %s is told %d times", s.Name, n)
		}
		var x explanation
		if err := dec.Decode(&x); err != nil || x.Number != i+1 || x.Step != s.Name || x.Why != s.Why || x.Man != s.Man || (x.Skipped != "") != (s.Where == "exec") {
			t.Errorf("step %s: %+v %v", s.Name, x, err)
		}
	}
	if dec.More() {
		t.Error("more lines than steps")
	}
	if !strings.Contains(text.String(), `mount("$ROOT/proc", MS_NOSUID|`) {
		t.Error("the root is not shortened")
	}
}

func TestExplanationsAreEightyColumnsWide(t *testing.T) {
	var b bytes.Buffer
	x := &explanation{Number: 7, Step: "root", Where: "init", Why: strings.Repeat("because ", 40), Man: strings.Repeat("x", 300),
		Calls: []string{strings.Repeat("/a/very/long/path", 20), "f(" + strings.Repeat("A, ", 100) + ") = 0"}, Before: strings.Repeat("b ", 99), After: "a"}
	x.write(&b)
	for l := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(l, "\n")); n > explainWidth {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

func TestCommandsToTypeStayWhole(t *testing.T) {
	for _, command := range []string{
		"short", "printf %s 'a  long   text in quotes " + strings.Repeat("with  spaces ", 12) + "' > /tmp/x",
		"mount -t tmpfs -o " + strings.Repeat("x", 90) + " tmpfs /mnt", strings.Repeat("word ", 40) + "end",
	} {
		got := strings.Join(continued(command), "\n")
		// sh(1): backslash and newline are removed; the indent is between words.
		joined := strings.ReplaceAll(got, " \\\n    ", " ")
		if joined != command {
			t.Errorf("%q\nbecame %q", command, joined)
		}
	}
	for _, l := range continued("# " + strings.Repeat("comment ", 30)) {
		if !strings.HasPrefix(l, "# ") {
			t.Errorf("a comment became a command: %s", l)
		}
	}
}
