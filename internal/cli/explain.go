// The flag --explain of run and exec: the runner's steps as they happen, for people and as JSON.
// The words are those of the runner's own table, package ns.

package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/ns"
)

func newExplainFlag() cli.Flag {
	return newOptionalFlag("explain", "tell each step of the start, on standard error; =short: a line for each, =json: one of JSON", "text", "short", "json")
}

// explanation is the text about a step: the table's words, and what happened.
type explanation struct {
	Number  int           `json:"number"`
	Step    string        `json:"step"`
	Where   string        `json:"where"` // the process that does it
	Why     string        `json:"why"`
	Man     string        `json:"man"`
	Calls   []string      `json:"calls,omitempty"` // with arguments and results
	Before  string        `json:"before,omitempty"`
	After   string        `json:"after,omitempty"`
	Skipped string        `json:"skipped,omitempty"` // why it was not done
	Instead string        `json:"instead,omitempty"` // what stands in for it then
	ByHand  string        `json:"byHand,omitempty"`
	Took    time.Duration `json:"tookNanoseconds"`
}

// explainer prints the steps as they come.
type explainer struct {
	w     io.Writer
	json  bool
	short bool // a line for each
	steps []ns.Step
	next  int  // position in steps of the one to be told next
	exec  bool // it is an exec that is explained, not a start
}

// newExplainer returns what --explain asks for, nil if it was not given.
func newExplainer(c *cli.Context, w io.Writer) *explainer {
	format, ok := optionalValue(c, "explain")
	if !ok {
		return nil
	}
	return &explainer{w: w, json: format == "json", short: format == "short", steps: ns.Steps()}
}

// teller is what a start calls with each step; nil if nothing is to be explained.
func (e *explainer) teller() func(*ns.Spec, ns.Report, *client.Pause) error {
	if e == nil {
		return nil
	}
	return func(spec *ns.Spec, r ns.Report, _ *client.Pause) error {
		e.step(spec, r)
		return nil
	}
}

// execTeller is what an exec calls with each step; nil if nothing is to be explained.
func (e *explainer) execTeller() func(*ns.Spec, ns.Report) {
	if e == nil {
		return nil
	}
	e.exec = true
	e.next = slices.IndexFunc(e.steps, func(s ns.Step) bool { return s.Where == "both" })
	return e.step
}

// step tells of a step, and of those before it in the table that belong to another command. What is
// reported a second time, since it failed after all, is left to the error message.
func (e *explainer) step(spec *ns.Spec, r ns.Report) {
	for e.next < r.N-1 {
		if e.exec {
			e.next++ // of the start, which is long over
			continue
		}
		e.print(spec, ns.Report{N: e.next + 1, Skipped: "it belongs to `tiffin exec`, which enters a container that is there"})
	}
	if e.next == r.N-1 {
		e.print(spec, r)
	}
}

// explainHead says what the text relies on.
const explainHead = `The root of the container is mounted at a path that is called $ROOT below:
%s
By hand, $WORK is a new directory of yours, $ROOT is $WORK/root and $LAYERS are
the unpacked layers; a line that ends in "sh" starts a shell for those after it.
"tiffin explain --script" makes one script of them all.

`

func (e *explainer) print(spec *ns.Spec, r ns.Report) {
	s := &e.steps[e.next]
	e.next++
	x := &explanation{
		Number: r.N, Step: s.Name, Where: s.Where, Why: s.Why, Man: s.Man, ByHand: s.ByHand(spec),
		Calls: r.Calls, Before: r.Before, After: r.After, Skipped: r.Skipped, Took: r.Took,
	}
	switch {
	case s.Where == "exec" || s.Where == "both" && e.exec:
		x.Where = "exec helper"
	case s.Where == "both":
		x.Where = "init"
	}
	if r.Skipped != "" {
		x.Instead = s.Instead
	}
	if e.json {
		_ = printJSON(e.w, x, "")
		return
	}
	if e.short {
		x.line(e.w)
		return
	}
	w := bufio.NewWriter(e.w)
	defer w.Flush()
	if s.Name == "user-namespace" {
		fmt.Fprintf(w, explainHead, spec.Root.Target)
	}
	x.shorten(spec.Root.Target)
	x.write(w)
}

// line prints the explanation as one line of at most explainWidth columns.
func (x *explanation) line(w io.Writer) {
	took := "skipped"
	if x.Skipped == "" {
		took = duration(x.Took)
	}
	line := []rune(fmt.Sprintf("%2d %-15s %8s  %s", x.Number, x.Step, took, cmp.Or(x.Skipped, x.Why)))
	if len(line) > explainWidth {
		line = append(line[:explainWidth-1], '…')
	}
	fmt.Fprintf(w, "%s\n", string(line))
}

