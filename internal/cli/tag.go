// The command tiffin tag: an image gets one more name.

package cli

import (
	"github.com/urfave/cli/v2"

	"tiffin/image"
)

func tagCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "IMAGE NAME[:TAG]",
		Description: "If another image has that name, it loses it.",
		Action: takes(2, 2, "an IMAGE and its new NAME", inStore(func(c *cli.Context, store *image.Store) error {
			return store.Tag(c.Args().Get(0), c.Args().Get(1))
		})),
	}
}
