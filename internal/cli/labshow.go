// The command tiffin lab show and lab hint: what the student reads.

package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

func labShowCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Flags:     []cli.Flag{labDirFlag()},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			text, err := k.Lesson(ctx, l)
			if err != nil {
				return err
			}
			title := fmt.Sprintf("Lab %s: %s", l.Number(), l.Title)
			fmt.Fprintf(stdout, "%s\n%s\n\n", title, strings.Repeat("=", utf8.RuneCountInString(title)))
			printWrapped(stdout, "  ", l.Concept)
			fmt.Fprintf(stdout, "\n%s\n", strings.Trim(text, "\n"))
			return nil
		},
	}
}

func labHintCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Flags:     []cli.Flag{labDirFlag()},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			text, n, of, err := k.Hint(ctx, l)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "hint %d of %d for lab %s:\n\n%s\n", n, of, l.Number(), text)
			return nil
		},
	}
}
