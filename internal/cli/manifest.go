// The command tiffin manifest: the manifest or index of an image in a registry is shown without
// pulling it, and an index is put together of images there.

package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/internal/errs"
)

func manifestCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "inspect|create|annotate|push|rm [FLAGS] NAME[:TAG|@DIGEST] [IMAGE…]",
		Description: "inspect prints the manifest that a registry has under the name, or the index, which lists a manifest for each platform;\n" +
			"with --verbose each manifest of an index, with its descriptor, as docker does. Nothing is kept.\n" +
			"create makes an index named NAME of images in registries; with --amend it adds to one. annotate says which platform\n" +
			"one of them is for, push sends the index with all of them to the registry that its name says, rm forgets it.",
		Flags: []cli.Flag{
			tlsFlag(),
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "inspect: follow an index, and print descriptors"},
			&cli.BoolFlag{Name: "insecure", Usage: "the same as --tls-verify=false"},
			&cli.BoolFlag{Name: "amend", Aliases: []string{"a"}, Usage: "create: add to the index, if there is one"},
			&cli.StringFlag{Name: "os", Usage: "annotate: it is for this operating `SYSTEM`"},
			&cli.StringFlag{Name: "arch", Usage: "annotate: for this `ARCHITECTURE`"},
			&cli.StringFlag{Name: "variant", Usage: "annotate: for this `VARIANT` of it"},
			&cli.BoolFlag{Name: "purge", Aliases: []string{"p"}, Usage: "push: forget the index then"},
		},
		Action: runManifest,
	}
}

func runManifest(c *cli.Context) error {
	verb, least, most := c.Args().First(), 2, 2
	switch verb {
	case "inspect", "push":
	case "create", "rm":
		most = -1
	case "annotate":
		least, most = 3, 3
	default:
		return usagef("what can be done with manifests is inspect, create, annotate, push and rm")
	}
	if err := wantArgs(c, least, most, verb+" and the name of an image"); err != nil {
		return err
	}
	client, err := registryClient(c)
	if err != nil {
		return err
	}
	client.Insecure = client.Insecure || c.Bool("insecure")
	var refs []reference.Reference
	for _, arg := range c.Args().Tail() {
		ref, err := reference.Parse(client.Registries.Expand(arg))
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	ctx, end := interruptible(c)
	defer end()
	if verb == "inspect" {
		return inspectManifest(ctx, c, client, refs[0])
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	switch verb {
	case "create":
		return createList(ctx, c, client, store, refs)
	case "rm":
		return removeLists(store, refs)
	}
	l, err := registry.ReadList(store, refs[0])
	if err != nil {
		return err
	}
	if verb == "annotate" {
		err := l.Annotate(ctx, client, refs[1], func(p *ocispec.Platform) {
			p.OS, p.Architecture, p.Variant = cmp.Or(c.String("os"), p.OS), cmp.Or(c.String("arch"), p.Architecture), cmp.Or(c.String("variant"), p.Variant)
		})
		if err != nil {
			return err
		}
		return l.Keep(store, refs[0])
	}
	pushed, err := l.Push(ctx, client, refs[0], nil)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, pushed.Digest)
	if c.Bool("purge") {
		return removeLists(store, refs)
	}
	return nil
}

// createList makes an index of images in registries.
func createList(ctx context.Context, c *cli.Context, client *registry.Client, store *image.Store, refs []reference.Reference) error {
	name := refs[0]
	l, err := registry.ReadList(store, name)
	switch {
	case err == nil && !c.Bool("amend"):
		return errs.Hint(fmt.Errorf("%s is there already", name.Familiar()), "--amend adds to it, tiffin manifest rm forgets it")
	case err == nil:
	case !errors.Is(err, image.ErrNotFound):
		return err
	default:
		l = registry.NewList()
	}
	for _, ref := range refs[1:] {
		if err := l.Add(ctx, client, ref); err != nil {
			return err
		}
	}
	if err := l.Keep(store, name); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Created manifest list", name)
	return nil
}

func removeLists(store *image.Store, refs []reference.Reference) error {
	for _, ref := range refs {
		if _, err := registry.ReadList(store, ref); err != nil {
			return err
		}
		if _, err := store.Remove(ref.Familiar(), false); err != nil {
			return err
		}
	}
	return nil
}

// inspectManifest prints what a registry has under a name.
func inspectManifest(ctx context.Context, c *cli.Context, client *registry.Client, ref reference.Reference) error {
	m, err := client.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	if !c.Bool("verbose") {
		return printIndented(m.Bytes)
	}
	members, err := client.Members(ctx, ref, m)
	if err != nil {
		return err
	}
	var all []verboseManifest
	for _, member := range members {
		all = append(all, verbose(ref, member))
	}
	var v any = all
	if len(all) == 1 && members[0] == m { // no index
		v = all[0]
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return printIndented(b)
}

// verboseManifest has the field names of `docker manifest inspect -v`.
type verboseManifest struct {
	Ref              string
	Descriptor       ocispec.Descriptor
	Raw              []byte          // base64 in JSON
	SchemaV2Manifest json.RawMessage `json:",omitempty"`
	OCIManifest      json.RawMessage `json:",omitempty"`
}

func verbose(ref reference.Reference, m *registry.Manifest) verboseManifest {
	ref.Digest = m.Descriptor.Digest
	v := verboseManifest{Ref: ref.String(), Descriptor: m.Descriptor, Raw: m.Bytes}
	if m.Descriptor.MediaType == ocispec.MediaTypeImageManifest {
		v.OCIManifest = m.Bytes
	} else {
		v.SchemaV2Manifest = m.Bytes
	}
	return v
}

// printIndented prints JSON as docker does.
func printIndented(b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(b), "", "\t"); err != nil {
		return fmt.Errorf("this is no JSON: %w", err)
	}
	fmt.Fprintln(&out)
	_, err := out.WriteTo(stdout)
	return err
}
