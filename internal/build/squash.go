// One layer instead of several: what a build puts on its base.

package build

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
)

// squash replaces the layers above the base by one. The history keeps their entries, as those of
// instructions without a layer.
func (b *builder) squash(ctx context.Context, s *state) error {
	if len(s.layers) <= s.below+1 {
		return nil
	}
	whole, err := openStack(b.Store, s.layers)
	if err != nil {
		return err
	}
	defer whole.close()
	under, err := openStack(b.Store, s.layers[:s.below])
	if err != nil {
		return err
	}
	defer under.close()
	d := newDelta(whole, b.Store.Path("tmp"))
	defer d.close()
	if err := d.differ(d.from(whole), whole, under, s.below, ""); err != nil {
		return err
	}
	files, err := d.digest()
	if err != nil {
		return err
	}
	base := append([]oci.Layer{}, s.layers[:s.below]...)
	parts := []store.BuildPart{{Name: image.OnStack, Value: imageChain(base)}, {Name: "instruction", Value: "squash"}, {Name: "files", Value: files}}
	r, err := b.layer(ctx, &state{layers: base}, new(Step), "squash", parts, func() (*store.BuildRecord, error) {
		return b.Store.AddLayer(ctx, base, parts, "squash", d.write)
	})
	if err != nil {
		return err
	}
	layers := 0
	for i := range s.config.History {
		h := &s.config.History[i]
		if !h.EmptyLayer {
			layers++
		}
		h.EmptyLayer = h.EmptyLayer || layers > s.below
	}
	s.layers = append(base, r.Layer)
	s.enter("squash", r.Made, false)
	return nil
}

// differ takes from a directory what layers from number n on have put there, and notes what they
// have deleted.
func (d *delta) differ(from *source, whole, under *imageTree, n int, dir string) error {
	names, err := whole.list(dir)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
		p := path.Join(dir, name)
		f, err := whole.stat(p)
		if err != nil {
			return err
		}
		i, _ := whole.index.Find(p)
		_, err = under.stat(p)
		if int(whole.index.Inode(i).Layer) >= n || errors.Is(err, fs.ErrNotExist) {
			if err := d.put(p, &entry{file: *f, from: from, path: p}); err != nil {
				return err
			}
		}
		if f.isDir() {
			if err := d.differ(from, whole, under, n, p); err != nil {
				return err
			}
		}
	}
	gone, err := under.list(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDirectory) {
		return nil
	}
	for _, name := range gone {
		if !there[name] {
			if err := d.mkdir(dir); err != nil {
				return err
			}
			// OCI image-spec v1.1 layer.md, "Whiteouts".
			if err := d.add(path.Join(dir, ".wh."+name), &entry{file: file{mode: unix.S_IFREG | 0o644, mtime: d.now}}); err != nil {
				return err
			}
		}
	}
	return err
}
