// What pull --lazy does: an image can be run when the tables of contents of its layers are here.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/lazy"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/registry"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

// pullLazily makes the image ready to be run and leaves a program behind that fetches the rest. It
// reports false, and says why, if the image has to be pulled as a whole.
func pullLazily(c *cli.Context, s *image.Store, registries *registry.Client, ref reference.Reference, platform *oci.Platform, w io.Writer) (done bool, err error) {
	run, err := disk.RunRoot(s.Root())
	if err != nil {
		return false, err
	}
	if driver, why := client.PickDriver(run, false, false); driver != "" {
		fmt.Fprintf(stderr, "tiffin: note: %v, and --driver %s needs all of an image: so all of it is fetched first\n", why, driver)
		return false, nil
	}
	ctx, end := interruptible(c)
	defer end()
	from, err := registries.Remote(ctx, ref)
	if err != nil {
		return false, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	b, err := lazy.Begin(ctx, s, from, ref, platform, registries.Insecure)
	switch {
	case errors.Is(err, lazy.ErrHere):
		return false, nil
	case errors.Is(err, lazy.ErrNotLazy):
		fmt.Fprintf(stderr, "tiffin: note: %s: so all of the image is fetched first\n", printable(err.Error()))
		return false, nil
	case err != nil:
		return false, err
	}
	if err := lazy.Start(s.Root(), s.LazyDir(b.Manifest)); err != nil {
		return false, err
	}
	fmt.Fprintf(w, "Digest: %s\nStatus: %s can be run; the rest of %s comes in the background\n", b.Top, ref.Familiar(), size(b.Left))
	return true, nil
}

// FetchLazily is the main function of the program that fetches the rest of an image: args are the
// root of the store, and the digest of the manifest without its prefix. It has inherited the lock.
func FetchLazily(args []string) int {
	const lock = 3
	unix.CloseOnExec(lock)
	if len(args) != 2 {
		return 2
	}
	s, err := image.Open(args[0])
	if err != nil {
		return 1
	}
	manifest := digest.NewDigestFromEncoded(digest.SHA256, args[1])
	err = lazy.Fill(s, manifest, func(ctx context.Context, r reference.Reference, insecure bool) (transfer.Source, error) {
		rules, err := registry.LoadRegistries(func(string) {})
		if err != nil {
			return nil, err
		}
		return (&registry.Client{Insecure: insecure, Registries: rules}).Remote(ctx, r)
	})
	if err == nil || errors.Is(err, transfer.ErrForgotten) {
		return 0
	}
	if dir := s.LazyDir(manifest); store.Readable(dir) {
		_ = os.WriteFile(filepath.Join(dir, image.LazyTroubleName), []byte(err.Error()), 0o600)
	}
	return 1
}
