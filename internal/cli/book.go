// The command tiffin book: the chapters of tutorial/book, for a terminal.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/internal/errs"
	"tiffin/tutorial/book"
)

func bookCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[CHAPTER]",
		Description: "Without a chapter it lists them. A chapter is named by its number or its word: `tiffin book 1 | less`.",
		Action: takes(0, 1, "a chapter", func(c *cli.Context) error {
			if c.NArg() == 0 {
				for _, p := range book.Pages() {
					fmt.Fprintf(stdout, "%-16s %s\n", p.Name, p.Title)
				}
				return nil
			}
			p, err := book.Find(c.Args().First())
			if err != nil {
				return errs.Hint(err, "`tiffin book` lists the chapters")
			}
			fmt.Fprint(stdout, p.Text())
			return nil
		}),
	}
}
