// The command tiffin rename: a container gets another name.

package cli

import "github.com/urfave/cli/v2"

func renameCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER NAME",
		Action: takes(2, 2, "a container and its new name", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			ctr, err := set.Find(c.Args().Get(0))
			if err != nil {
				return err
			}
			return set.Rename(ctr, c.Args().Get(1))
		}),
	}
}
