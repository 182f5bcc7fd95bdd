// The command tiffin create: a container is made and not started. run makes its container here,
// too.

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/reference"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func createCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] IMAGE [COMMAND [ARGUMENT…]]",
		Flags:     createFlags(),
		Action: takes(1, -1, "an image", func(c *cli.Context) error {
			ctr, err := createOnly(c)
			if err == nil {
				fmt.Fprintln(stdout, ctr.ID)
			}
			return err
		}),
	}
}

// createOnly makes the container that the flags describe, and leaves it alone.
func createOnly(c *cli.Context) (*disk.Container, error) {
	ctr, lock, _, err := createContainer(c, false, true)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return ctr, ctr.Commission(nil)
}

// createContainer makes the container that the flags describe, to run in the foreground or not, now
// or later. The caller has its lock.
func createContainer(c *cli.Context, foreground, later bool) (ctr *disk.Container, lock *os.File, m *cache.Mountable, err error) {
	if file := c.String("cidfile"); file != "" {
		id, e := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(e, os.ErrExist) {
			return nil, nil, nil, errs.Hint(fmt.Errorf("--cidfile %s is there already", file), "if the container of that id is not needed any more, delete the file")
		} else if e != nil {
			return nil, nil, nil, fmt.Errorf("--cidfile: %w", e)
		}
		defer func() {
			if err == nil {
				_, err = id.WriteString(ctr.ID)
			}
			if err = errors.Join(err, id.Close()); err != nil {
				os.Remove(file)
			}
		}()
	}
	store, err := openStore()
	if err != nil {
		return nil, nil, nil, err
	}
	img, err := imageToRun(c, store)
	if err != nil {
		return nil, nil, nil, err
	}
	cfg, err := newConfig(c, img)
	if err == nil {
		err = setHealth(&cfg, c, store, img)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if foreground && tied(c) && !c.IsSet("log-driver") {
		// What it prints is seen here, and it is deleted at the end: a log would only slow
		// down what is piped through it, to a tenth of the speed.
		cfg.NoLog = true
	}
	if driverFlag(c) == "" {
		run, err := disk.RunRoot(store.Root())
		if err != nil {
			return nil, nil, nil, err
		}
		var why error
		cfg.Driver, why = client.PickDriver(run, cfg.SingleID, later)
		switch {
		case why != nil && cfg.Upper != "":
			return nil, nil, nil, fmt.Errorf("--upper tmpfs needs --driver fuse: %w", why)
		case why != nil:
			noteDriver(cfg.Driver, why)
		}
	}
	if cfg.Driver != "" { // others than fuse unpack what is here
		if err := store.NeedsAll(img); err != nil {
			return nil, nil, nil, err
		}
	}
	if slices.ContainsFunc(cfg.Volumes, isAnonymous) || cfg.KeepID != "" && cfg.User == cfg.KeepID {
		// Of both the image's files decide. If their index is damaged, this mends it, which
		// nobody can who holds the image.
		if _, err := store.Stack(img); err != nil {
			return nil, nil, nil, err
		}
	}
	m, release, err := holdImage(store, img)
	if err != nil {
		return nil, nil, nil, err
	}
	defer release()
	if err := leaveOutLinks(&cfg, m); err != nil {
		return nil, nil, nil, err
	}
	if cfg.KeepID != "" && cfg.User == cfg.KeepID {
		if err := nameMe(&cfg, m); err != nil {
			return nil, nil, nil, err
		}
	}
	set, err := containersOf(store.Root())
	if err != nil {
		return nil, nil, nil, err
	}
	if c.Bool("replace") {
		if err := removeNamed(set, cfg.Name); err != nil {
			return nil, nil, nil, err
		}
	}
	ctr, lock, err = set.Create(cfg)
	return ctr, lock, m, err
}

// holdImage finds what a file system needs of an image. Until release is called, rmi waits: then
// the container's directory is there.
func holdImage(store *image.Store, img *image.Image) (m *cache.Mountable, release func(), err error) {
	for {
		if m, err = store.Mountable(img); err != nil {
			return nil, nil, err
		}
		if release, err = store.Hold(); err != nil {
			return nil, nil, err
		}
		if _, err := os.Stat(m.UnionPath); err == nil {
			return m, release, nil
		}
		release()
		if m.Lazy == "" {
			return nil, nil, fmt.Errorf("image %s was removed just now", reference.Short(img.ID))
		}
		if img, err = store.Resolve(img.ID.String()); err != nil { // all of it has come just now
			return nil, nil, err
		}
	}
}

// removeNamed deletes the container that has a name, if there is one.
func removeNamed(set *disk.Set, name string) error {
	if name == "" {
		return errs.Hint(errors.New("--replace wants the name of the container"), "add --name NAME")
	}
	old, err := set.Find(name)
	if errors.Is(err, disk.ErrNotFound) || err == nil && old.Name != name { // a part of an id
		return nil
	}
	if err != nil {
		return err
	}
	return client.Remove(old, true)
}

// isAnonymous tells whether a volume is to be made for this container.
func isAnonymous(v disk.Volume) bool { return v.Anonymous && v.Name == "" }

// leaveOutLinks leaves out anonymous volumes at a path that is a link of the image's to what is the
// kernel's.
func leaveOutLinks(cfg *disk.Config, m *cache.Mountable) error {
	if !slices.ContainsFunc(cfg.Volumes, isAnonymous) {
		return nil
	}
	index, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		return err
	}
	cfg.Volumes = slices.DeleteFunc(cfg.Volumes, func(v disk.Volume) bool {
		_, real, _ := index.Follow(v.Target)
		bad := isAnonymous(v) && ofKernel(real)
		if bad {
			fmt.Fprintf(stderr, "tiffin: note: volume %q is left out: in the image it leads to %s\n", v.Target, oneLine(real, true))
		}
		return bad
	})
	return nil
}

// noteDriver says which driver a container gets instead of those that do not work.
func noteDriver(driver string, why error) {
	fmt.Fprintf(stderr, "tiffin: note: %v: --driver %s is used\n", why, driver)
}
