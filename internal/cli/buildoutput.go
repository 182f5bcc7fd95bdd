// What tiffin build --output writes besides the image in the store: an archive of the image, or its
// files.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/transfer"
	"tiffin/internal/build"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
)

// buildOutput is where an image goes, too.
type buildOutput struct {
	kind string // oci, docker, tar or local
	dest string // "-": standard output
}

// readBuildOutputs reads all of --output.
func readBuildOutputs(c *cli.Context) (all []buildOutput, err error) {
	taken := map[string]bool{}
	for _, text := range c.StringSlice("output") {
		o, err := readBuildOutput(c, text)
		if err == nil && taken[o.dest] {
			err = usagef("two of --output to %s", cmp.Or(strings.TrimPrefix(o.dest, "-"), "the standard output"))
		}
		if err != nil {
			return nil, err
		}
		taken[o.dest] = true
		all = append(all, o)
	}
	return all, nil
}

// readBuildOutput reads type=TYPE,dest=PATH, or docker's short forms of it: a directory, and - for
// a tarball on standard output.
func readBuildOutput(c *cli.Context, text string) (o buildOutput, err error) {
	switch {
	case text == "-":
		o = buildOutput{"tar", "-"}
	case !strings.Contains(text, "="):
		o = buildOutput{"local", text}
	default:
		for field := range strings.SplitSeq(text, ",") {
			switch k, v, _ := strings.Cut(field, "="); k {
			case "type":
				o.kind = v
			case "dest":
				o.dest = v
			default:
				return o, usagef("--output %s: %q is not known: type=oci|docker|tar|local,dest=PATH", text, field)
			}
		}
	}
	switch {
	case !slices.Contains([]string{"oci", "docker", "tar", "local"}, o.kind):
		return o, usagef("the type of --output is oci, docker, tar or local, not %q", o.kind)
	case o.kind == "local" && (o.dest == "" || o.dest == "-"):
		return o, usagef("--output type=local needs dest=DIRECTORY")
	case o.dest == "":
		o.dest = "-"
	}
	switch {
	case o.dest != "-":
	case c.Bool("quiet") || c.Bool("explain"):
		return o, usagef("--output to the standard output, which --quiet and --explain use")
	case isTerminal(os.Stdout):
		return o, errs.Hint(errors.New("an archive is not for a terminal"), "name a file with dest=FILE, or redirect the output")
	}
	return o, nil
}

// write writes an image that has been built.
func (o buildOutput) write(ctx context.Context, s *image.Store, img *image.Image) error {
	write := func(w io.Writer) error { return build.WriteFiles(w, s, img) }
	switch o.kind {
	case "local":
		return o.unpack(write)
	case "oci", "docker": // the archive of save is both
		refs := []string{img.ID.String()}
		if len(img.Names) > 0 {
			refs = img.Names
		}
		write = func(w io.Writer) error { return transfer.Save(ctx, s, w, refs, nil) }
	}
	if o.dest == "-" {
		return write(os.Stdout)
	}
	return writeFile("output", o.dest, write)
}

// unpack puts the files of the image into a directory. They belong to the user.
func (o buildOutput) unpack(write func(io.Writer) error) error {
	if err := os.MkdirAll(o.dest, 0o777); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	_, err := treecopy.Host().Unpack(r, o.dest, "", false)
	r.CloseWithError(err)
	if err != nil {
		return fmt.Errorf("output to %s: %w", o.dest, err)
	}
	return nil
}
