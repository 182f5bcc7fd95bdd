package container

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/layer"
)

// hold keeps the container's upper directory as it is until release is called:
// of a container that runs, its supervisor has all data written and holds
// changes back; one that does not is locked, so that nobody starts it.
func (c *Container) hold() (release func(), err error) {
	conn, err := c.dial()
	if err == nil {
		if _, err = conn.call(&message{Op: opFreeze}); err == nil {
			return func() { conn.Close() }, nil
		}
		conn.Close()
	}
	if !errors.Is(err, errNotRunning) && !errors.Is(err, errSupervisorGone) {
		return nil, err
	}
	lock, err := c.Lock()
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// changed calls f with the container's upper directory and what is below it,
// while nothing changes there.
func (c *Container) changed(store *image.Store, f func(*image.Image, delta) error) error {
	img, err := store.Resolve(c.ImageID.String())
	if err != nil {
		return fmt.Errorf("find the image of container %s: %w", c.Name, err)
	}
	m, err := store.Mountable(img)
	if err != nil {
		return err
	}
	index, err := c.openIndex(m.UnionPath)
	if err != nil {
		return err
	}
	defer index.Close()
	flats, closeFlats, err := openFlats(m.FlatPaths)
	if err != nil {
		return err
	}
	defer closeFlats()
	release, err := c.hold()
	if err != nil {
		return err
	}
	defer release()
	made := c.made()
	if c.overlay() {
		return f(img, kernelDelta{c, &insideRequest{Dir: c.path("upper"), Union: m.UnionPath, Flats: m.FlatPaths, Made: made}})
	}
	return f(img, ownDelta{&layer.Upper{Dir: c.path("upper"), Lower: index, Flats: flats, Skip: skipping(made)}})
}

// made lists the paths that were made for the container's own mounts.
func (c *Container) made() []string {
	s, _ := c.readState()
	return s.Made
}

// skipping is paths as layer.Upper wants them.
func skipping(paths []string) func(path string) bool {
	if len(paths) == 0 {
		return nil
	}
	set := make(map[string]bool, len(paths))
	for _, p := range paths {
		set[p] = true
	}
	return func(path string) bool { return set[path] }
}

// Changes lists what differs between the container and its image.
func (c *Container) Changes(store *image.Store) (list []layer.Change, err error) {
	err = c.changed(store, func(_ *image.Image, d delta) error {
		list, err = d.Changes()
		return err
	})
	return list, err
}

// Commit makes an image of the container: its image's layers and one more with
// the changes. It looks at the upper directory only, however large the image.
// The config is the image's with what the container was created with.
func (c *Container) Commit(ctx context.Context, store *image.Store, opt image.CommitOptions) (img *image.Image, err error) {
	if opt.CreatedBy == "" {
		opt.CreatedBy = strings.Join(c.Args(), " ")
	}
	// A mistake in them is found before anything is written.
	if err := image.ApplyChanges(new(ocispec.ImageConfig), opt.Changes); err != nil {
		return nil, err
	}
	changes := opt.Changes
	opt.Changes, opt.Edit = nil, func(cfg *ocispec.ImageConfig) {
		c.describe(cfg)
		_ = image.ApplyChanges(cfg, changes) // they win over what the container says
	}
	err = c.changed(store, func(base *image.Image, d delta) error {
		img, err = store.CommitLayer(ctx, base, d.WriteDiff, opt)
		return err
	})
	return img, err
}

// describe writes into cfg what the container was created with.
func (c *Container) describe(cfg *ocispec.ImageConfig) {
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
