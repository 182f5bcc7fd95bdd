// The command tiffin lab check: the state is judged and shown to the student. It promises the
// exit statuses for scripts that grade.

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"tiffin/tutorial"
	"tiffin/tutorial/gradebook"
)

func labCheckCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB[/STAGE]]",
		Description: "The exit status is 0 if the lab is passed, 1 if not yet, 2 if this machine\n" +
			"lacks something that the lab needs, and 125 for everything else, such as a lab\n" +
			"that is broken. The formats are for course servers: JUnit XML, TAP 14, and\nresults.json of Gradescope.",
		Flags: []cli.Flag{labDirFlag(), labLangFlag(), labLimitFlag(),
			&cli.StringFlag{Name: "format", Usage: "`FORMAT`: " + strings.Join(gradebook.Formats(false), ", ")}},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			format := c.String("format")
			if err := gradebook.Known(format, false); format != "" && err != nil {
				return usagef("%v", err)
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			res, err := k.check(ctx, l.Original())
			if err != nil {
				return err
			}
			if format == "" {
				printCheck(stdout, l, res)
			} else if err := gradebook.WriteResult(os.Stdout, format, res); err != nil {
				return err
			}
			return labStatus(res.State)
		},
	}
}

// check looks at a lab, or at one stage of it.
func (k *course) check(ctx context.Context, l *tutorial.Lab) (*tutorial.Result, error) {
	if k.stage != 0 {
		return k.CheckStage(ctx, l, k.stage)
	}
	return k.Check(ctx, l)
}

func labStatus(s tutorial.State) error {
	switch s {
	case tutorial.Passed:
		return nil
	case tutorial.Unsupported:
		return exitStatus(exitUnsupported)
	}
	return exitStatus(exitNotYet)
}

// printCheck prints the checks that held, and for each other one what was
// expected, what was found and which misconception that suggests.
func printCheck(w io.Writer, l *tutorial.Lab, res *tutorial.Result) {
	fmt.Fprintf(w, "lab %s: %s\n\n", l.Number(), l.Title)
	if res.State == tutorial.Unsupported {
		printWrapped(w, "  ", l.Say("Unsupported here: "+res.Why))
		printWrapped(w, "  ", l.Say("That is no fault of yours, and no failure."))
		return
	}
	field := func(word, text string) {
		printField(w, fmt.Sprintf("         %-9s ", l.Say(word)), l.Say(text))
	}
	for i, c := range res.Checks {
		if i+1 < len(res.Checks) && c.Found == "" && c.Why == res.Checks[i+1].Why {
			c.Why = "" // what is not looked at yet has one reason
		}
		mark := "ok"
		if c.State == tutorial.Failed {
			mark = "NOT YET"
		}
		printField(w, fmt.Sprintf("%-8s ", l.Say(mark)), fmt.Sprintf("%s (%s)", l.Say(c.Name), l.Say(points(c.Points))))
		field("expected", c.Expected)
		field("found", c.Found)
		field("why", c.Why)
		field("seen", c.Evidence)
	}
	last := fmt.Sprintf("Not yet: %d of %s. `tiffin lab hint` helps.", res.Points, l.Say(points(res.Of)))
	if res.State == tutorial.Passed {
		last = fmt.Sprintf("Passed: %d of %s. `tiffin lab next` goes on.", res.Points, l.Say(points(res.Of)))
	}
	fmt.Fprintf(w, "\n%s\n", l.Say(last))
}

func points(n int) string {
	if n == 1 {
		return "1 point"
	}
	return fmt.Sprintf("%d points", n)
}

// columns is how wide the text is that people read.
const columns = 80

// printField prints a text behind a label, and its further lines below it. If
// a word is too long for that, a digest say, the text begins below the label.
func printField(w io.Writer, label, text string) {
	if text == "" {
		return
	}
	indent := strings.Repeat(" ", len(label))
	if lines := breakLines(text, columns-len(label)); widest(lines) <= columns-len(label) {
		for i, line := range lines {
			fmt.Fprintf(w, "%s%s\n", []string{label, indent}[min(i, 1)], line)
		}
		return
	}
	fmt.Fprintln(w, strings.TrimRight(label, " "))
	printWrapped(w, strings.Repeat(" ", 9), text)
}

func printWrapped(w io.Writer, indent, text string) {
	for _, line := range breakLines(text, columns-len(indent)) {
		fmt.Fprintf(w, "%s%s\n", indent, line)
	}
}

// breakLines breaks a text at spaces into lines of at most width columns. The
// lines that it has stay, and a word that is too long is left whole.
func breakLines(text string, width int) (out []string) {
	for para := range strings.SplitSeq(text, "\n") {
		line := ""
		for i, word := range strings.Split(para, " ") {
			switch {
			case i == 0:
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
				out, line = append(out, line), word
			default:
				line += " " + word
			}
		}
		out = append(out, line)
	}
	return out
}

func widest(lines []string) int {
	n := 0
	for _, l := range lines {
		n = max(n, utf8.RuneCountInString(l))
	}
	return n
}
