// The commands tiffin system df, what takes room on the disk, and tiffin system prune, which frees
// what nobody uses.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

// systemTable has docker's words after "system".
var systemTable = []command{
	{"df", "show what takes room on the disk", dfCommand, plain},
	{"events", "tell what happens to containers, as it happens", eventsCommand, plain},
	{"info", "tell about the store and this machine", infoCommand, plain},
	{"prune", "delete containers that do not run, and what nobody uses", systemPruneCommand, plain},
}

func systemCommand() *cli.Command {
	return &cli.Command{ArgsUsage: "COMMAND", Description: listCommands(systemTable), Action: subcommand("system", systemCommand, systemTable)}
}

// dfRow is a kind of thing on the disk, with docker's columns.
type dfRow struct{ Type, TotalCount, Active, Size, Reclaimable string }

var dfHeader = dfRow{"TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"}

func dfCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-v] [--format TEMPLATE]",
		Description: "Bytes that the disk has given. A layer of several images counts once, and can be reclaimed if no container needs one of them.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "each image, container, volume and layer of a build by itself"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(0, 0, "no arguments", inStore(func(c *cli.Context, store *image.Store) error {
			if c.Bool("verbose") {
				return dfVerbose(store, c.String("format"))
			}
			var rows []*dfRow
			var damaged []error
			for _, measure := range []func(*image.Store) (*room, error){imageRoom, containerRoom, volumeRoom, buildRoom} {
				r, err := measure(store)
				damaged = append(damaged, err)
				rows = append(rows, r.row())
			}
			err := printRows(stdout, c.String("format"), "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}", &dfHeader, rows)
			return errors.Join(append(damaged, err)...)
		})),
	}
}

// room is what things of a kind take, in bytes of disk.
type room struct {
	kind          string
	total, active int
	bytes, free   int64
}

func (r *room) row() *dfRow {
	free := size(r.free)
	if r.bytes > 0 {
		free += fmt.Sprintf(" (%d%%)", r.free*100/r.bytes)
	}
	return &dfRow{r.kind, fmt.Sprint(r.total), fmt.Sprint(r.active), size(r.bytes), free}
}

// imageRoom measures the layers of all images, once each, in whatever form they are here, and what
// was unpacked of them.
func imageRoom(store *image.Store) (*room, error) {
	r := &room{kind: "Images"}
	imgs, err := store.List()
	uses, e := store.Uses()
	err = errors.Join(err, e)
	used, chains := map[string]bool{}, map[string]bool{}
	for _, img := range imgs {
		active := uses[img.ID]
		r.total++
		if active {
			r.active++
		}
		for _, path := range imagePaths(store, img) {
			used[path] = used[path] || active
		}
		chain := image.Chain(img.Layers).Encoded()
		chains[chain] = chains[chain] || active
	}
	for path, active := range used {
		r.add(active, path)
	}
	trees, e := client.TreesUsage(store.Root())
	for chain, bytes := range trees {
		r.bytes += bytes
		if !chains[chain] {
			r.free += bytes
		}
	}
	return r, errors.Join(err, e)
}

// imagePaths are where the layers of an image are, each once, in whatever form.
func imagePaths(store *image.Store, img *image.Image) (paths []string) {
	for _, l := range img.Layers {
		paths = append(paths, store.BlobPath(l.Digest), store.LayerDir(l.DiffID))
		if img.Lazy() != "" {
			paths = append(paths, filepath.Join(img.Lazy(), l.DiffID.Encoded()))
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// buildRoom measures the layers that builds have made and no image has.
func buildRoom(store *image.Store) (*room, error) {
	r := &room{kind: "Build Cache"}
	imgs, _ := store.List() // imageRoom has said what is damaged
	named := map[oci.Layer]bool{}
	for _, img := range imgs {
		for _, l := range img.Layers {
			named[l] = true
		}
	}
	steps, err := store.Builds()
	for _, s := range steps {
		r.total++
		if named[s.Layer] {
			r.active++
		} else {
			r.add(false, store.BlobPath(s.Layer.Digest), store.LayerDir(s.Layer.DiffID))
		}
	}
	return r, err
}

// containerRoom measures what containers have changed and printed.
func containerRoom(store *image.Store) (*room, error) {
	r := &room{kind: "Containers"}
	set, err := containersOf(store.Root())
	if err != nil {
		return r, err
	}
	all, err := set.All()
	for _, c := range all {
		s, e := c.State()
		err = errors.Join(err, e)
		running := s.Status == disk.Running
		r.total++
		if running {
			r.active++
		}
		r.add(running, c.Dir())
	}
	return r, err
}

// volumeRoom measures what is in volumes.
func volumeRoom(store *image.Store) (*room, error) {
	r := &room{kind: "Local Volumes"}
	set, err := containersOf(store.Root())
	if err != nil {
		return r, err
	}
	all, err := set.Volumes()
	users, e := set.VolumeUsers()
	for _, v := range all {
		active := len(users[v.Name]) > 0
		r.total++
		if active {
			r.active++
		}
		r.add(active, set.VolumeData(v.Name))
	}
	return r, errors.Join(err, e)
}

// add measures files and trees; what is not there, and what only a container may enter, is nothing.
func (r *room) add(active bool, paths ...string) {
	for _, path := range paths {
		_ = filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil && unix.Lstat(path, &st) == nil {
				bytes := st.Blocks * 512 / int64(max(st.Nlink, 1)) // blocks of 512 bytes: inode(7)
				r.bytes += bytes
				if !active {
					r.free += bytes
				}
			}
			return nil
		})
	}
}

func systemPruneCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-a] [-f]",
		Description: "Deletes the containers that do not run, the networks that no container joins, the images without a name, and the layers of `tiffin build`.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "every image that no container needs"},
			&cli.BoolFlag{Name: "volumes", Usage: "the volumes without a name that no container has then"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not ask"},
			&cli.StringSliceFlag{Name: "filter", Usage: "only with `KEY=VALUE`: until, label"},
		},
		Action: takes(0, 0, "no arguments", inStore(func(c *cli.Context, store *image.Store) error {
			what := "all images without a name"
			if c.Bool("all") {
				what = "all images that no container needs then"
			}
			if c.Bool("volumes") {
				what += ",\nall volumes without a name"
			}
			if !c.Bool("force") && !confirm("This deletes all containers that do not run, all networks that none joins, "+what+",\nand the layers of builds. Continue? [y/N] ") {
				return nil
			}
			err := pruneContainers(c.StringSlice("filter"))
			if len(c.StringSlice("filter")) == 0 {
				err = errors.Join(err, pruneNetworks())
			}
			if c.Bool("volumes") {
				err = errors.Join(err, pruneVolumes(false, nil))
			}
			return errors.Join(err, pruneImages(c, store, true))
		})),
	}
}

// pruneContainers deletes the containers that do not run, and prints their ids.
func pruneContainers(filters []string) error {
	set, err := containers()
	if err != nil {
		return err
	}
	f, err := parsePsFilters(filters)
	if err != nil {
		return err
	}
	client.Sweep(set)
	all, err := set.All()
	for _, ctr := range all {
		s, e := ctr.State()
		if e == nil && s.Status != disk.Running && f.match(ctr, s) {
			if e = client.Remove(ctr, false); e == nil {
				fmt.Fprintln(stdout, ctr.ID)
			}
		}
		if now, gone := ctr.State(); gone == nil && e != nil && now.Status != disk.Running { // or it was started meanwhile
			err = errors.Join(err, e)
		}
	}
	return err
}
