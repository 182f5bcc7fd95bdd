// Tarballs become a stack of layers that can be served, without a store.

package fstest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tiffin/image/layer"
	"tiffin/image/union"
)

// Image is a stack of layers, ready to be served.
type Image struct {
	Index  string   // path of the merged index
	Flats  []string // paths of the uncompressed tarballs, the bottom layer first
	Layers []string // paths of the single layers' indexes, likewise
}

// Union indexes the tarballs, the bottom layer first, and merges them, in a
// directory that lasts as long as the test.
func Union(t *testing.T, tars ...[]byte) *Image {
	t.Helper()
	im, err := BuildImage(t.TempDir(), tars...)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// BuildImage is Union in a given directory.
func BuildImage(dir string, tars ...[]byte) (*Image, error) {
	im := &Image{Index: filepath.Join(dir, "index")}
	merged := layer.NewTree(layer.NewDir(0o755))
	for n, b := range tars {
		base := filepath.Join(dir, fmt.Sprint(n))
		tree, err := layer.Scan(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("scan layer %d: %w", n, err)
		}
		if err := errors.Join(os.WriteFile(base+".tar", b, 0o644), WriteBlocks(base+".tar"), tree.WriteFile(base+".index")); err != nil {
			return nil, err
		}
		im.Flats, im.Layers = append(im.Flats, base+".tar"), append(im.Layers, base+".index")
		var lower *layer.Tree
		if n > 0 {
			lower = merged
		}
		if merged, err = union.Merge(lower, tree, uint16(n)); err != nil {
			return nil, fmt.Errorf("merge layer %d: %w", n, err)
		}
	}
	return im, merged.WriteFile(im.Index)
}

// blocksOf is where the codes of a tarball's blocks are.
func blocksOf(tar string) string { return tar + ".blocks" }

// WriteBlocks makes the codes of a tarball.
func WriteBlocks(tar string) error {
	b, err := os.ReadFile(tar)
	if err != nil {
		return err
	}
	blocks := layer.NewBlocks()
	blocks.Write(b)
	return os.WriteFile(blocksOf(tar), blocks.Encode(blocksOf(tar)), 0o600)
}

// open opens what the server needs of the image.
func (im *Image) open() (x *layer.Index, flats []*layer.Flat, layers []*layer.Index, err error) {
	if x, err = layer.OpenIndex(im.Index); err != nil {
		return nil, nil, nil, err
	}
	for _, p := range im.Flats {
		f, err := layer.OpenFlat(p, blocksOf(p))
		if err != nil {
			return nil, nil, nil, err
		}
		flats = append(flats, f)
	}
	for _, p := range im.Layers {
		l, err := layer.OpenIndex(p)
		if err != nil {
			return nil, nil, nil, err
		}
		layers = append(layers, l)
	}
	return x, flats, layers, nil
}

// AddLayer returns the image with one more layer on top, in directory dir.
func (im *Image) AddLayer(dir string, tar []byte) (*Image, error) {
	x, err := layer.OpenIndex(im.Index)
	if err != nil {
		return nil, err
	}
	tree, err := layer.Scan(bytes.NewReader(tar))
	if err != nil {
		return nil, fmt.Errorf("scan the new layer: %w", err)
	}
	merged, err := union.Merge(x.Tree(), tree, uint16(len(im.Flats)))
	if err != nil {
		return nil, fmt.Errorf("merge the new layer: %w", err)
	}
	flat := filepath.Join(dir, "flat.tar")
	more := &Image{Index: filepath.Join(dir, "index"), Flats: append(append([]string{}, im.Flats...), flat)}
	return more, errors.Join(os.WriteFile(flat, tar, 0o644), WriteBlocks(flat), merged.WriteFile(more.Index))
}

// Diff writes what an upper directory changes in the image as a layer.
func (im *Image) Diff(upper string) ([]byte, error) {
	x, files, _, err := im.open()
	if err != nil {
		return nil, err
	}
	u := &layer.Upper{Dir: upper, Lower: x}
	for _, f := range files {
		defer f.Close()
		u.Flats = append(u.Flats, f)
	}
	var b bytes.Buffer
	err = layer.WriteDiff(&b, u)
	return b.Bytes(), err
}
