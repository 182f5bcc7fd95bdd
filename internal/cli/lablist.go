// The command tiffin lab list: all labs by track, and how far the student is.

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"tiffin/tutorial"
)

func labListCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS]",
		Description: "Templates have .Number .Name .Track .Title .State .Points .Of .Minutes\nand .Pack.",
		Flags: []cli.Flag{labDirFlag(), labLangFlag(),
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, or json"}},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			lang := c.String("lang")
			if lang != "" && lang != "en" && !slices.Contains(labLanguages(), lang) {
				return usagef("no lab is translated into %q", lang)
			}
			for i, l := range k.labs {
				if lang != "" { // those that are not translated stay as they are
					if k.labs[i], err = l.Original().In(lang); err != nil {
						return err
					}
				}
			}
			return errors.Join(printLabs(c.String("format"), k), k.damaged)
		}),
	}
}

// labRow is a lab as `lab list` shows it, for templates too.
type labRow struct {
	Number, Name, Track, Title, State string
	Points, Of, Minutes               int
	Pack                              string
}

func printLabs(format string, k *course) error {
	var rows []*labRow
	labs := slices.Concat(tutorial.ByTrack(k.labs)...)
	for _, l := range labs {
		e, err := k.Entry(l.Name)
		if err != nil {
			return err
		}
		rows = append(rows, &labRow{l.Number(), l.Name[3:], l.Track, l.Title, string(e.State), e.Points, e.Of, l.Minutes, l.Pack.Name})
	}
	if format != "" && format != "table" {
		return printRows(stdout, format, "", nil, rows)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 1, 2, ' ', 0)
	fmt.Fprint(w, "LAB\tNAME\tSTATE\tPOINTS\tTITLE\n")
	for _, r := range rows {
		points := "-"
		if r.Of > 0 {
			points = fmt.Sprintf("%d/%d", r.Points, r.Of)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Number, r.Name, r.State, points, r.Title)
	}
	w.Flush() // a strings.Builder takes all
	group, next := "", 0
	for line := range strings.Lines(b.String()) {
		if next > 0 && groupOf(labs[next-1]) != group { // line 0 is the head
			group = groupOf(labs[next-1])
			fmt.Fprintf(stdout, "%s\n", group)
		}
		next++
		if r := []rune(line); len(r) > columns+1 {
			line = string(r[:columns-1]) + "…\n"
		}
		fmt.Fprint(stdout, line)
	}
	return nil
}

// groupOf is what a lab is listed under: the pack that it came with, or its track.
func groupOf(l *tutorial.Lab) string {
	if l.Pack.Name != "" {
		return l.Pack.Name + ", " + origin(l.Pack)
	}
	return cmp.Or(l.Track, "others")
}
