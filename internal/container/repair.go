package container

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"tiffin/image"
	"tiffin/image/layer"
)

// openIndex opens the merged index of the container's image, at path. One that
// is damaged is rebuilt from the image's blobs, which is why its layers need
// not be read before every start: a damaged blob is named and refused then.
func (c *Container) openIndex(path string) (*layer.Index, error) {
	index, err := layer.OpenIndex(path)
	if !errors.Is(err, layer.ErrCorrupt) {
		return index, err
	}
	store, err := image.Open(filepath.Dir(filepath.Dir(c.dir)))
	if err != nil {
		return nil, err
	}
	img, err := store.Resolve(c.ImageID.String())
	if err != nil {
		return nil, fmt.Errorf("rebuild the index of container %s: %w", c.Name, err)
	}
	m, err := store.Repair(context.Background(), img)
	if err != nil {
		return nil, err
	}
	return layer.OpenIndex(m.UnionPath)
}
