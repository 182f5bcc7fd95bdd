// The command tiffin export: the whole file system of a container as a tarball, docker-export(1).

package cli

import (
	"io"

	"github.com/urfave/cli/v2"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER",
		Description: "One tarball, without layers and without the image's config: `tiffin import` makes an image of it. The container\nneed not run.",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, not to standard output"}},
		Action: takes(1, 1, "one container", func(c *cli.Context) error {
			src, err := inContainer(c.Args().First(), "/")
			if err != nil {
				return err
			}
			defer src.close()
			name := c.String("output")
			if name == "" || name == "-" {
				return cpToTarball(src, false)
			}
			return writeFile("export", name, func(w io.Writer) error { return src.Pack(w, "/", ".", false) })
		}),
	}
}
