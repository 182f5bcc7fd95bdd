// The command tiffin pull: an image is fetched from its registry. run fetches one that is missing
// in the same way.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
	"tiffin/tutorial"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] NAME[:TAG|@DIGEST]",
		Description: "A name without a registry, such as debian, is one of Docker Hub. Layers that are here already are not fetched.\n" +
			"What was interrupted goes on where it stopped. Registries of this machine may do without TLS.\n" +
			"Mirrors, short names and registries without TLS: ~/.config/tiffin/registries.conf, see containers-registries.conf(5).",
		Flags: []cli.Flag{
			platformFlag(), tlsFlag(),
			&cli.BoolFlag{Name: "all", Usage: "fetch an index with all that it lists, for every platform; what is interrupted begins again"},
			&cli.BoolFlag{Name: "all-tags", Aliases: []string{"a"}, Usage: "fetch the images of all tags"},
			&cli.BoolFlag{Name: "lazy", Usage: "be done when it can be run, and fetch the rest in the background; for layers in eStargz or zstd:chunked"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the whole name of the image"},
		},
		Action: takes(1, 1, "the name of an image", inStore(runPull)),
	}
}

func runPull(c *cli.Context, store *image.Store) error {
	client, err := registryClient(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	if !isBase(name) {
		name = client.Registries.Expand(name)
	}
	switch {
	case c.Bool("all") && (c.Bool("all-tags") || c.String("platform") != ""):
		return usagef("--all goes with neither --all-tags nor --platform")
	case c.Bool("lazy") && (c.Bool("all") || c.Bool("all-tags")):
		return usagef("--lazy goes with neither --all nor --all-tags")
	case c.Bool("all-tags") && !isBase(name): // that has one tag
		return pullAll(c, store, client, name)
	}
	return pull(c, store, client, name, stdout, c.Bool("quiet"))
}

// pull fetches the image of that name, and reports it on w.
func pull(c *cli.Context, store *image.Store, client *registry.Client, name string, w io.Writer, quiet bool) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	if ref.Digest == "" && !strings.HasSuffix(name, ":"+ref.Tag) && !quiet {
		fmt.Fprintf(w, "Using default tag: %s\n", ref.Tag)
	}
	if err := pullRef(c, store, client, ref, w, quiet); err != nil {
		return err
	}
	fmt.Fprintln(w, ref)
	return nil
}

func pullRef(c *cli.Context, store *image.Store, client *registry.Client, ref reference.Reference, w io.Writer, quiet bool) error {
	platform, err := askedPlatform(c)
	if err != nil {
		return err
	}
	if quiet {
		w = io.Discard
	}
	if isBase(ref.String()) {
		return pullBase(store, ref, platform, w)
	}
	fmt.Fprintf(w, "%s: Pulling from %s\n", cmp.Or(string(ref.Digest), ref.Tag), ref.Path)
	if c.Bool("lazy") {
		if done, err := pullLazily(c, store, client, ref, platform, w); done || err != nil {
			return err
		}
	}
	ctx, end := interruptible(c)
	defer end()
	progress, stop := newProgress(quiet)
	var pulled *transfer.Pulled
	if c.Bool("all") {
		pulled, err = pullWhole(ctx, store, client, ref, progress)
	} else {
		pulled, err = client.Pull(ctx, store, ref, platform, progress)
	}
	var other *transfer.NoImage
	labs := errors.As(err, &other) && other.Kind == tutorial.PackType
	if labs {
		pulled, err = pullWhole(ctx, store, client, ref, progress)
	}
	stop()
	if err == nil {
		printPulled(w, ref, pulled)
	}
	if err == nil && labs {
		fmt.Fprintf(w, "These are labs, not an image. `tiffin lab add %s` makes them known.\n", ref.Familiar())
	}
	return err
}

// isBase tells whether a name is that of the image that comes with tiffin. No registry is asked for
// it: what one has under that name is a stranger's.
func isBase(name string) bool {
	ref, err := reference.Parse(name)
	return err == nil && ref.Familiar() == baseName
}

// pullBase answers for the built-in image as for any that is here and up to date.
func pullBase(store *image.Store, ref reference.Reference, platform *oci.Platform, w io.Writer) error {
	img, err := store.Resolve(ref.String())
	if err != nil {
		return err
	}
	if !img.Builtin {
		return errs.Hint(fmt.Errorf("pull %s: that is the name of the built-in image, which an image of yours has", baseName), "`tiffin rmi "+baseName+"` gives it back")
	}
	if platform != nil && !platform.Runs(img.Config.Platform) {
		return errs.Hint(fmt.Errorf("pull %s: it is built in, for %s/%s, and not for %s", baseName, img.Config.OS, img.Config.Architecture, platform), "a tiffin for that platform has one for it")
	}
	printPulled(w, ref, &transfer.Pulled{Digest: img.Manifest.Digest})
	return nil
}

