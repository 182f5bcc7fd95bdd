// The command tiffin push: an image goes to the registry that a name says.

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image/reference"
	"tiffin/image/registry"
)

func pushCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] IMAGE [DESTINATION]",
		Description: "The name says where to: `tiffin tag IMAGE HOST[:PORT]/NAME:TAG` gives an image such a one, or it is DESTINATION. Blobs\n" +
			"are sent as they are stored, those that the registry has already are not sent.\n\n" +
			"With --estargz each layer is sent as eStargz: a gzip layer as others, with a table of contents, so that `tiffin pull\n" +
			"--lazy`, and containerd with stargz-snapshotter, start containers before they have fetched the layers. What the\n" +
			"registry then has is another image, with the same files, /stargz.index.json and /.no.prefetch.landmark; its digest\n" +
			"is printed, and is the same each time. The image here stays as it is. A layer that is eStargz already is sent as it is, and so is, with a note,\n" +
			"one that cannot be.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "an index with all that it lists, for every platform; an artifact too"},
			&cli.StringFlag{Name: "digestfile", Usage: "write the digest that the registry has it by into `FILE`"},
			&cli.BoolFlag{Name: "estargz", Usage: "send layers that can be read before they are fetched"},
			tlsFlag(),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the whole name of the image"},
		},
		Action: takes(1, 2, "the name of an image, and perhaps that of its place", runPush),
	}
}

func runPush(c *cli.Context) error {
	arg := c.Args().Get(c.NArg() - 1)
	ref, err := reference.Parse(arg)
	if err != nil {
		return err
	}
	opt := registry.PushOptions{From: c.Args().First(), All: c.Bool("all"), EStargz: c.Bool("estargz")}
	if ref.Digest != "" && (opt.EStargz || c.NArg() == 2) {
		return usagef("%s says which digest the image has there; that is printed when it is pushed: give a tag", arg)
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
	pushed, err := client.Push(ctx, store, ref, opt, progress)
	stop()
	if err != nil {
		return err
	}
	if file := c.String("digestfile"); file != "" {
		err := writeFile("--digestfile", file, func(w io.Writer) error {
			_, err := io.WriteString(w, pushed.Digest.String())
			return err
		})
		if err != nil {
			return err
		}
	}
	if quiet {
		fmt.Fprintln(stdout, ref)
		return nil
	}
	printPushed(ref, pushed)
	return nil
}

// printPushed prints what docker prints, and of an image that became another one, of which.
func printPushed(ref reference.Reference, pushed *registry.Pushed) {
	for _, l := range pushed.Layers {
		state := "Layer already exists"
		if l.Mounted != "" {
			state = "Mounted from " + l.Mounted
		} else if l.Sent {
			state = "Pushed"
		}
		fmt.Fprintf(stdout, "%s: %s\n", id(l.Digest.String(), false), state)
	}
	if pushed.Of != pushed.Digest {
		fmt.Fprintf(stdout, "Written as eStargz; the image here stays %s\n", pushed.Of)
	}
	fmt.Fprintf(stdout, "%s: digest: %s size: %d\n", ref.Tag, pushed.Digest, pushed.Size)
}
