// The command tiffin images: the images of the store, with docker's columns, filters and templates.

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/internal/errs"
)

func imagesCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [NAME[:TAG]]",
		Description: "Templates have .Repository .Tag .ID .Digest .CreatedSince .CreatedAt .Size .Store and .Pulled. The built-in image\n" +
			baseName + " is listed once it has been used. The column STORE is there if an image is in a store that TIFFIN_IMAGE_PATH\n" +
			"names, and PULLED while pull --lazy fetches one.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "accepted for docker's sake: there are no intermediate images"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only IDs"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole IDs"},
			&cli.BoolFlag{Name: "digests", Usage: "show the manifests' digests"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only with `KEY=VALUE`: dangling, reference, label, before, since"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(0, 1, "one NAME at most", inStore(runImages)),
	}
}

// imageRow is a name of an image as `images` shows it, for templates too.
type imageRow struct {
	Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Store, Tag, UniqueSize, VirtualSize string

	Pulled string `json:",omitempty"` // how much is here of an image that pull --lazy fetches
}

var imageHeader = imageRow{
	CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID",
	Repository: "REPOSITORY", Size: "SIZE", Store: "STORE", Tag: "TAG", Pulled: "PULLED",
}

func runImages(c *cli.Context, store *image.Store) error {
	imgs, damaged := store.List()
	filters, err := parseImageFilters(c.StringSlice("filter"), store)
	if err != nil {
		return err
	}
	pattern := c.Args().First()
	var rows []*imageRow
	for _, img := range imgs {
		names := img.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, n := range names {
			if (pattern == "" || matchName(pattern, n)) && filters.match(img, n) {
				row := newImageRow(img, n, c.Bool("no-trunc"))
				if img.Lazy() != "" {
					have, total := store.LazyProgress(img)
					row.Pulled = size(have) + " of " + size(total)
				}
				rows = append(rows, row)
			}
		}
	}
	return errors.Join(printImages(c, rows), damaged)
}

func printImages(c *cli.Context, rows []*imageRow) error {
	if c.Bool("quiet") {
		var last []string // an image with two names is one ID
		for _, r := range rows {
			if !slices.Contains(last, r.ID) {
				fmt.Fprintln(stdout, r.ID)
				last = append(last, r.ID)
			}
		}
		return nil
	}
	columns := "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	if c.Bool("digests") {
		columns = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	}
	if slices.ContainsFunc(rows, func(r *imageRow) bool { return r.Store != "" }) {
		columns += "\t{{.Store}}" // of TIFFIN_IMAGE_PATH
	}
	if slices.ContainsFunc(rows, func(r *imageRow) bool { return r.Pulled != "" }) {
		columns += "\t{{.Pulled}}"
	}
	return printRows(stdout, c.String("format"), columns, &imageHeader, rows)
}

const none = "<none>"

func newImageRow(img *image.Image, name string, whole bool) *imageRow {
	r := &imageRow{
		ID: id(img.ID.String(), whole), Repository: none, Tag: none, Digest: cmp.Or(img.Digests[name], img.Manifest.Digest).String(),
		CreatedAt: localTime(img.Created), CreatedSince: ago(img.Created), Size: size(img.Size), VirtualSize: size(img.Size),
		Store: img.Store, Containers: "N/A", SharedSize: "N/A", UniqueSize: "N/A",
	}
	if ref, err := reference.Parse(name); name != "" && err == nil {
		r.Repository = ref.FamiliarName()
		if ref.Tag != "" {
			r.Tag = ref.Tag
		}
	}
	return r
}

// matchName reports whether a name matches what was asked for: a pattern for
// the repository alone matches all its tags.
func matchName(pattern, name string) bool {
	if name == "" {
		return false
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return false
	}
	candidates := []string{ref.Familiar(), ref.FamiliarName(), ref.String(), ref.Name()}
	return slices.ContainsFunc(candidates, func(c string) bool {
		ok, err := path.Match(pattern, c)
		return err == nil && ok
	})
}

// imageFilters are the conditions of --filter; all have to hold.
type imageFilters []func(img *image.Image, name string) bool

func (fs imageFilters) match(img *image.Image, name string) bool {
	return !slices.ContainsFunc(fs, func(f func(*image.Image, string) bool) bool { return !f(img, name) })
}

func parseImageFilters(args []string, store *image.Store) (fs imageFilters, err error) {
	var references []string
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, usagef("filter %q is not KEY=VALUE", a)
		}
		switch key {
		case "reference":
			references = append(references, value)
		case "dangling":
			if value != "true" && value != "false" {
				return nil, usagef("filter dangling is true or false, not %q", value)
			}
			fs = append(fs, func(img *image.Image, _ string) bool { return len(img.Names) == 0 == (value == "true") })
		case "label":
			fs = append(fs, func(img *image.Image, _ string) bool { return hasLabel(img, value) })
		case "before", "since":
			other, err := store.ResolveLazy(value)
			if err != nil {
				return nil, err
			}
			fs = append(fs, func(img *image.Image, _ string) bool {
				return img.ID != other.ID && img.Created.Before(other.Created) == (key == "before")
			})
		case "until":
			before, err := parseTime(value, time.Now())
			if err != nil || before.IsZero() {
				return nil, usagef("until %q is neither a time such as 2006-01-02T15:04:05 nor a duration such as 24h", value)
			}
			fs = append(fs, func(img *image.Image, _ string) bool { return img.Created.Before(before) })
		default:
			return nil, errs.Hint(fmt.Errorf("no such filter: %s", key), "use dangling, reference, label, before, since or until")
		}
	}
	if references != nil {
		fs = append(fs, func(_ *image.Image, name string) bool {
			return slices.ContainsFunc(references, func(p string) bool { return matchName(p, name) })
		})
	}
	return fs, nil
}

// hasLabel compares with KEY or KEY=VALUE.
func hasLabel(img *image.Image, want string) bool {
	key, value, exact := strings.Cut(want, "=")
	got, ok := img.Config.Config.Labels[key]
	return ok && (!exact || got == value)
}
