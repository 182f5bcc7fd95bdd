// The layers of a container's image with its changes on top, for why.

package client

import (
	"fmt"
	"io"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/union"
	"tiffin/internal/container/disk"
)

// Stack opens the layers of the container's image, with one more layer on top for the container's
// changes: the one that a commit would make now, of which only the headers are kept. The caller
// closes it.
func Stack(c *disk.Container, store *image.Store) (*union.Stack, *image.Image, error) {
	var (
		base *image.Image
		tree *layer.Tree
	)
	err := changed(c, store, func(img *image.Image, d delta) (err error) {
		base = img
		r, w := io.Pipe()
		go func() { w.CloseWithError(d.WriteDiff(w)) }()
		tree, err = layer.Scan(r)
		r.CloseWithError(err) // ends WriteDiff if Scan ended first
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the changes of container %s: %w", c.Name, err)
	}
	st, err := store.Stack(base)
	if err != nil {
		return nil, nil, err
	}
	if err := st.Push(tree); err != nil {
		return nil, nil, fmt.Errorf("put the changes of container %s on top: %w", c.Name, err)
	}
	return st, base, nil
}