// shorten writes $ROOT for a path of more than 64 letters. JSON has it whole.
func (x *explanation) shorten(root string) {
	if root == "" {
		return
	}
	short := strings.NewReplacer(root, "$ROOT")
	for i := range x.Calls {
		x.Calls[i] = short.Replace(x.Calls[i])
	}
	x.Before, x.After = short.Replace(x.Before), short.Replace(x.After)
}

// The columns of an explanation. Nothing but a command to be typed, which must stay whole, is
// wider than explainWidth.
const (
	explainWidth = 80
	explainLabel = 13 // where the text begins, behind the label
)

// write prints the explanation as a block of labelled lines.
func (x *explanation) write(w io.Writer) {
	head := fmt.Sprintf("%2d %s", x.Number, x.Step)
	tail := x.Where
	switch {
	case x.Skipped != "":
		tail += ", skipped"
	case x.Took > 0:
		tail += ", " + duration(x.Took)
	}
	fmt.Fprintf(w, "%s %*s\n", head, explainWidth-1-len(head), tail)
	field(w, "why", wrap(x.Why))
	if x.Skipped != "" {
		field(w, "skipped", wrap(x.Skipped))
		if x.Instead != "" {
			field(w, "instead", wrap(x.Instead))
		}
	}
	var calls []string
	for _, c := range x.Calls {
		calls = append(calls, fold(c)...)
	}
	field(w, "calls", calls)
	if x.Before != "" && x.Before == x.After {
		field(w, "unchanged", lines(x.After))
	} else {
		field(w, "before", lines(x.Before))
		field(w, "after", lines(x.After))
	}
	if x.Skipped == "" {
		field(w, "by hand", continued(x.ByHand))
	}
	field(w, "manual", wrap(x.Man))
	fmt.Fprintln(w)
}

// field prints lines behind a label.
func field(w io.Writer, label string, text []string) {
	for _, l := range text {
		fmt.Fprintf(w, "   %-*s%s\n", explainLabel-3, label, l)
		label = ""
	}
}

// duration is a time with three digits: 1.23ms.
func duration(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}

// wrap breaks text between words. A word that is too long is folded.
func wrap(text string) []string {
	var out []string
	for _, word := range strings.Fields(text) {
		if n := len(out); n > 0 && utf8.RuneCountInString(out[n-1])+1+utf8.RuneCountInString(word) <= explainWidth-explainLabel {
			out[n-1] += " " + word
			continue
		}
		out = append(out, fold(word)...)
	}
	return out
}

// lines wraps each line of text.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		out = append(out, wrap(l)...)
	}
	return out
}

// fold breaks text that is too long, such as a kernel call, at a space or behind a "|", else
// where the line ends. What follows is indented.
func fold(text string) []string {
	const indent = "  "
	var out []string
	rest := []rune(strings.ReplaceAll(text, "\n", `\n`))
	for room := explainWidth - explainLabel; len(rest) > room; {
		cut := room
		for i := room; i > room/2; i-- {
			if rest[i] == ' ' || rest[i-1] == '|' {
				cut = i
				break
			}
		}
		out = append(out, strings.TrimRight(string(rest[:cut]), " "))
		rest = []rune(indent + strings.TrimLeft(string(rest[cut:]), " "))
	}
	return append(out, string(rest))
}

// continued breaks a command between its words, with the shell's backslash at the end of the line.
// A word stays whole however long, and so does a comment, so that all can be pasted.
func continued(command string) []string {
	const room = explainWidth - explainLabel - len(` \`)
	var out []string
	for line := range strings.Lines(command) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") {
			for i, l := range wrap(line) {
				if i > 0 {
					l = "# " + l
				}
				out = append(out, l)
			}
			continue
		}
		for indent := ""; ; indent = "    " {
			cut := breakAt(line, room-len(indent))
			if cut < 0 {
				out = append(out, indent+line)
				break
			}
			out = append(out, indent+line[:cut]+` \`)
			line = line[cut+1:]
		}
	}
	return out
}

// breakAt returns the position of a space where a line that is longer than room can be broken:
// the last one outside of quotes that leaves it short enough, or the first. It returns -1 if it
// need not, or cannot.
func breakAt(line string, room int) int {
	if utf8.RuneCountInString(line) <= room+len(` \`) {
		return -1
	}
	cut, quote := -1, rune(0)
	for i, c := range line {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == ' ' && i > 0:
			if i > room && cut >= 0 {
				return cut
			}
			cut = i
		}
	}
	return cut
}
