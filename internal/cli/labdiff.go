// The command tiffin lab diff: what a student wrote for a stage, beside what tiffin does there.

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"tiffin/tutorial"
	"tiffin/tutorial/mini"
)

func labDiffCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] LAB/STAGE",
		Description: "Prints the lines of your program below the comment `stage N`, up to that of another\n" +
			"stage, and then the functions of tiffin that do the same, as its source has them.\nOf a compiled program the text is looked for in mini.go.",
		Flags: []cli.Flag{labDirFlag()},
		Action: onLab(func(_ context.Context, k *course, l *tutorial.Lab) error {
			if k.stage == 0 || k.stage > len(mini.Stages()) || l.Stages() != len(mini.Stages()) {
				return usagef("expected a stage of the lab that has them: mini/1")
			}
			var yours []mini.Excerpt
			for _, name := range []string{"mini", "mini.go", "mini.sh"} {
				text, err := os.ReadFile(filepath.Join(k.Work(l), name))
				if err != nil {
					continue
				}
				if yours = mini.Marked(name, text, k.stage); len(yours) > 0 {
					break
				}
			}
			if len(yours) == 0 {
				printWrapped(stdout, "", fmt.Sprintf("yours: there is no comment `stage %d` in mini or mini.go yet.", k.stage))
			}
			printExcerpts("yours", yours)
			ours, err := mini.Ours(k.stage)
			if err != nil {
				return err
			}
			printExcerpts("tiffin's", ours)
			return nil
		}),
	}
}

func printExcerpts(whose string, all []mini.Excerpt) {
	for _, e := range all {
		fmt.Fprintf(stdout, "\n--- %s: %s, from line %d\n\n%s\n", whose, e.File, e.Line, e.Text)
	}
}
