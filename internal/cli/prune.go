// The command tiffin prune: images without a name are deleted, after a question.

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/container/client"
	"tiffin/internal/programs"
)

func pruneCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-a] [-f] [--build|--containers]",
		Description: "Deletes the images that have no name and that no container or build needs, and files in the store that belong to no image,\n" +
			"and the programs of other versions of tiffin.\n" +
			"Programs other than tiffin must not be writing to the store at the time.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "every image that no container needs"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "build", Usage: "the layers of `tiffin build`, too: every step is done again"},
			&cli.BoolFlag{Name: "containers", Usage: "the containers that do not run, and nothing else"},
			&cli.StringSliceFlag{Name: "filter", Usage: "only with `KEY=VALUE`: until, label"},
		},
		Action: takes(0, 0, "no arguments", inStore(runPrune)),
	}
}

func runPrune(c *cli.Context, store *image.Store) error {
	what := "all images without a name that no container needs"
	switch {
	case c.Bool("containers") && (c.Bool("all") || c.Bool("build")):
		return usagef("--containers is about containers alone, --all and --build are about images")
	case c.Bool("containers"):
		what = "all containers that do not run"
	case c.Bool("all"):
		what = "all images that no container needs"
	}
	if !c.Bool("force") && !confirm("This deletes "+what+". Continue? [y/N] ") {
		return nil
	}
	if c.Bool("containers") {
		return pruneContainers(c.StringSlice("filter"))
	}
	return pruneImages(c, store, c.Bool("build"))
}

// pruneImages deletes images, as the flags --all and --filter say, what belongs to none, and with
// builds their layers.
func pruneImages(c *cli.Context, store *image.Store, builds bool) error {
	filters, err := parseImageFilters(c.StringSlice("filter"), store)
	if err != nil {
		return err
	}
	var keep func(*image.Image) bool
	if len(filters) > 0 {
		keep = func(img *image.Image) bool { return !filters.match(img, "") }
	}
	var steps int64
	if builds {
		if err = store.NoBuild(); err == nil {
			err = client.RemoveBuilds(store.Root())
		}
		if err == nil {
			steps, err = store.ForgetBuilds()
		}
		if err != nil {
			return err
		}
	}
	done, err := store.Prune(c.Bool("all"), keep)
	old, e1 := programs.Clean(store.Root())
	trees, e2 := client.SweepTrees(store.Root())
	err, done.Reclaimed = errors.Join(err, e1, e2), done.Reclaimed+old+trees+steps
	if len(done.Removed) > 0 {
		fmt.Fprintln(stdout, "Deleted images:")
		printRemoved(stdout, done.Removed)
		fmt.Fprintln(stdout)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Total reclaimed space: %s\n", size(done.Reclaimed))
	return nil
}

// confirm asks a question; without an answer the answer is no.
func confirm(question string) bool {
	fmt.Fprint(stderr, question)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
