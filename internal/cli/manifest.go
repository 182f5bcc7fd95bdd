// The command tiffin manifest inspect: the manifest or index of an image in a registry, without
// pulling it.

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image/reference"
	"tiffin/image/registry"
)

func manifestCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "inspect [FLAGS] NAME[:TAG|@DIGEST]",
		Description: "Prints the manifest that a registry has under the name, or the index, which lists a manifest for each platform.\n" +
			"With --verbose it prints each manifest of an index, with its descriptor, as docker does. Nothing is kept.",
		Flags: []cli.Flag{
			tlsFlag(),
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "follow an index, and print descriptors"},
			&cli.BoolFlag{Name: "insecure", Usage: "the same as --tls-verify=false"},
		},
		Action: runManifest,
	}
}

func runManifest(c *cli.Context) error {
	if c.Args().First() != "inspect" {
		return usagef("the only thing to do with a manifest is to inspect it")
	}
	if err := wantArgs(c, 2, 2, "inspect and the name of an image"); err != nil {
		return err
	}
	client, err := registryClient(c)
	if err != nil {
		return err
	}
	ref, err := reference.Parse(client.Registries.Expand(c.Args().Get(1)))
	if err != nil {
		return err
	}
	client.Insecure = client.Insecure || c.Bool("insecure")
	ctx, end := interruptible(c)
	defer end()
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
