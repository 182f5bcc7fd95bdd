// The command tiffin diff: what a container has changed, as docker-diff(1) prints it.

package cli

import (
	"bufio"
	"fmt"

	"tiffin/image"
	"tiffin/internal/container/client"

	"github.com/urfave/cli/v2"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "CONTAINER",
		Description: "A is added, C changed, D deleted, in relation to the image.",
		Action: takes(1, 1, "one container", inStore(func(c *cli.Context, store *image.Store) error {
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			changes, err := client.Changes(ctr, store)
			if err != nil {
				return err
			}
			w := bufio.NewWriter(stdout)
			for _, ch := range changes {
				fmt.Fprintf(w, "%c %s\n", ch.Kind, printable(ch.Path))
			}
			return w.Flush()
		})),
	}
}
