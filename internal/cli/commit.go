// The command tiffin commit: what a container has changed becomes the next layer of a new image.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/build"
	"tiffin/internal/container/client"
)

func commitCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER [NAME[:TAG]]",
		Description: "The image has the layers of the container's image and one more, with the changes alone.\n" +
			"A container that runs is held still meanwhile. SOURCE_DATE_EPOCH sets the time of creation.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "author", Aliases: []string{"a"}, Usage: "`WHO` made it"},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the image's history"},
			&cli.StringSliceFlag{Name: "change", Aliases: []string{"c"}, Usage: "change the image's config: `INSTRUCTION` of a Dockerfile, CMD ENTRYPOINT ENV LABEL USER WORKDIR …"},
			&cli.BoolFlag{Name: "pause", Aliases: []string{"p"}, Value: true, Usage: "for docker's sake: it is always held still", Hidden: true},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "for podman's sake: it is always quiet", Hidden: true},
		},
		Action: takes(1, 2, "a container and perhaps a name for the image", inStore(func(c *cli.Context, store *image.Store) error {
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			changes, err := build.Changes(store.Root(), ctr.Env, c.StringSlice("change"))
			if err != nil {
				return err
			}
			img, err := client.Commit(c.Context, ctr, store, image.CommitOptions{
				Ref: c.Args().Get(1), Author: c.String("author"), Message: c.String("message"), Edit: changes,
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, img.ID)
			return nil
		})),
	}
}
