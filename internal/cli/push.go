// The command tiffin push: an image goes to the registry that its name says.

package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image/reference"
)

func pushCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] NAME[:TAG]",
		Description: "The name says where to: `tiffin tag IMAGE HOST[:PORT]/NAME:TAG` gives an image such a one. Blobs are sent as they\n" +
			"are stored, those that the registry has already are not sent.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "an index with all that it lists, for every platform; an artifact too"},
			tlsFlag(),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the whole name of the image"},
		},
		Action: takes(1, 1, "the name of an image", runPush),
	}
}

func runPush(c *cli.Context) error {
	arg := c.Args().First()
	ref, err := reference.Parse(arg)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	client, err := registryClient(c)
	if err != nil {
		return err
	}
	quiet := c.Bool("quiet")
	if !quiet {
		if ref.Digest == "" && !strings.HasSuffix(arg, ":"+ref.Tag) {
			fmt.Fprintf(stdout, "Using default tag: %s\n", ref.Tag)
		}
		fmt.Fprintf(stdout, "The push refers to repository [%s]\n", ref.Name())
	}
	ctx, end := interruptible(c)
	defer end()
	progress, stop := newProgress(quiet)
	push := client.Push
	if c.Bool("all") {
		push = client.PushAll
	}
	pushed, err := push(ctx, store, ref, progress)
	stop()
	if err != nil {
		return err
	}
	if quiet {
		fmt.Fprintln(stdout, ref)
		return nil
	}
	for _, l := range pushed.Layers {
		state := "Layer already exists"
		if l.Mounted != "" {
			state = "Mounted from " + l.Mounted
		} else if l.Sent {
			state = "Pushed"
		}
		fmt.Fprintf(stdout, "%s: %s\n", id(l.Digest.String(), false), state)
	}
	fmt.Fprintf(stdout, "%s: digest: %s size: %d\n", ref.Tag, pushed.Digest, pushed.Size)
	return nil
}
