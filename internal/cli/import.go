// The command tiffin import: a tarball of a root file system becomes an image of one layer.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/build"
	"tiffin/internal/errs"
)

func importCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-c CHANGE] [-m MESSAGE] FILE|URL|- [NAME[:TAG]]",
		Description: "FILE is the tarball of a root file system, plain or compressed with gzip, zstd, xz or bzip2; - is the standard input.\nA URL is fetched by http or https, and nobody vouches for it: with http, also on the way.\nPrints the ID of the image.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "change", Aliases: []string{"c"}, Usage: "apply a Dockerfile `INSTRUCTION` to the config: CMD, ENV, USER, …"},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the image's history"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		},
		Action: takes(1, 2, "a FILE (or a URL, or -) and perhaps a NAME", runImport),
	}
}

func runImport(c *cli.Context) error {
	from, message := c.Args().First(), c.String("message")
	if message == "" {
		message = "Imported from " + from
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	edit, err := build.Changes(store.Root(), nil, c.StringSlice("change"))
	if err != nil {
		return err
	}
	ctx, end := interruptible(c)
	defer end()
	in, total, err := openImport(ctx, from)
	if err != nil {
		return errs.Hint(fmt.Errorf("import %w", err), errs.HintOf(err))
	}
	defer in.Close()
	opt := image.ImportOptions{Ref: c.Args().Get(1), Message: message, Edit: edit, Total: total}
	var stop func()
	opt.Progress, stop = newProgress(c.Bool("quiet"))
	img, err := store.Import(ctx, in, opt)
	stop()
	if err != nil {
		return fmt.Errorf("import %s: %w", from, err)
	}
	fmt.Fprintln(stdout, img.ID)
	return nil
}

// openImport opens what is to be imported, and says how many bytes it has, 0 if that is not known.
func openImport(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		r, err := build.Fetch(ctx, from)
		return r, 0, err
	}
	file := os.Stdin
	if from == "-" {
		if isTerminal(os.Stdin) {
			return nil, 0, errors.New("-: the standard input is a terminal")
		}
	} else {
		var err error
		if file, err = os.Open(from); err != nil {
			return nil, 0, fmt.Errorf("the tarball: %w", err)
		}
	}
	st, err := file.Stat()
	if err == nil && st.IsDir() {
		err = errs.Hint(fmt.Errorf("%s: it is a directory", from), "tar -C "+from+" -c . | tiffin import - NAME")
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, st.Size(), nil
}
