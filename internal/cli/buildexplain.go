// What tiffin build --explain prints when the build has ended.

package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/build"
)

// explainBuild collects explanations, if they are asked for. explain prints them.
func explainBuild(c *cli.Context, o *build.Options) (explain func() error, err error) {
	asJSON, err := wantsJSON(c)
	o.Explain = c.Bool("explain")
	switch {
	case err != nil:
		return nil, err
	case asJSON && !o.Explain:
		return nil, usagef("--format is for --explain")
	case c.Bool("quiet") && o.Explain:
		return nil, usagef("--explain and --quiet exclude each other")
	case !o.Explain:
		return func() error { return nil }, nil
	}
	var steps []build.Step
	report := o.Report
	o.Report = func(s build.Step) {
		if s.Ended && s.Explained != nil {
			steps = append(steps, s)
		}
		report(s)
	}
	return func() error {
		w := bufio.NewWriter(stdout)
		slices.SortStableFunc(steps, func(a, b build.Step) int { return a.Order - b.Order })
		for i := range steps {
			if !asJSON {
				printExplained(w, &steps[i])
			} else if err := printJSON(w, &steps[i], ""); err != nil {
				return err
			}
		}
		return w.Flush()
	}, nil
}

// printExplained prints a block for a step; ">" marks the parts of its key that have changed.
func printExplained(w *bufio.Writer, s *build.Step) {
	line := func(format string, args ...any) {
		text := []rune(printable(oneLine(fmt.Sprintf(format, args...), true)))
		if len(text) > explainWidth {
			text = append(text[:explainWidth-1], '…')
		}
		fmt.Fprintln(w, string(text))
	}
	x := s.Explained
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&") // which package json hides
	line("[%s] %s", stepNumber(s), s.Text)
	line("  key %s of", id(x.Key.String(), false))
	for _, p := range x.Parts {
		mark := " "
		if slices.Contains(x.Differ, p.Name) {
			mark = ">"
		}
		line("  %s %-11s  %s", mark, p.Name, plain.Replace(cmp.Or(strings.Trim(p.Value, `"`), "none")))
	}
	switch {
	case s.From != "":
		line("  cached: from the cache %s", s.From)
	case s.Cached && len(x.Changed) > 0:
		line("  cached: made by an earlier build; since the last one")
	case s.Cached:
		line("  cached: nothing of that has changed")
	case x.First:
		line("  done: the last build had no such step")
	case len(x.Changed) > 0:
		line("  done again, because")
	default:
		line("  done again, though nothing of that has changed: its layer was not wanted,")
		line("  or not here any more, or it has failed")
	}
	for _, why := range x.Changed {
		line("    %s", why)
	}
	if s.Failed {
		line("  failed")
		return
	}
	line("  adds %s in %s", size(x.Bytes), count(x.Files, "file"))
	if x.HiddenFiles > 0 {
		line("  hides %s in %s of layers below", size(x.HiddenBytes), count(x.HiddenFiles, "file"))
	}
}
