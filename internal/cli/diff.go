// The command tiffin diff: what a container has changed, as docker-diff(1) prints it, and what two
// images or layers differ in.

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/union"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER\n       tiffin diff [FLAGS] IMAGE[@LAYER] IMAGE[@LAYER]\n       tiffin diff [FLAGS] IMAGE@LAYER",
		Description: "A is added, C changed, D deleted, in relation to the image of a container, or to the first of two\n" +
			"images. IMAGE@LAYER is an image with the layers from 0 to LAYER alone, a number of tiffin layers or the\n" +
			"beginning of a digest; by itself it is compared with the layers below. A directory is changed if\n" +
			"anything in it is; with one that is deleted goes what is in it. Compared are kind, mode, owner,\n" +
			"content, extended attributes and hard links of a path.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stat", Usage: "bytes added and removed, and what has changed of each path"},
			&cli.BoolFlag{Name: "content", Usage: "the lines that have changed, of text files up to 1 MiB, and all else in words"},
			&cli.BoolFlag{Name: "mtime", Usage: "also list files of which only the time differs"},
			&cli.StringFlag{Name: "format", Usage: "`json`: a line for each path, with its old and new attributes"},
		},
		Action: takes(1, 2, "a container, two images, or IMAGE@LAYER", inStore(runDiff)),
	}
}

func runDiff(c *cli.Context, store *image.Store) error {
	if c.NArg() == 2 || image.HasLayer(c.Args().First()) {
		return diffImages(c, store)
	}
	if c.NumFlags() > 0 {
		return usagef("--%s is for images: give two of them, or IMAGE@LAYER", c.FlagNames()[0])
	}
	ctr, err := findContainer(c.Args().First())
	if errors.Is(err, disk.ErrNotFound) {
		name, _, cut := strings.Cut(c.Args().First(), "@")
		if _, ierr := store.Resolve(c.Args().First()); ierr == nil {
			err = errs.Hint(err, "that is an image: name another one to compare it with, or one of its layers, IMAGE@LAYER")
		} else if _, ierr := store.Resolve(name); cut && ierr == nil {
			err = errs.Hint(err, "after @ comes a layer: a number of tiffin layers "+name+", or the beginning of a digest without sha256:")
		}
	}
	if err != nil {
		return err
	}
	changes, err := client.Changes(ctr, store)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(stdout)
	for _, ch := range changes {
		fmt.Fprintf(w, "%c %s\n", ch.Kind, printable(ch.Path))
	}
	return w.Flush()
}

// diffImages compares what the arguments name.
func diffImages(c *cli.Context, store *image.Store) error {
	asJSON, err := wantsJSON(c)
	if err != nil {
		return err
	}
	if asJSON && (c.Bool("stat") || c.Bool("content")) || c.Bool("stat") && c.Bool("content") {
		return usagef("--stat, --content and --format json are three ways to print: give one")
	}
	_, from, err := store.ResolveLayers(c.Args().First())
	if err != nil {
		return err
	}
	to := from
	if c.NArg() == 2 {
		if _, to, err = store.ResolveLayers(c.Args().Get(1)); err != nil {
			return err
		}
	} else {
		from = from[:len(from)-1]
	}
	old, err := openSide(store, from)
	if err != nil {
		return err
	}
	defer old.Close()
	new, err := openSide(store, to)
	if err != nil {
		return err
	}
	defer new.Close()

	p := &diffPrinter{w: bufio.NewWriter(stdout), sides: [2]*union.Side{old.side, new.side}, width: columnsOf(stdout.to)}
	each, last := p.line, func() {}
	switch {
	case asJSON:
		each = p.json
	case c.Bool("stat"):
		p.counted = [2]map[uint32]bool{{}, {}}
		each, last = p.stat, p.sum
	case c.Bool("content"):
		each = p.content
	}
	if err := union.Differ(old.side, new.side, c.Bool("mtime"), each); err != nil {
		return err
	}
	last()
	return p.w.Flush()
}

// openedSide is a side that is to be closed.
type openedSide struct {
	*image.Files
	side *union.Side
}

func openSide(store *image.Store, layers []oci.Layer) (*openedSide, error) {
	f, err := store.Files(layers)
	if err != nil {
		return nil, err
	}
	side := &union.Side{Index: f.Index, Flats: f.Flats}
	for _, l := range layers {
		side.Layers = append(side.Layers, l.DiffID.String())
	}
	return &openedSide{f, side}, nil
}
