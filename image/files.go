// The files of an image, or of an image as it was when fewer layers had been made.

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/internal/errs"
)

// Files is what layers merge to, and the bytes of the files in it.
type Files struct {
	Index *layer.Index
	Flats []io.ReaderAt // the tarballs of the layers, for Index.Reader
	open  []*layer.Flat
}

// Files opens what layers merge to. The caller closes it.
func (s *Store) Files(layers []oci.Layer) (*Files, error) {
	m, err := s.Prepare(layers)
	if err != nil {
		return nil, err
	}
	f := &Files{}
	f.Index, err = layer.OpenIndex(m.UnionPath)
	if errors.Is(err, layer.ErrCorrupt) {
		if m, err = s.RebuildAll(context.Background(), layers); err == nil {
			f.Index, err = layer.OpenIndex(m.UnionPath)
		}
	}
	if err != nil {
		return nil, err
	}
	if f.open, err = layer.OpenFlats(m.FlatPaths, m.BlockPaths); err != nil {
		return nil, err
	}
	for _, flat := range f.open {
		f.Flats = append(f.Flats, flat)
	}
	return f, nil
}

// Close closes the tarballs.
func (f *Files) Close() {
	for _, flat := range f.open {
		flat.Close()
	}
}

// ResolveLayers finds an image by IMAGE or IMAGE@LAYER, and its layers from the bottom up to that
// one, or all. LAYER is a number as `tiffin layers` prints it, or the beginning, from 4 digits on,
// of a digest that the layer has, uncompressed or as a blob. What begins with "sha256:" is no
// layer, but the digest of a manifest, which belongs to IMAGE.
func (s *Store) ResolveLayers(ref string) (img *Image, layers []oci.Layer, err error) {
	name, which, ok := cutLayer(ref)
	if img, err = s.Resolve(name); err != nil || !ok {
		if err == nil {
			layers = img.Layers
		}
		return img, layers, err
	}
	found := -1
	number, err := strconv.Atoi(which)
	for i, l := range img.Layers {
		switch {
		case err == nil && len(which) < minDigits: // too short for a digest
			if i == number {
				found = i
			}
		case len(which) >= minDigits && (strings.HasPrefix(l.DiffID.Encoded(), which) || strings.HasPrefix(l.Digest.Encoded(), which)):
			if found >= 0 && img.Layers[found].DiffID != l.DiffID {
				return nil, nil, errs.Hint(fmt.Errorf("%s is the beginning of several digests of layers of %s", which, name), "give more digits")
			}
			found = i
		}
	}
	if found < 0 {
		return nil, nil, errs.Hint(fmt.Errorf("%s has no layer %s", name, which), fmt.Sprintf("tiffin layers %s lists them: a number or the beginning of a digest", name))
	}
	return img, img.Layers[:found+1], nil
}

const minDigits = 4

// HasLayer reports whether a name is IMAGE@LAYER.
func HasLayer(ref string) bool {
	_, _, ok := cutLayer(ref)
	return ok
}

// cutLayer takes IMAGE@LAYER apart.
func cutLayer(ref string) (name, which string, ok bool) {
	i := strings.LastIndexByte(ref, '@')
	if i < 0 || ref[i+1:] == "" || !reference.IsHex(ref[i+1:]) {
		return ref, "", false
	}
	return ref[:i], ref[i+1:], true
}
