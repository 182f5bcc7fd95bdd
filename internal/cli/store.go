// The user's store is opened here, and told what it cannot know by itself: which images
// containers need, and how the built-in image is made.

package cli

import (
	"io"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	base "tiffin/internal/userland"
)

// openStore opens the user's store of images and tells it what it cannot know
// by itself: which images containers need, and how the built-in one is made.
func openStore(*cli.Context) (*image.Store, error) {
	root, err := store.DefaultRoot()
	if err != nil {
		return nil, err
	}
	s, err := image.Open(root)
	if err != nil {
		return nil, err
	}
	s.Uses = client.Uses(disk.In(s.Root()))
	s.Builtin = builtin
	s.Warn = func(err error) { warn(err.Error()) }
	return s, nil
}

// baseName is the built-in image, in its familiar form.
const baseName = "tiffin/base:latest"

// builtin makes the layer of the built-in image out of the running binary.
func builtin(name string) (io.ReadCloser, ocispec.ImageConfig, bool) {
	if name != baseName {
		return nil, ocispec.ImageConfig{}, false
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeBase(w)) }()
	return r, base.Config(), true
}

func writeBase(w io.Writer) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	st, err := self.Stat()
	if err != nil {
		return err
	}
	if err := base.CheckStatic(self); err != nil {
		return err
	}
	return base.Layer(w, self, st.Size())
}
