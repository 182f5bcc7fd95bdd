// The command tiffin layers: the stack of an image, and how much of each layer those above it hide.

package cli

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
)

func layersCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] IMAGE",
		Description: "The top layer comes first; layer 0 is the bottom. SIZE is that of the tarball; HIDDEN is how much of\n" +
			"it is in files that layers above replace or delete: it travels with the image and nobody sees it.\n" +
			"Templates have .Number .ID .Digest .Size .Files .Hidden .HiddenFiles and .CreatedBy.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tree", Usage: "draw the stack, with whole digests and commands"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole digests and commands"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(1, 1, "one IMAGE", inStore(runLayers)),
	}
}

// layerRow is a layer as `layers` shows it, for templates too.
type layerRow struct {
	Number, ID, Digest, Size, Files, Hidden, HiddenFiles, CreatedBy string
}

var layerHeader = layerRow{
	Number: "LAYER", ID: "DIFF ID", Digest: "DIGEST", Size: "SIZE", Files: "FILES", Hidden: "HIDDEN", HiddenFiles: "HIDDEN FILES", CreatedBy: "CREATED BY",
}

func runLayers(c *cli.Context, store *image.Store) error {
	img, err := store.ResolveLazy(c.Args().First())
	if err != nil {
		return err
	}
	layers, err := store.Layers(img)
	if err != nil {
		return err
	}
	if c.Bool("tree") {
		return printTree(c.Args().First(), img, layers)
	}
	if c.String("format") == "json" {
		for _, l := range slices.Backward(layers) {
			if err := printJSON(stdout, &l, ""); err != nil {
				return err
			}
		}
		return nil
	}
	var rows []*layerRow
	for _, l := range slices.Backward(layers) {
		rows = append(rows, newLayerRow(&l, c.Bool("no-trunc")))
	}
	columns := "table {{.Number}}\t{{.ID}}\t{{.Size}}\t{{.Hidden}}\t{{.CreatedBy}}"
	return printRows(stdout, c.String("format"), columns, &layerHeader, rows)
}

func newLayerRow(l *image.StackLayer, whole bool) *layerRow {
	return &layerRow{
		Number: fmt.Sprint(l.Number), ID: id(l.DiffID.String(), whole), Digest: l.Digest.String(), Size: size(l.Size),
		Files: fmt.Sprint(l.Files), Hidden: size(l.HiddenBytes), HiddenFiles: fmt.Sprint(l.Hidden), CreatedBy: oneLine(l.CreatedBy, whole),
	}
}

// oneLine is a command as a table shows it.
func oneLine(command string, whole bool) string {
	// A tab or a line's end would break the columns.
	command = strings.NewReplacer("\t", " ", "\n", " ").Replace(command)
	if r := []rune(command); !whole && len(r) > maxCreatedBy {
		command = string(r[:maxCreatedBy-1]) + "…"
	}
	return command
}

// printTree draws the stack, the top first as in `why`. Whole digests fit into 80 columns, and
// longer commands are folded.
func printTree(name string, img *image.Image, layers []image.StackLayer) error {
	w := bufio.NewWriter(stdout)
	for _, line := range append(fold(name), img.ID.String()) {
		fmt.Fprintln(w, line)
	}
	var hidden, total int64
	for i, l := range slices.Backward(layers) {
		hidden, total = hidden+l.HiddenBytes, total+l.Bytes
		branch, below := "├─ ", "│  "
		if i == 0 {
			branch, below = "└─ ", "   "
		}
		for _, line := range fold(fmt.Sprintf("layer %d  %s", l.Number, oneLine(l.CreatedBy, true))) {
			fmt.Fprintf(w, "%s%s\n", branch, line)
			branch = below
		}
		fmt.Fprintf(w, "%s%s in %s; the blob has %s\n", below, size(l.Bytes), count(l.Files, "file"), size(l.BlobSize))
		if l.Hidden > 0 {
			fmt.Fprintf(w, "%slayers above hide %s in %d of them\n", below, size(l.HiddenBytes), l.Hidden)
		}
		fmt.Fprintf(w, "%sdiff %s\n%sblob %s\n", below, l.DiffID, below, l.Digest)
	}
	fmt.Fprintf(w, "%s of %s are hidden\n", size(hidden), size(total))
	return w.Flush()
}
