// An image that leaves in another form: each layer as eStargz (package stargz).

package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	units "github.com/docker/go-units"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/stargz"
	"tiffin/image/store"
	"tiffin/image/union"
)

// EStargz returns the image img, of the store s, with each layer written as eStargz; an index with
// each image that it lists. Config and manifest are others then, and so is the digest; the store
// keeps what it has. What is written is in the staging directory st, as long as the image is used.
//
// A layer that has this form already stays, and so does, with a note, what cannot have it. If all
// layers stay, so does the image.
func EStargz(ctx context.Context, s *image.Store, st *store.Staging, img *Image, p ingest.Progress, note func(string)) (*Image, error) {
	c := &converter{s: s, st: st, progress: p, note: note, blobs: map[digest.Digest]*stargz.Blob{}, images: map[digest.Digest]digest.Digest{}}
	if img.Document.Manifests == nil && img.unfit() != nil {
		return nil, &NoImage{kind(img.Document), img.Document.Digest}
	}
	out, err := c.convert(ctx, img)
	if err != nil {
		return nil, store.DiskError(fmt.Errorf("write eStargz: %w", err))
	}
	return out, nil
}

// converter is one call of EStargz.
type converter struct {
	s        *image.Store
	st       *store.Staging
	progress ingest.Progress
	note     func(string)
	blobs    map[digest.Digest]*stargz.Blob  // by chain ID up to the layer; nil: it stays
	images   map[digest.Digest]digest.Digest // of manifests: those that have been written, by the old
}

func (c *converter) convert(ctx context.Context, img *Image) (*Image, error) {
	switch {
	case img.Document.Manifests != nil:
		return c.index(ctx, img)
	case img.unfit() != nil:
		return img, nil // an artifact in an index
	}
	return c.image(ctx, img)
}

// index converts what an index lists.
func (c *converter) index(ctx context.Context, ix *Image) (*Image, error) {
	out, list, changed := *ix, slices.Clone(ix.Document.Manifests), false
	out.Parts = nil
	for i, part := range ix.Parts {
		other, err := c.convert(ctx, part)
		if err != nil {
			return nil, err
		}
		out.Parts = append(out.Parts, other)
		if now := other.Document.Descriptor(); now.Digest != list[i].Digest {
			list[i].MediaType, list[i].Digest, list[i].Size, list[i].Data = now.MediaType, now.Digest, now.Size, nil
			changed = true
		}
	}
	if !changed {
		return ix, nil
	}
	for _, d := range list {
		// What BuildKit says of how an image was built names the image by this annotation.
		of := digest.Digest(d.Annotations["vnd.docker.reference.digest"])
		if now, changed := c.images[of]; changed {
			c.note(fmt.Sprintf("the attestation %s is pushed as it is: it speaks of %s, which is %s now", d.Digest, of, now))
		}
	}
	b, err := oci.WithManifests(ix.Document, list)
	if err == nil {
		out.Document, err = oci.ParseDocument(b)
	}
	return &out, err
}

// image converts the layers of an image.
func (c *converter) image(ctx context.Context, img *Image) (*Image, error) {
	full, err := c.whole(img)
	if err != nil {
		return img, nil
	}
	stack := &stack{layers: full.Layers}
	descriptors, diffIDs := slices.Clone(img.Document.Layers), make([]digest.Digest, len(full.Layers))
	written := map[digest.Digest]digest.Digest{} // diff IDs by digests
	for i, l := range full.Layers {
		diffIDs[i] = l.DiffID
		blob, err := c.layer(ctx, stack, i, descriptors[i])
		if err != nil {
			return nil, err
		}
		if blob != nil {
			descriptors[i], diffIDs[i] = annotated(descriptors[i], blob), blob.DiffID
			written[blob.Digest] = blob.DiffID
		}
	}
	if len(written) == 0 {
		return img, nil
	}
	manifest, config, err := oci.WithLayers(img.Document, full.Config, descriptors, diffIDs)
	if err != nil {
		return nil, err
	}
	doc, err := oci.ParseDocument(manifest)
	if err != nil {
		return nil, err
	}
	out, err := NewImage(doc, config)
	if err != nil {
		return nil, err
	}
	if _, err := c.st.PutBlob(config); err != nil {
		return nil, err
	}
	c.images[img.Document.Digest] = doc.Digest
	out.raw, out.src, out.close = img.raw, c.source(), img.close
	if img.raw {
		out.Layers = nil // as before: what stays has not been looked into
	}
	out.known = func(l oci.Layer) bool { return written[l.Digest] == l.DiffID || img.known != nil && img.known(l) }
	return out, nil
}