// pullWhole fetches what the registry has under a name with all that it lists.
func pullWhole(ctx context.Context, store *image.Store, client *registry.Client, ref reference.Reference, p ingest.Progress) (*transfer.Pulled, error) {
	img, err := client.Whole(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &transfer.Pulled{Digest: img.Document.Digest, Newer: true}, transfer.TakeWhole(ctx, store, img, ref.Stored(), p)
}

// pullAll fetches all tags of a repository. If one stands for something that is
// no image, such as a signature, the others are fetched nevertheless.
func pullAll(c *cli.Context, store *image.Store, client *registry.Client, name string) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	if ref.Digest != "" || strings.HasSuffix(name, ":"+ref.Tag) {
		return usagef("--all-tags and a tag do not go together")
	}
	ctx, end := interruptible(c)
	defer end()
	tags, err := client.Tags(ctx, ref)
	if err != nil {
		return err
	}
	var failed error
	for _, ref.Tag = range tags {
		if err := pullRef(c, store, client, ref, stdout, c.Bool("quiet")); err != nil {
			printError(stderr, err)
			failed = exitStatus(exitFailure)
		}
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintln(stdout, ref.Name())
	return failed
}

// printPulled prints what docker prints at the end, but for the name.
func printPulled(w io.Writer, ref reference.Reference, p *transfer.Pulled) {
	for _, l := range p.Layers {
		state := "Already exists"
		if l.Fetched {
			state = "Pull complete"
		}
		fmt.Fprintf(w, "%s: %s\n", id(l.Digest.String(), false), state)
	}
	status := "Image is up to date for"
	if p.Newer {
		status = "Downloaded newer image for"
	}
	fmt.Fprintf(w, "Digest: %s\nStatus: %s %s\n", p.Digest, status, ref.Familiar())
}

// Values of --pull.
const (
	pullAlways  = "always"
	pullMissing = "missing"
	pullNever   = "never"
)

// imageToRun finds the image that run or create names, and fetches it first if
// --pull says so.
func imageToRun(c *cli.Context, store *image.Store) (*image.Image, error) {
	policy := c.String("pull")
	switch policy {
	case pullAlways, pullMissing, pullNever:
	default:
		return nil, usagef("--pull is always, missing or never, not %q", policy)
	}
	return findOrPull(c, store, store.ResolveLazy, c.Args().First(), c.String("platform"), policy)
}

// baseImage is imageToRun for a name, a platform, or "", and a policy; all of the image is here.
func baseImage(c *cli.Context, store *image.Store, name, system, policy string) (*image.Image, error) {
	return findOrPull(c, store, store.Resolve, name, system, policy)
}

func findOrPull(c *cli.Context, store *image.Store, resolve func(string) (*image.Image, error), name, system, policy string) (*image.Image, error) {
	platform, err := parsePlatform(system)
	if err != nil {
		return nil, err
	}
	img, err := resolve(name)
	missing := errors.Is(err, image.ErrNotFound)
	var client *registry.Client
	if missing || policy == pullAlways {
		var cerr error
		if client, cerr = registryClient(c); cerr != nil {
			return nil, cerr
		}
		if whole := client.Registries.Expand(name); whole != name && missing {
			name = whole
			img, err = resolve(name)
			missing = errors.Is(err, image.ErrNotFound)
		}
	}
	if err == nil && platform != nil && !platform.Runs(img.Config.Platform) {
		missing, err = true, fmt.Errorf("image %s is for %s/%s, not for %s", name, img.Config.OS, img.Config.Architecture, platform)
	}
	switch {
	case policy == pullNever, policy == pullMissing && !missing:
		return img, err
	case img != nil && img.Builtin, strings.HasPrefix(name, "sha256:"):
		return img, err // no registry has it under that name
	}
	if _, perr := reference.Parse(name); perr != nil {
		return img, err // an ID
	}
	var out io.Writer = stderr
	if c.Bool("quiet") {
		out = io.Discard
	}
	if missing {
		fmt.Fprintf(out, "Unable to find image '%s' locally\n", name)
	}
	if client == nil {
		if client, err = registryClient(c); err != nil {
			return nil, err
		}
	}
	if perr := pull(c, store, client, name, out, c.Bool("quiet")); perr != nil {
		if missing {
			hint := errs.HintOf(perr)
			if hint == "" {
				hint = errs.HintOf(err)
			}
			perr = errs.Hint(fmt.Errorf("%w; %w", err, perr), hint)
		}
		return nil, perr
	}
	return resolve(name)
}

func platformFlag() cli.Flag {
	return &cli.StringFlag{Name: "platform", EnvVars: []string{"DOCKER_DEFAULT_PLATFORM"}, Usage: "fetch the image for `OS/ARCH` instead of this machine's"}
}

// askedPlatform is what --platform or the environment says; nil: nothing.
func askedPlatform(c *cli.Context) (*oci.Platform, error) { return parsePlatform(c.String("platform")) }

// parsePlatform is nil for "".
func parsePlatform(s string) (*oci.Platform, error) {
	if s == "" {
		return nil, nil
	}
	p, err := oci.ParsePlatform(s)
	return &p, err
}

func tlsFlag() cli.Flag {
	return &cli.BoolFlag{Name: "tls-verify", Value: true, Usage: "=false: talk to registries whose certificate nobody vouches for, or without TLS"}
}

// registryClient talks to registries as the flags and registries.conf say.
func registryClient(c *cli.Context) (*registry.Client, error) {
	warned := func(s string) { warn(printable(s)) }
	rules, err := registry.LoadRegistries(warned)
	if err != nil {
		return nil, err
	}
	return &registry.Client{
		Insecure:   !c.Bool("tls-verify"),
		Registries: rules,
		Warn:       warned,
	}, nil
}
