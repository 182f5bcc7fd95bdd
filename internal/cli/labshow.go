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
		ArgsUsage: "[FLAGS] [LAB]",
		Flags:     []cli.Flag{labDirFlag()},
		Action: onLab(func(ctx context.Context, k *course, l *tutorial.Lab) error {
			text, err := k.Lesson(ctx, l)
			if err != nil {
				return err
			}
			title := fmt.Sprintf("Lab %s: %s", l.Number(), l.Title)
			fmt.Fprintf(stdout, "%s\n%s\n\n", title, strings.Repeat("=", utf8.RuneCountInString(title)))
			printWrapped(stdout, "  ", l.Concept)
			fmt.Fprintf(stdout, "\n%s\n", strings.Trim(text, "\n"))
			return nil
		}),
	}
}

func labHintCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Flags:     []cli.Flag{labDirFlag()},
		Action: onLab(func(ctx context.Context, k *course, l *tutorial.Lab) error {
			text, n, of, err := k.Hint(ctx, l)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "hint %d of %d for lab %s:\n\n%s\n", n, of, l.Number(), text)
			return nil
		}),
	}
}