// whole is an image with its config and layers. What is not for Linux stays: its tarballs say more
// than an index has, such as the access rights of Windows.
func (c *converter) whole(img *Image) (full *Image, err error) {
	defer func() {
		if err != nil {
			c.note(fmt.Sprintf("image %s is pushed as it is: %v", img.Document.Digest, err))
		}
	}()
	if full = img; img.raw {
		config, err := c.s.ReadBlob(img.Document.Config.Digest)
		if err != nil {
			return nil, err
		}
		if full, err = NewImage(img.Document, config); err != nil {
			return nil, err
		}
	}
	if os := full.platform.OS; os != "linux" && os != "" {
		return nil, fmt.Errorf("it is for %s", os)
	}
	return full, nil
}

// annotated is the descriptor of a layer that takes the place of that of d. What d says of its
// bytes goes: podman would look for frames of zstd.
func annotated(d ocispec.Descriptor, blob *stargz.Blob) ocispec.Descriptor {
	d.MediaType, d.Digest, d.Size, d.Data = ocispec.MediaTypeImageLayerGzip, blob.Digest, blob.Size, nil
	d.Annotations = maps.Clone(d.Annotations)
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	for _, of := range []string{"io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/", "io.containers.estargz."} {
		maps.DeleteFunc(d.Annotations, func(name, _ string) bool { return strings.HasPrefix(name, of) })
	}
	maps.Copy(d.Annotations, blob.Annotations())
	return d
}

// source is where the blobs of a converted image are.
func (c *converter) source() Source {
	return Blobs(func(d digest.Digest) (io.ReadCloser, int64, error) {
		f, err := os.Open(c.st.BlobPath(d))
		if err != nil {
			return storeBlobs(c.s)(d)
		}
		fi, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, fi.Size(), nil
	})
}

// layer writes layer i of a stack as eStargz; nil if it stays.
func (c *converter) layer(ctx context.Context, s *stack, i int, d ocispec.Descriptor) (*stargz.Blob, error) {
	if oci.CheckLayer(d) != nil {
		return nil, nil // of another kind, or not ours to hand out
	}
	chain := s.chain(i)
	if done, again := c.blobs[chain]; again {
		return done, nil
	}
	has, err := c.has(d)
	if has || err != nil {
		return nil, err
	}
	blob, err := c.write(ctx, s, i, d)
	if errors.Is(err, stargz.ErrUnfit) {
		c.note(fmt.Sprintf("%v: it is pushed as it is", err))
		blob, err = nil, nil
	}
	if err == nil {
		c.blobs[chain] = blob
	}
	return blob, err
}

