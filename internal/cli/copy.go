// The command tiffin copy: an image goes from one place to another (registry, OCI layout,
// archive, store), with the prefixes that skopeo has.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
)

func copyCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] SOURCE DESTINATION",
		Description: "Both are one of these, as with skopeo:\n\n" +
			"  NAME[:TAG]                  an image of the store\n" +
			"  docker://NAME[:TAG|@DIGEST] of a registry\n" +
			"  oci:DIR[:TAG]               in an OCI layout\n" +
			"  oci-archive:FILE[:TAG]      in an archive of one\n" +
			"  docker-archive:FILE[:NAME]  in what docker save or podman save wrote\n\n" +
			"Layers are copied as they are: the digests stay. An archive is written as an OCI layout and a docker-archive at\n" +
			"once. From a registry nothing is stored on the way. Of an image for several platforms one is copied,\n" +
			"with --all the index with all that it lists, byte by byte.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "an index with all that it lists, for every platform; an artifact too"},
			platformFlag(), tlsFlag(),
			&cli.BoolFlag{Name: "src-tls-verify", Value: true, Usage: "=false: --tls-verify=false for the source only"},
			&cli.BoolFlag{Name: "dest-tls-verify", Value: true, Usage: "=false: --tls-verify=false for the destination only"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the digest"},
		},
		Action: takes(2, 2, "SOURCE and DESTINATION", runCopy),
	}
}

// endpoint is SOURCE or DESTINATION, taken apart.
type endpoint struct {
	transport string // "" is the store
	path      string // of a directory or file
	name      string // of the image; may be "" in a directory or file
}

// transports are the prefixes; those that only skopeo has are named to be
// refused: without that they would be images of the store.
var transports = []string{"docker://", "oci:", "oci-archive:", "docker-archive:"}
var otherTransports = []string{"containers-storage:", "docker-daemon:", "dir:", "ostree:", "sif:", "tarball:"}

func parseEndpoint(arg string) (endpoint, error) {
	for _, t := range transports {
		rest, ok := strings.CutPrefix(arg, t)
		switch {
		case !ok:
		case rest == "":
			return endpoint{}, usagef("%s is to be followed by something", t)
		case t == "docker://":
			return endpoint{transport: t, name: rest}, nil
		default:
			// As with skopeo: a path has no colon.
			path, name, _ := strings.Cut(rest, ":")
			return endpoint{t, path, name}, nil
		}
	}
	for _, t := range otherTransports {
		if strings.HasPrefix(arg, t) {
			return endpoint{}, errs.Hint(fmt.Errorf("tiffin does not copy from or to %s", strings.TrimSuffix(t, ":")),
				"it knows "+strings.Join(transports, " ")+" and names of the store")
		}
	}
	return endpoint{name: arg}, nil
}

func runCopy(c *cli.Context) error {
	src, err := parseEndpoint(c.Args().Get(0))
	if err != nil {
		return err
	}
	dst, err := parseEndpoint(c.Args().Get(1))
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
	ctx, end := interruptible(c)
	defer end()
	progress, stop := newProgress(c.Bool("quiet"))
	cp := copier{store: store, client: client, progress: progress, insecure: client.Insecure}
	client.Insecure = cp.insecure || !c.Bool("src-tls-verify")
	if cp.platform, err = askedPlatform(c); err != nil {
		return err
	}
	if cp.all = c.Bool("all"); cp.all && cp.platform != nil {
		return usagef("--all and --platform do not go together")
	}
	img, err := cp.open(ctx, src)
	if err == nil {
		defer img.Close()
		// A registry that is already talked to keeps what it was told.
		to := *client
		to.Insecure = cp.insecure || !c.Bool("dest-tls-verify")
		cp.client = &to
		err = cp.write(ctx, img, src, dst)
	}
	stop()
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, img.Document.Digest)
	return nil
}

type copier struct {
	store    *image.Store
	client   *registry.Client
	insecure bool
	platform *oci.Platform
	all      bool
	progress ingest.Progress
}

// open finds the source.
func (cp *copier) open(ctx context.Context, src endpoint) (*transfer.Image, error) {
	switch src.transport {
	case "":
		if cp.all {
			return transfer.WholeOfStore(ctx, cp.store, src.name)
		}
		img, err := cp.store.Resolve(src.name)
		// HOST/NAME is a name that an image of the store may have as well.
		if r, rerr := reference.Parse(src.name); errors.Is(err, image.ErrNotFound) && rerr == nil && strings.HasPrefix(src.name, r.Domain+"/") {
			err = errs.Hint(err, "this is a name of the store; from "+r.Domain+" itself it is docker://"+src.name)
		}
		if err != nil {
			return nil, err
		}
		return transfer.FromStore(cp.store, img)
	case "docker://":
		ref, err := reference.Parse(src.name)
		if err != nil {
			return nil, err
		}
		if cp.all {
			return cp.client.Whole(ctx, ref)
		}
		return cp.client.Pushable(ctx, ref, cp.platform)
	}
	if cp.all {
		return transfer.WholeOfFile(ctx, cp.store, src.path, src.name, cp.progress)
	}
	return transfer.FromFile(ctx, cp.store, src.path, src.name, cp.progress)
}

// write brings the image to the destination.
func (cp *copier) write(ctx context.Context, img *transfer.Image, src, dst endpoint) error {
	if ref, err := reference.Parse(dst.name); err == nil && ref.Digest != "" {
		return usagef("a destination has a tag, not a digest, which is that of the source")
	}
	switch dst.transport {
	case "oci:":
		return transfer.WriteLayout(ctx, dst.path, dst.name, img, cp.progress)
	case "oci-archive:", "docker-archive:":
		return cp.writeArchive(ctx, img, dst)
	}
	ref, err := reference.Parse(dst.name)
	if err != nil {
		return err
	}
	if dst.transport == "" && cp.all {
		return transfer.TakeWhole(ctx, cp.store, img, ref, cp.progress)
	}
	if dst.transport == "" {
		_, err := transfer.Take(ctx, cp.store, img, ref, cp.progress)
		return err
	}
	there := transfer.Repositories(cp.store, ref.Domain)
	if from, err := reference.Parse(src.name); err == nil && src.transport == "docker://" && from.Domain == ref.Domain {
		there = func(digest.Digest) []string { return []string{from.Path} }
	}
	_, err = cp.client.Send(ctx, img, ref, there, cp.progress)
	return err
}

func (cp *copier) writeArchive(ctx context.Context, img *transfer.Image, dst endpoint) error {
	name := dst.name
	if name != "" && dst.transport == "docker-archive:" {
		ref, err := reference.Parse(name)
		if err != nil {
			return err
		}
		name = ref.Familiar()
	}
	if _, err := os.Stat(dst.path); err == nil {
		return errs.Hint(fmt.Errorf("%s exists", dst.path), "an archive is written in one go; remove that one first")
	}
	return writeFileAtomically("copy", dst.path, func(w io.Writer) error {
		return transfer.WriteArchive(ctx, w, img, name, cp.progress)
	})
}
