// What a container has changed, as a list and as an image, with the container held still
// meanwhile.

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// hold keeps the container's upper directory as it is until release is called.
// If the container runs, its supervisor has all data written and holds changes
// back; if not, it is locked, so that no command starts it.
// It returns where that directory is for this process.
func hold(c *disk.Container) (dir string, release func(), err error) {
	conn, err := dial(c)
	if err == nil {
		var ok *control.Message
		if ok, err = conn.Call(&control.Message{Op: control.OpFreeze}); err == nil {
			dir = c.UpperDir()
			if c.InMemory() && len(ok.Files) == 1 {
				dir = fmt.Sprintf("/proc/self/fd/%d/%s", ok.Files[0].Fd(), filepath.Base(dir))
			}
			return dir, func() { conn.Close(); ok.Close() }, nil
		}
		conn.Close()
	}
	if !errors.Is(err, ErrNotRunning) && !errors.Is(err, control.ErrGone) {
		return "", nil, err
	}
	lock, err := c.Lock()
	if err != nil {
		return "", nil, err
	}
	return c.UpperDir(), func() { lock.Close() }, nil
}

// changed calls f with the container's upper directory and what is below it,
// while nothing changes there.
func changed(c *disk.Container, store *image.Store, f func(*image.Image, delta) error) error {
	img, m, err := mountable(c, store)
	if err != nil {
		return err
	}
	return changedOn(c, m, func(d delta) error { return f(img, d) })
}

// WriteDiff calls use with a function that writes what the container, which runs on m, has changed,
// as a layer.
func WriteDiff(c *disk.Container, m *cache.Mountable, use func(write func(io.Writer) error) error) error {
	return changedOn(c, m, func(d delta) error { return use(d.WriteDiff) })
}

// changedOn is changed for a container that runs on m.
func changedOn(c *disk.Container, m *cache.Mountable, f func(delta) error) error {
	var (
		upper    *disk.Upper
		opened   *layer.Upper
		closeAll func()
	)
	err := mended(c, m, func(m *cache.Mountable) (err error) {
		upper = &disk.Upper{Dir: c.UpperDir(), Union: m.UnionPath, Flats: m.FlatPaths, Blocks: m.BlockPaths, Whole: c.Driver == disk.DriverCopy}
		opened, closeAll, err = upper.Open(nil)
		return err
	})
	if err != nil {
		return err
	}
	defer closeAll()
	dir, release, err := hold(c)
	if err != nil {
		return err
	}
	defer release()
	state, _ := c.ReadState() // now its supervisor has written down all it has made
	upper.Made = state.Made
	if c.Walled() {
		return f(kernelDelta{c, upper})
	}
	opened.Dir, opened.Skip = dir, upper.Skip()
	return f(ownDelta{opened})
}

// Changes lists what differs between the container and its image.
func Changes(c *disk.Container, store *image.Store) (list []layer.Change, err error) {
	err = changed(c, store, func(_ *image.Image, d delta) error {
		list, err = d.Changes()
		return err
	})
	return list, err
}

// Commit makes an image of the container: its image's layers and one more with
// the changes. It looks at the upper directory only, however large the image.
// The config is the image's with what the container was created with.
func Commit(ctx context.Context, c *disk.Container, store *image.Store, opt image.CommitOptions) (img *image.Image, err error) {
	if opt.CreatedBy == "" {
		opt.CreatedBy = strings.Join(c.Args(), " ")
	}
	if !c.Env.UTF8() || !c.Entrypoint.UTF8() || !c.Cmd.UTF8() {
		return nil, errs.Hint(fmt.Errorf("container %s has words in its command or environment that are not UTF-8, and an image's config can have nothing else", c.Name), "commit a container of another command; cp and export take its files")
	}
	edit := opt.Edit
	opt.Edit = func(cfg *dockerspec.DockerOCIImageConfig) error {
		describe(c, &cfg.ImageConfig)
		if edit == nil {
			return nil
		}
		return edit(cfg) // it wins over what the container says
	}
	err = changed(c, store, func(base *image.Image, d delta) error {
		if err := store.NeedsAll(base); err != nil {
			return err
		}
		img, err = store.CommitLayer(ctx, base, d.WriteDiff, opt)
		return err
	})
	return img, err
}

// describe writes into cfg what the container was created with.
func describe(c *disk.Container, cfg *ocispec.ImageConfig) {
	cfg.Env, cfg.Entrypoint, cfg.Cmd = c.Env, c.Entrypoint, c.Cmd
	cfg.WorkingDir, cfg.User = c.Config.Dir, c.User
	if c.StopSignal != "" {
		cfg.StopSignal = c.StopSignal
	}
	for k, v := range c.Labels {
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		cfg.Labels[k] = v
	}
}
