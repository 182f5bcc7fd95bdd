// The commands tiffin lab show and lab hint: what the student reads.

package cli

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"tiffin/tutorial"
)

func labShowCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB[/STAGE]]",
		Flags:     []cli.Flag{labDirFlag(), labLangFlag()},
		Action: onLab(func(ctx context.Context, k *course, l *tutorial.Lab) error {
			if k.stage != 0 {
				p, err := l.Page(k.stage)
				if err != nil {
					return err
				}
				printPages(underlined(fmt.Sprintf("Lab %s, stage %d: %s", l.Number(), k.stage, p.Title)) + p.Text + "\n")
				return nil
			}
			text, err := k.Lesson(ctx, l)
			if err != nil {
				return err
			}
			var b strings.Builder
			b.WriteString(underlined(fmt.Sprintf("Lab %s: %s", l.Number(), l.Title)))
			printWrapped(&b, "  ", l.Concept)
			fmt.Fprintf(&b, "\n%s\n", strings.Trim(text, "\n"))
			printPages(b.String())
			return nil
		}),
	}
}

func labSolutionCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "After the solution come answers that people give and that are wrong, each with what\n" +
			"its check says about it.",
		Flags: []cli.Flag{labDirFlag()},
		Action: onLab(func(_ context.Context, k *course, l *tutorial.Lab) error {
			solution, wrongs, err := k.Solution(l)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "the solution of lab %s:\n\n%s", l.Number(), indented(solution))
			for _, w := range wrongs {
				fmt.Fprintf(stdout, "\nwrong: %s\n\n%s", w.Says, indented(w.Text))
			}
			return nil
		}),
	}
}

// indented is a script as the text of a lab shows commands.
func indented(script string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(script) + "\n") {
		b.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
	}
	return b.String()
}

func underlined(title string) string {
	return fmt.Sprintf("%s\n%s\n\n", title, strings.Repeat("=", utf8.RuneCountInString(title)))
}

func labHintCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB[/STAGE]]",
		Flags:     []cli.Flag{labDirFlag(), labLangFlag()},
		Action: onLab(func(ctx context.Context, k *course, l *tutorial.Lab) error {
			what := "lab " + l.Number()
			text, n, of, err := "", 0, 0, error(nil)
			if k.stage != 0 {
				what += fmt.Sprintf(", stage %d", k.stage)
				text, n, of, err = k.HintStage(l, k.stage)
			} else {
				text, n, of, err = k.Hint(ctx, l)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s\n\n%s\n", l.Say(fmt.Sprintf("hint %d of %d for %s:", n, of, what)), text)
			return nil
		}),
	}
}
