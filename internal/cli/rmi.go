// The command tiffin rmi: names are taken off images, and images without a name are deleted.

package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/container/client"
)

func rmiCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-f] IMAGE…",
		Description: "Takes the name off the image; if it was the last one, the image is deleted with the layers that no other image has.\n" +
			"An image that a container was made from, or that a build stands on, stays.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "all names of an ID; also if a container or a build needs the image, which then stays without a name"},
		},
		Action: takes(1, -1, "at least one IMAGE", inStore(func(c *cli.Context, store *image.Store) error {
			return eachArg(c, func(arg string) error {
				done, err := store.Remove(arg, c.Bool("force"))
				if c.Bool("force") && errors.Is(err, image.ErrNotFound) {
					printError(stderr, err)
					return nil // as rm -f
				}
				printRemoved(stdout, done)
				_, e := client.SweepTrees(store.Root())
				return errors.Join(err, e)
			})
		})),
	}
}

func printRemoved(w io.Writer, done []image.Removed) {
	for _, r := range done {
		if r.Untagged != "" {
			fmt.Fprintf(w, "Untagged: %s\n", r.Untagged)
		} else {
			fmt.Fprintf(w, "Deleted: %s\n", r.Deleted)
		}
	}
}
