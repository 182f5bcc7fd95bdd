// The command tiffin save: images become an archive that docker and podman load, and how a file
// is written as a whole or not at all.

package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"tiffin/image/transfer"
	"tiffin/internal/errs"
)

func saveCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-o FILE] IMAGE…",
		Description: "The archive is an OCI layout and a docker-archive at once: docker, podman, skopeo and tiffin load it.\nThe layers go in as they are stored.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "indexes with what they list for all platforms"},
			&cli.StringFlag{Name: "format", Usage: "`docker-archive` or oci-archive: the archive is both"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` instead of the standard output"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		},
		Action: takes(1, -1, "at least one IMAGE", runSave),
	}
}

func runSave(c *cli.Context) error {
	if f := c.String("format"); f != "" && f != "docker-archive" && f != "oci-archive" {
		return errs.Hint(fmt.Errorf("--format %s is not there", f), "the archive is docker-archive and oci-archive at once; a directory is made of it by tar(1)")
	}
	out := c.String("output")
	if out == "" && isTerminal(os.Stdout) {
		return errs.Hint(errors.New("an archive is not for a terminal"), "name a file with -o FILE, or redirect the output")
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	ctx, end := interruptible(c)
	defer end()
	progress, stop := newProgress(c.Bool("quiet"))
	defer stop()
	save := transfer.Save
	if c.Bool("all") {
		save = transfer.SaveAll
	}
	if out == "" {
		return save(ctx, store, os.Stdout, c.Args().Slice(), progress)
	}
	return writeFile("save", out, func(w io.Writer) error { return save(ctx, store, w, c.Args().Slice(), progress) })
}

// writeFile writes a file as a whole or not at all. What is no regular file (a fifo, /dev/stdout)
// is written to.
func writeFile(what, out string, write func(io.Writer) error) error {
	if st, err := os.Stat(out); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(out, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return errors.Join(write(f), f.Close())
	}
	return writeFileAtomically(what, out, write)
}

// writeFileAtomically writes a file beside its place and moves it there when
// it is complete. The errors that are not write's begin with what.
func writeFileAtomically(what, out string, write func(io.Writer) error) error {
	// Not os.CreateTemp, whose files are 0600 whatever umask(2) says.
	name := filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".tmp-"+rand.Text())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	var failed *fs.PathError
	if errors.As(err, &failed) { // nobody knows that name
		return fmt.Errorf("%s: make %s: %w", what, out, failed.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer os.Remove(f.Name()) // no longer there if all went well
	err = write(io.Writer(f))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
