// The command tiffin load: images come out of an archive or an OCI layout into the store.

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"tiffin/image/transfer"
	"tiffin/internal/errs"
)

func loadCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-i FILE|DIR]",
		Description: "Reads what docker save, podman save or skopeo copy wrote: a docker-archive, an OCI layout as a directory or\n" +
			"as an archive, compressed or not. Without -i it reads the standard input.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read `FILE`, or a directory that is an OCI layout"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		},
		Action: runLoad,
	}
}

func runLoad(c *cli.Context) error {
	name := c.String("input")
	if name == "" && c.Args().Len() == 1 {
		name = c.Args().First() // people forget -i
	} else if err := wantArgs(c, 0, 0, "no arguments but -i FILE"); err != nil {
		return err
	}
	var stdin io.Reader
	if name == "" || name == "-" {
		if isTerminal(os.Stdin) {
			return errs.Hint(errors.New("there is nothing to load: the standard input is a terminal"), "name the archive with -i FILE")
		}
		stdin = os.Stdin
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	ctx, end := interruptible(c)
	defer end()
	progress, stop := newProgress(c.Bool("quiet"))
	loaded, err := transfer.Load(ctx, store, name, stdin, progress)
	stop()
	if err != nil {
		return err
	}
	for _, l := range loaded {
		if l.Ref != "" {
			fmt.Fprintf(stdout, "Loaded image: %s\n", l.Ref)
		} else {
			fmt.Fprintf(stdout, "Loaded image ID: %s\n", l.ID)
		}
	}
	return nil
}
