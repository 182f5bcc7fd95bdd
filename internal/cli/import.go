// The command tiffin import: a tarball of a root file system becomes an image of one layer.

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/errs"
)

func importCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-c CHANGE] [-m MESSAGE] FILE|- [NAME[:TAG]]",
		Description: "FILE is the tarball of a root file system, plain or compressed with gzip, zstd, xz or bzip2; - is the standard input.\nPrints the ID of the image.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "change", Aliases: []string{"c"}, Usage: "apply a Dockerfile `INSTRUCTION` to the config: CMD, ENV, USER, …"},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the image's history"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		},
		Action: takes(1, 2, "a FILE (or -) and perhaps a NAME", runImport),
	}
}

func runImport(c *cli.Context) error {
	file, from := os.Stdin, c.Args().First()
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		return errs.Hint(fmt.Errorf("import %s: a URL cannot be imported", from), "curl -L "+from+" | tiffin import - NAME")
	}
	message := c.String("message")
	if message == "" {
		message = "Imported from " + from
	}
	opt := image.ImportOptions{Ref: c.Args().Get(1), Message: message, Changes: c.StringSlice("change")}
	if from != "-" {
		var err error
		if file, err = os.Open(from); err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer file.Close()
	}
	st, err := file.Stat()
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if st.IsDir() {
		return errs.Hint(fmt.Errorf("import %s: it is a directory", from), "tar -C "+from+" -c . | tiffin import - NAME")
	}
	if from == "-" && isTerminal(os.Stdin) {
		return errors.New("import: the standard input is a terminal")
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	ctx, end := interruptible(c)
	defer end()
	var stop func()
	opt.Progress, stop = newProgress(c.Bool("quiet"))
	opt.Total = st.Size()
	img, err := store.Import(ctx, file, opt)
	stop()
	if err != nil {
		return fmt.Errorf("import %s: %w", from, err)
	}
	fmt.Fprintln(stdout, img.ID)
	return nil
}
