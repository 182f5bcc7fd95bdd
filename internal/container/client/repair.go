// Finding the image of a container, and making its derived files anew if they are damaged.

package client

import (
	digest "github.com/opencontainers/go-digest"

	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/lazy"
	"tiffin/internal/container/disk"
)

// mountable finds the container's image, and what a file system needs of it.
func mountable(c *disk.Container, store *image.Store) (*image.Image, *cache.Mountable, error) {
	img, err := store.ResolveLazy(c.ImageID)
	if err != nil {
		return nil, nil, fmt.Errorf("find the image of container %s: %w", c.Name, err)
	}
	m, err := store.Mountable(img)
	if err == nil && m.Lazy != "" {
		err = lazy.Start(c.Root(), m.Lazy)
	}
	return img, m, err
}

// goOn sees that the container's image is fetched, if it is not all here: what does that may have
// been killed. If it cannot be started, whoever reads what is missing gets to know.
func goOn(c *disk.Container) {
	if _, err := os.Stat(filepath.Join(c.Root(), image.LazyDirName)); err != nil {
		return
	}
	if store, err := image.Open(c.Root()); err == nil {
		if lz := store.LazyOf(c.ImageID); lz != nil {
			_ = lazy.Keep(c.Root(), lz.Dir)
		}
	}
}

// Uses returns a function that says which images the containers need, for image.Store.Uses.
func Uses(s *disk.Set) func() (map[digest.Digest]bool, error) {
	return func() (map[digest.Digest]bool, error) {
		ids, err := s.Uses()
		uses := make(map[digest.Digest]bool, len(ids))
		for id := range ids {
			uses[digest.Digest(id)] = true
		}
		return uses, err
	}
}

// mended calls f with the container's image. If f finds that its merged index is damaged, the
// index is built anew from the image's blobs and f is called once more; a damaged blob is named and
// refused then. So layers need not be read before every start.
func mended(c *disk.Container, m *cache.Mountable, f func(*cache.Mountable) error) error {
	err := f(m)
	gone := err != nil && m.Lazy != "" && errors.Is(unix.Access(m.UnionPath, unix.R_OK), unix.ENOENT)
	if !gone && !errors.Is(err, layer.ErrCorrupt) {
		return err
	}
	store, err := image.Open(c.Root())
	if err != nil {
		return err
	}
	if gone { // what was to be read lazily is here as a whole, just now
		if _, m, err = mountable(c, store); err != nil {
			return err
		}
		return f(m)
	}
	img, err := store.ResolveLazy(c.ImageID)
	if err != nil {
		return fmt.Errorf("rebuild the index of container %s: %w", c.Name, err)
	}
	if m, err = store.Repair(context.Background(), img); err != nil {
		return err
	}
	return f(m)
}
