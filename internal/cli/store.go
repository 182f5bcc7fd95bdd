// The user's store is opened here, and told what it cannot know by itself: which images
// containers need, and how the built-in image is made.

package cli

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/programs"
)

// inStore opens the store for an action.
func inStore(action func(*cli.Context, *image.Store) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		store, err := openStore()
		if err != nil {
			return err
		}
		return action(c, store)
	}
}

// openStore opens the user's store of images and tells it what it cannot know
// by itself: which images containers need, and how the built-in one is made.
func openStore() (*image.Store, error) {
	root, err := store.DefaultRoot()
	if err != nil {
		return nil, err
	}
	s, err := image.Open(root)
	if err != nil {
		return nil, err
	}
	set, err := containersOf(s.Root())
	if err != nil {
		return nil, err
	}
	s.Uses = client.Uses(set)
	p, _ := programs.Find(programs.Userland) // none: writeBase says so
	s.Builtin, s.BuiltinKey = builtin(root, p), p.Digest
	s.Warn = func(err error) { warn(err.Error()) }
	return s, nil
}

// baseName is the built-in image, in its familiar form.
const baseName = "tiffin/base:latest"

// builtin makes the layer of the built-in image: the program that it consists of writes it.
func builtin(root string, p programs.Program) image.BuiltinFunc {
	return func(name string) (io.ReadCloser, ocispec.ImageConfig, bool) {
		if name != baseName {
			return nil, ocispec.ImageConfig{}, false
		}
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeBase(w, root, p)) }()
		// /usr/bin, /sbin and /usr/sbin are links to /bin: to name them would only make "which ls"
		// answer something odd.
		return r, ocispec.ImageConfig{Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/bin:/bin"}}, true
	}
}

func writeBase(w io.Writer, root string, p programs.Program) error {
	if p.Size == 0 {
		_, err := programs.Find(programs.Userland)
		return err
	}
	f, err := p.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	// A descriptor, since the program may be in memory only.
	cmd := exec.Command("/proc/self/fd/3", "--layer")
	cmd.Args[0], cmd.ExtraFiles = p.Name, []*os.File{f}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = w, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("write the layer: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// UserlandCommand is the name main dispatches on for WriteUserland.
const UserlandCommand = "__userland"

// WriteUserland writes the program that tiffin/base consists of to standard output: labs make root
// file systems of it. It returns the exit status.
func WriteUserland() int {
	p, err := programs.Find(programs.Userland)
	if err == nil {
		_, err = p.WriteTo(os.Stdout)
	}
	if err != nil {
		printError(os.Stderr, err)
		return exitUsage
	}
	return 0
}