// has tells whether a layer is eStargz with the table of contents that its manifest says.
func (c *converter) has(d ocispec.Descriptor) (bool, error) {
	toc := digest.Digest(d.Annotations[stargz.TOCDigest])
	if !reference.ValidDigest(toc) {
		return false, nil
	}
	f, err := c.s.OpenBlob(d.Digest)
	if err != nil {
		return false, oci.Damaged(d.Digest, "is missing")
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	if err := stargz.Verify(io.NewSectionReader(f, 0, fi.Size()), toc); err != nil {
		c.note(fmt.Sprintf("layer %s says that it is eStargz, and is written again: %v", d.Digest, err))
		return false, nil
	}
	return true, nil
}

// write writes the files of a layer into the staging directory.
func (c *converter) write(ctx context.Context, s *stack, i int, d ocispec.Descriptor) (*stargz.Blob, error) {
	defer ingest.Economize()()
	x, flat, done, err := c.open(ctx, s.layers[i])
	if err != nil {
		return nil, err
	}
	defer done()
	var lower *layer.Tree
	if implies(x) {
		if lower, err = c.lower(ctx, s, i); err != nil {
			return nil, err
		}
	}
	limit, err := ingest.BombLimit()
	if err != nil {
		return nil, err
	}
	spread := stargz.Spread(x)
	if spread > max(limit, flat.Size()) {
		return nil, fmt.Errorf("layer %s: %w: with their holes, its files have %s (TIFFIN_INFLATE_LIMIT=20GiB allows more)", d.Digest, stargz.ErrUnfit, units.BytesSize(float64(spread)))
	}
	if names := stargz.Reserved(x); len(names) > 0 && d.Annotations[stargz.TOCDigest] == "" {
		c.note(fmt.Sprintf("layer %s: /%s is left out, eStargz has that name for itself", d.Digest, strings.Join(names, " and /")))
	}
	f, err := os.CreateTemp(c.st.Dir, "estargz-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	add, end := ingest.Start(c.progress, reference.Short(d.Digest)+" eStargz", spread)
	defer end()
	w := bufio.NewWriterSize(f, 256<<10)
	blob, err := stargz.Write(ctx, w, x, flat, lower, add)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	return blob, os.Rename(f.Name(), c.st.BlobPath(blob.Digest))
}

// stack is the layers of an image, the lower ones merged as far as that has been asked for.
type stack struct {
	layers []oci.Layer
	merged int // how many
	tree   *layer.Tree
	err    error // of merging the next
}

// chain is the chain ID up to layer i.
func (s *stack) chain(i int) digest.Digest {
	var ids []digest.Digest
	for _, l := range s.layers[:i+1] {
		ids = append(ids, l.DiffID)
	}
	return cache.ChainID(ids)
}

// implies reports whether a layer has directories, besides the root, that it has no entry for.
func implies(x *layer.Index) bool {
	for i := range uint32(x.Len()) {
		if i > 0 && x.Inode(i).Flags&layer.Implicit != 0 {
			return true
		}
	}
	return false
}

// lower is the merged tree of what is below layer i; nil at the bottom.
func (c *converter) lower(ctx context.Context, s *stack, i int) (*layer.Tree, error) {
	for ; s.merged < i && s.err == nil; s.merged++ {
		x, _, done, err := c.open(ctx, s.layers[s.merged])
		if err != nil {
			return nil, err
		}
		tree := x.Tree()
		done()
		if s.tree, err = union.Merge(s.tree, tree, uint16(s.merged)); err != nil {
			s.err = fmt.Errorf("layer %s: %w: what is below it cannot be merged: %w", s.layers[i].Digest, stargz.ErrUnfit, err)
		}
	}
	return s.tree, s.err
}

// open opens the index and the tarball of a layer: those of the store, or else ones that are made
// of the blob in the staging directory, and go with it.
func (c *converter) open(ctx context.Context, l oci.Layer) (x *layer.Index, flat *layer.Flat, done func(), err error) {
	if m, ok := c.s.Paths([]oci.Layer{l}); ok {
		if x, flat, err = openLayer(m.IndexPaths[0], m.FlatPaths[0], m.BlockPaths[0]); err == nil {
			return x, flat, func() { flat.Close() }, nil
		}
	}
	add, end := ingest.Start(c.progress, reference.Short(l.Digest), l.Size)
	err = c.s.Inflate(ctx, c.st, l, add)
	end()
	if err != nil {
		return nil, nil, nil, err
	}
	dir := c.st.Path("layers", l.DiffID.Encoded())
	file := func(name string) string { return dir + "/" + name }
	if x, flat, err = openLayer(file(store.IndexName), file(store.FlatName), file(store.BlocksName)); err != nil {
		return nil, nil, nil, err
	}
	return x, flat, func() { flat.Close(); os.RemoveAll(dir) }, nil
}

func openLayer(index, flat, blocks string) (*layer.Index, *layer.Flat, error) {
	x, err := layer.OpenIndex(index)
	if err != nil {
		return nil, nil, err
	}
	f, err := layer.OpenFlat(flat, blocks)
	return x, f, err
}
