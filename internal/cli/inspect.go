// The command tiffin inspect: all that is known of an image or a container, as JSON or by a
// template.

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"text/template"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-f TEMPLATE] NAME|ID…",
		Description: "Prints all there is to know about images or containers, as a JSON array with docker's field names.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`TEMPLATE` of Go for each, or json"},
			kindFlag(),
		},
		Action: takes(1, -1, "at least one NAME or ID", runInspect),
	}
}

func runInspect(c *cli.Context) error {
	kind, err := wantedKind(c)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	return inspectEach(c, func(arg string) (any, error) { return inspect(store, arg, kind) })
}

// inspectEach prints what look tells of each argument, as --format says.
func inspectEach(c *cli.Context, look func(arg string) (any, error)) error {
	print := func(v any) error { return nil }
	format := c.String("format")
	if format != "" && format != "json" {
		tmpl, err := parseFormat(format)
		if err != nil {
			return err
		}
		print = func(v any) error { return executeEither(tmpl, v) }
	}
	found := []any{}
	failed := eachArg(c, func(arg string) error {
		v, err := look(arg)
		if err != nil {
			return err
		}
		found = append(found, v)
		return print(v)
	})
	switch format {
	case "":
		failed = errors.Join(printJSON(stdout, found, "    "), failed)
	case "json":
		failed = errors.Join(printJSON(stdout, found, ""), failed)
	}
	return failed
}

// inspect describes an image or a container.
func inspect(store *image.Store, arg, kind string) (any, error) {
	img, ctr, err := findEither(store, arg, kind)
	switch {
	case err != nil:
		return nil, err
	case img != nil:
		return store.Inspect(img), nil
	}
	return client.Inspect(ctr)
}

func kindFlag() cli.Flag {
	return &cli.StringFlag{Name: "type", Usage: "`KIND`: image or container; without it, an image if there is one"}
}

// wantedKind is what kindFlag says.
func wantedKind(c *cli.Context) (string, error) {
	kind := c.String("type")
	if kind != "" && kind != "image" && kind != "container" {
		return "", usagef("--type is image or container, not %q", kind)
	}
	return kind, nil
}

// findEither finds an image, or a container if there is no image of that name; with a kind, only
// what is of that kind.
func findEither(store *image.Store, name, kind string) (*image.Image, *disk.Container, error) {
	if kind != "container" {
		img, err := store.ResolveLazy(name)
		if err == nil || kind == "image" || errors.Is(err, oci.ErrDamaged) || errors.Is(err, image.ErrNoImage) || errors.Is(err, image.ErrNotWhole) {
			return img, nil, err
		}
	}
	ctr, err := findContainer(name)
	if kind == "" && errors.Is(err, disk.ErrNotFound) {
		err = errs.Hint(fmt.Errorf("no such image or container: %s", name), "tiffin images and tiffin ps -a list what is there")
	}
	return nil, ctr, err
}

// executeEither runs a template on the value, with Go's names for fields; if one
// is missing, on its JSON: {{.ID}} and {{.Id}} both work, as with docker. A field
// that neither has is an error.
func executeEither(tmpl *template.Template, v any) error {
	var out bytes.Buffer
	if tmpl.Execute(&out, v) != nil {
		b, err := json.Marshal(v)
		var m map[string]any
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if out.Reset(); err == nil {
			err = tmpl.Option("missingkey=error").Execute(&out, m)
		}
		if err != nil {
			return formatError(err)
		}
	}
	_, err := stdout.Write(out.Bytes())
	return err
}
