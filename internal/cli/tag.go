// The command tiffin tag: an image gets one more name.

package cli

import "github.com/urfave/cli/v2"

func tagCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "IMAGE NAME[:TAG]",
		Description: "If another image has that name, it loses it.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 2, 2, "an IMAGE and its new NAME"); err != nil {
				return err
			}
			store, err := openStore(c)
			if err != nil {
				return err
			}
			return store.Tag(c.Args().Get(0), c.Args().Get(1))
		},
	}
}
