// The help texts, made of the table of commands, and what is said to a command that does not
// exist.

package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"tiffin/internal/errs"
)

func printHelp(w io.Writer) {
	fmt.Fprint(w, "tiffin runs containers without root and shows how.\n\nusage: tiffin COMMAND [ARGUMENTS]\n")
	for _, g := range table {
		fmt.Fprintf(w, "\n%s\n", g.title)
		fmt.Fprint(w, listCommands(g.commands))
	}
	fmt.Fprint(w, "\n`tiffin COMMAND --help` shows the flags of a command.\n"+
		"Begin with: tiffin run -it tiffin/base\n")
}

// listCommands is a line for each command.
func listCommands(commands []command) string {
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.short)
	}
	return b.String()
}

func printCommandHelp(w io.Writer, cmd *cli.Command) {
	for form := range strings.SplitSeq("usage: tiffin "+cmd.Name+" "+cmd.ArgsUsage, "\n") {
		words := strings.TrimLeft(form, " ")
		fmt.Fprintln(w, hanging(form[:len(form)-len(words)], words, 8))
	}
	fmt.Fprintf(w, "\n%s\n", upperFirst(cmd.Usage))
	if cmd.Description != "" {
		fmt.Fprintf(w, "\n%s\n", paragraphs(strings.TrimRight(cmd.Description, "\n")))
	}
	if len(cmd.Flags) > 0 {
		fmt.Fprint(w, "\nflags:\n")
	}
	for _, f := range cmd.Flags {
		d, ok := f.(cli.DocGenerationFlag)
		if v, visible := f.(cli.VisibleFlag); !ok || visible && !v.IsVisible() {
			continue
		}
		fmt.Fprintln(w, hanging(fmt.Sprintf("  %-28s ", flagNames(f, d)), plainUsage(d.GetUsage()), 31))
	}
}

// helpWidth is how wide a help text is, in columns.
const helpWidth = 80

// paragraphs fits a description into helpWidth. Lines that follow each other are one paragraph, but
// for those that are indented and those of an example.
func paragraphs(text string) string {
	var out, open []string
	flush := func() {
		if len(open) > 0 {
			out, open = append(out, hanging("", strings.Join(open, " "), 0)), nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		bare := strings.TrimLeft(line, " ")
		indent := len(line) - len(bare)
		example := strings.HasPrefix(line, "Try it: ")
		switch {
		case bare == "" || indent > 0 || example:
			flush()
			hang := indent + 4
			if _, rest, ok := strings.Cut(bare, "  "); ok { // a word, and what it means
				hang = len(line) - len(strings.TrimLeft(rest, " "))
			}
			out = append(out, hanging(line[:indent], bare, hang))
		default:
			open = append(open, line)
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// hanging is text behind a label, in lines of helpWidth columns; all but the first are indented.
func hanging(label, text string, indent int) string {
	line, out := label, ""
	full := utf8.RuneCountInString(label) > helpWidth/2
	for word := range strings.SplitSeq(text, " ") {
		blank := strings.TrimSpace(line) == ""
		if !blank && (full && line == label || utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > helpWidth) {
			out += strings.TrimRight(line, " ") + "\n"
			line, blank = strings.Repeat(" ", indent), true
		}
		if !blank && line != label {
			line += " "
		}
		line += word
	}
	return out + strings.TrimRight(line, " ")
}

// flagNames is "-e, --env VALUE".
func flagNames(f cli.Flag, d cli.DocGenerationFlag) string {
	var short, long []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	s := strings.Join(append(short, long...), ", ")
	if len(short) == 0 {
		s = "    " + s
	}
	if d.TakesValue() {
		s += " " + valueName(d.GetUsage())
	}
	return s
}

// valueName is what a flag's usage text has in back quotes.
func valueName(usage string) string {
	if _, rest, ok := strings.Cut(usage, "`"); ok {
		name, _, _ := strings.Cut(rest, "`")
		return name
	}
	return "VALUE"
}

func plainUsage(usage string) string { return strings.ReplaceAll(usage, "`", "") }

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// unknownCommand is the error for an unknown command, and says what was perhaps meant.
func unknownCommand(name string) error {
	err := fmt.Errorf("no such command: %s", name)
	if advice := commandElsewhere(name); advice != "" {
		return errs.Hint(err, advice)
	}
	var near []string
	for _, g := range table {
		for _, c := range g.commands {
			if distance(name, c.name) <= 2 || len(name) > 2 && strings.HasPrefix(c.name, name) {
				near = append(near, "tiffin "+c.name)
			}
		}
	}
	if len(near) > 0 {
		return errs.Hint(err, "did you mean `"+strings.Join(near, "` or `")+"`?")
	}
	return errs.Hint(err, "`tiffin` alone lists the commands")
}

// distance is how many letters must be put in, left out, changed or swapped
// with their neighbour to get from a to b: Damerau and Levenshtein.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
