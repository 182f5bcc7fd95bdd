// The command tiffin history: the steps that made an image, from its config.

package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/image"
)

func historyCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] IMAGE",
		Description: "The newest step comes first. Templates have .ID .CreatedSince .CreatedAt .CreatedBy .Size and .Comment.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "human", Aliases: []string{"H"}, Value: true, Usage: "sizes and times for people"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole IDs and commands"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only IDs"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(1, 1, "one IMAGE", inStore(runHistory)),
	}
}

// historyRow is a step as `history` shows it, for templates too.
type historyRow struct {
	Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string
}

var historyHeader = historyRow{
	ID: "IMAGE", CreatedSince: "CREATED", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", Size: "SIZE", Comment: "COMMENT",
}

func runHistory(c *cli.Context, store *image.Store) error {
	img, err := store.ResolveLazy(c.Args().First())
	if err != nil {
		return err
	}
	var rows []*historyRow
	for _, e := range store.History(img) {
		rows = append(rows, newHistoryRow(e, c.Bool("no-trunc"), c.Bool("human")))
	}
	if c.Bool("quiet") {
		for _, r := range rows {
			fmt.Fprintln(stdout, r.ID)
		}
		return nil
	}
	columns := "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
	if !c.Bool("human") {
		columns = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
	}
	return printRows(stdout, c.String("format"), columns, &historyHeader, rows)
}

// maxCreatedBy is how much of a command docker shows.
const maxCreatedBy = 45

func newHistoryRow(e image.HistoryEntry, whole, human bool) *historyRow {
	r := &historyRow{
		ID: "<missing>", Comment: e.Comment, CreatedSince: ago(e.Created), Size: size(e.Size),
		CreatedBy: oneLine(e.CreatedBy, whole),
	}
	if e.ID != "" {
		r.ID = id(e.ID.String(), whole)
	}
	if !e.Created.IsZero() {
		r.CreatedAt = e.Created.Local().Format(time.RFC3339)
	}
	if !human {
		r.Size = strconv.FormatInt(e.Size, 10)
	}
	return r
}
