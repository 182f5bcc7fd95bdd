// What tiffin build --cache-from and --cache-to say: caches in registries and directories, which
// are read before the build and written after it.

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/build"
	"tiffin/internal/errs"
)

// cachePlace is where a cache is: a name in a registry, or a directory with an OCI layout.
type cachePlace struct {
	kind  string // registry, local or, to be written, inline
	where string
	all   bool // mode=max
}

// cacheTag is the name that a cache has in a layout, as BuildKit's.
const cacheTag = "latest"

// buildCaches are those of one build.
type buildCaches struct {
	from, to []cachePlace
	opened   []*transfer.Image
	made     []*store.BuildRecord // of steps in the image
	others   []*store.BuildRecord
}

func readBuildCaches(c *cli.Context) (b *buildCaches, err error) {
	b = &buildCaches{}
	for _, f := range []struct {
		name string
		to   *[]cachePlace
	}{{"cache-from", &b.from}, {"cache-to", &b.to}} {
		for _, text := range c.StringSlice(f.name) {
			p, err := readCachePlace(f.name, text)
			if err != nil {
				return nil, err
			}
			*f.to = append(*f.to, p)
		}
	}
	return b, nil
}

// readCachePlace reads one flag; a name alone is that in a registry.
func readCachePlace(flag, text string) (p cachePlace, err error) {
	wrong := func(format string, args ...any) (cachePlace, error) {
		return p, usagef("--%s %s: %s", flag, text, fmt.Sprintf(format, args...))
	}
	if !strings.Contains(text, "=") {
		text = "type=registry,ref=" + text
	}
	dir := map[string]string{"cache-from": "src", "cache-to": "dest"}[flag]
	given := map[string]string{}
	for field := range strings.SplitSeq(text, ",") {
		k, v, _ := strings.Cut(field, "=")
		given[k] = v
	}
	p.kind, p.all = given["type"], given["mode"] == "max"
	key := map[string]string{"registry": "ref", "local": dir}[p.kind]
	switch p.where = given[key]; {
	case p.kind == "inline" && flag == "cache-to":
		key = "type"
	case p.kind == "inline":
		return wrong("the cache is in an image: type=registry,ref=NAME names that")
	case key == "":
		return wrong("the type is registry, local or inline, not %q", p.kind)
	case p.where == "":
		return wrong("it needs %s=", key)
	}
	for k, v := range given {
		switch {
		case k == "type" || k == key:
		case k == "mode" && p.kind == "inline" && v == "max":
			return wrong("an image carries the layers that it has, and no others: mode=min")
		case k == "mode" && flag == "cache-to" && (v == "min" || v == "max"):
		default:
			return wrong("%s=%s is not known", k, v)
		}
	}
	parse := reference.Parse
	if flag == "cache-to" {
		parse = reference.ParseTag
	}
	if p.kind == "registry" {
		_, err = parse(p.where)
	}
	return p, err
}

// open opens the caches that the build may take layers from. One that cannot be read is left out,
// with a warning; one that is not there yet, with a note.
func (b *buildCaches) open(ctx context.Context, c *cli.Context, p *buildProgress, o *build.Options) error {
	for _, from := range b.from {
		cache, err := b.read(ctx, c, from, o.Store)
		switch {
		case err == nil:
			o.Caches = append(o.Caches, &build.Cache{Name: from.where, BuildCache: cache})
		case ctx.Err() != nil:
			return err
		case p.mode != "plain":
		case errors.Is(err, registry.ErrNoImage) || errors.Is(err, os.ErrNotExist):
			fmt.Fprintf(stderr, "tiffin: note: there is no cache %s yet\n", printable(from.where))
		default:
			warn(printable(fmt.Sprintf("the cache %s is not used: %v", from.where, err)))
		}
	}
	o.Inline = slices.ContainsFunc(b.to, func(p cachePlace) bool { return p.kind == "inline" })
	b.to = slices.DeleteFunc(b.to, func(p cachePlace) bool { return p.kind == "inline" })
	if len(b.to) > 0 {
		o.Made = func(r *store.BuildRecord, inImage bool) {
			if inImage {
				b.made = append(b.made, r)
			} else {
				b.others = append(b.others, r)
			}
		}
	}
	return nil
}

func (b *buildCaches) read(ctx context.Context, c *cli.Context, from cachePlace, s *image.Store) (*transfer.BuildCache, error) {
	var img *transfer.Image
	var err error
	if from.kind == "local" {
		img, err = transfer.WholeOfFile(ctx, s, from.where, cacheTag, nil)
	} else {
		var client *registry.Client
		if client, err = registryClient(c); err != nil {
			return nil, err
		}
		var ref reference.Reference
		if ref, err = reference.Parse(from.where); err == nil {
			img, err = client.Whole(ctx, ref)
		}
	}
	if err != nil {
		return nil, err
	}
	b.opened = append(b.opened, img)
	return transfer.ReadBuildCache(ctx, img)
}

func (b *buildCaches) close() {
	for _, img := range b.opened {
		img.Close()
	}
}

// write writes the caches that others may take layers from.
func (b *buildCaches) write(ctx context.Context, c *cli.Context, s *image.Store) error {
	for _, to := range b.to {
		steps := b.made
		if to.all {
			steps = append(steps[:len(steps):len(steps)], b.others...)
		}
		img, err := transfer.NewBuildCache(s, steps)
		if err == nil {
			err = writeBuildCache(ctx, c, s, img, to)
		}
		if err != nil {
			return errs.Hint(fmt.Errorf("the image is made, but the cache %s is not written: %w", to.where, err), errs.HintOf(err))
		}
	}
	return nil
}

func writeBuildCache(ctx context.Context, c *cli.Context, s *image.Store, img *transfer.Image, to cachePlace) error {
	if to.kind == "local" {
		return transfer.WriteLayout(ctx, to.where, cacheTag, img, nil)
	}
	ref, err := reference.Parse(to.where)
	if err != nil {
		return err
	}
	client, err := registryClient(c)
	if err != nil {
		return err
	}
	_, err = client.Send(ctx, img, ref, transfer.Repositories(s, ref.Domain), nil)
	return err
}
