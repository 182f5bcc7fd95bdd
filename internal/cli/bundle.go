// The command tiffin bundle: an image or a container becomes a directory that runc and crun run.

package cli

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/build"
	"tiffin/internal/bundle"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

func bundleCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "IMAGE|CONTAINER DIR\n       tiffin bundle --serve IMAGE|CONTAINER DIR -- COMMAND [ARGUMENT…]",
		Description: "DIR, which must not exist, gets config.json, by the OCI runtime specification, and rootfs, unpacked. Runtimes\n" +
			"that need no root run it with the rights that tiffin gives: runc run --bundle DIR NAME, or crun. For other flags\n" +
			"than an image's own, `tiffin create` a container first. What a bundle has no place for is told. The files have the\n" +
			"owners of your user namespace: `tiffin bundle --rm DIR` removes such a directory.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "rm", Usage: "remove the bundle DIR, also files in it that are not yours"},
			&cli.BoolFlag{Name: "serve", Usage: "unpack nothing: COMMAND, a runtime, finds the files in DIR/rootfs; what it changes in those of an image is not kept"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("serve") {
				if c.Bool("rm") {
					return usagef("--serve removes the bundle when COMMAND is over: it does not go with --rm")
				}
				if err := wantArgs(c, 3, -1, "an image or a container, a directory, and a command behind --"); err != nil {
					return err
				}
				return inStore(serveBundle)(c)
			}
			if c.Bool("rm") {
				if err := wantArgs(c, 1, 1, "a directory"); err != nil {
					return err
				}
				dir := c.Args().First()
				if err := wholly(dir); err != nil { // all else stays, whatever is asked for
					return errs.Hint(fmt.Errorf("%s is no bundle: %w", dir, err), "--rm removes what `tiffin bundle` has made, if nothing else is in it")
				}
				return removeBundle(dir)
			}
			if err := wantArgs(c, 2, 2, "an image or a container, and a directory"); err != nil {
				return err
			}
			return makeBundle(c, c.Args().Get(0), c.Args().Get(1))
		},
	}
}

// bundled is what a bundle is made of: a configuration, and a tarball of all files.
type bundled struct {
	cfg   *disk.Config
	write func(io.Writer) error
	close func()

	devices int            // device nodes that were left out
	owners  map[[2]int]int // by user and group id, the number of files that were not
}

// left tells what of the files a bundle does not have.
func (b *bundled) left(ids ns.IDMap) (all []string) {
	if b.devices > 0 {
		all = append(all, fmt.Sprintf("device nodes (%d): only the real root can make them on a disk, mknod(2)", b.devices))
	}
	strangers := 0
	for owner, files := range b.owners {
		if uid, gid := uint32(owner[0]), uint32(owner[1]); ids.MapUID(uid) != uid || ids.MapGID(gid) != gid {
			strangers += files
		}
	}
	if strangers > 0 && !ids.Single() {
		all = append(all, fmt.Sprintf("owners whose ids your user namespace does not have: root has their files (%d)", strangers))
	}
	return all
}

func makeBundle(c *cli.Context, name, dir string) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	from, err := bundleOf(c, store, name)
	if err != nil {
		return err
	}
	defer from.close()
	if err := newBundle(name, dir, from.cfg); err != nil {
		return err
	}
	ids, groups, err := fillBundle(store.Root(), dir, from)
	if err != nil {
		if e := removeBundle(dir); e != nil {
			err = errs.Hint(err, "a part of it is left in "+dir)
		}
		return fmt.Errorf("make the bundle %s: %w", dir, err)
	}
	tellLeft(append(from.left(ids), bundle.Left(from.cfg, ids, groups)...))
	return nil
}

// newBundle makes the directory of a bundle.
func newBundle(name, dir string, cfg *disk.Config) error {
	if cfg.KeepID != "" {
		return fmt.Errorf("container %s has --userns keep-id, for which tiffin renames ids in a way that config.json has no words for", name)
	}
	// A set-user-ID program in it is the user's, whom nobody else shall become.
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return errs.Hint(fmt.Errorf("%s is there already", dir), "a bundle is a new directory: name another, or remove this one")
		}
		return fmt.Errorf("make the bundle: %w", err)
	}
	return nil
}

// tellLeft tells what of a container is not in its bundle.
func tellLeft(all []string) {
	for _, what := range all {
		fmt.Fprintf(stderr, "tiffin: note: not in the bundle: %s\n", what)
	}
}

// bundleOf finds a container, or else an image, which is fetched if it is not here.
func bundleOf(c *cli.Context, store *image.Store, name string) (*bundled, error) {
	ctr, err := findContainer(name)
	if err == nil {
		tree, err := client.OpenTree(ctr, store)
		if err != nil {
			return nil, err
		}
		return &bundled{cfg: &ctr.Config, write: func(w io.Writer) error { return tree.Pack(w, "/", ".", false) }, close: tree.Close}, nil
	}
	if !errors.Is(err, disk.ErrNotFound) {
		return nil, err
	}
	var cfg disk.Config
	var img *image.Image
	cmd := createCommand()
	cmd.Action = func(c *cli.Context) (err error) {
		if img, err = imageToRun(c, store); err == nil {
			err = store.NeedsAll(img)
		}
		if err == nil {
			cfg, err = newConfig(c, img)
		}
		return err
	}
	if err := typed(cmd, []string{"--", name}); err != nil {
		if img != nil && len(img.Config.Config.Entrypoint)+len(img.Config.Config.Cmd) == 0 {
			err = errs.Hint(err, "`tiffin create` a container with one, and make the bundle of that")
		}
		return nil, err
	}
	cfg.Hostname = "tiffin"
	// An image's VOLUME is a directory of it, until a container has one.
	cfg.Volumes = slices.DeleteFunc(cfg.Volumes, func(v disk.Volume) bool { return v.Anonymous })
	return &bundled{cfg: &cfg, write: func(w io.Writer) error { return build.WriteFiles(w, store, img) }, close: func() {}}, nil
}

// fillBundle writes all of a bundle, and returns the ids of its user namespace, and the groups of
// its user if that is what starts it.
func fillBundle(root, dir string, from *bundled) (ids ns.IDMap, groups []uint32, err error) {
	rootfs := filepath.Join(dir, "rootfs")
	if err = layOut(dir); err != nil {
		return ids, nil, err
	}
	at, err := os.Open(rootfs)
	if err != nil {
		return ids, nil, err
	}
	defer at.Close()
	r, w := io.Pipe()
	go func() { w.CloseWithError(from.withoutDevices(w)) }()
	ids, err = client.Unpack(from.cfg, root, at, r)
	r.CloseWithError(errors.New("it is not needed any more"))
	if err != nil {
		return ids, nil, err
	}
	rootless := os.Geteuid() != 0
	groups, err = describe(dir, from.cfg, ids, rootless, ns.FilesBelow(rootfs))
	if !rootless {
		groups = nil
	}
	return ids, groups, err
}

// describe writes all of a bundle but the files of the image, of which open opens some. It returns
// the groups of the user besides the first.
func describe(dir string, cfg *disk.Config, ids ns.IDMap, user bool, open func(path string) (io.ReadCloser, error)) ([]uint32, error) {
	plan := cfg.Plan(ids)
	files := bundle.Files(plan)
	for _, f := range plan.Files {
		if err := os.WriteFile(filepath.Join(dir, files[f.Target]), []byte(f.Content), 0o644); err != nil {
			return nil, err
		}
	}
	spec, err := bundle.Config(cfg, ids, user, open, files)
	if err != nil {
		return nil, err
	}
	return spec.Process.User.AdditionalGids, writeSpec(dir, spec)
}

// layOut makes the parts of a bundle, empty. Until it has a config.json, no runtime takes it for
// one; removeBundle does.
func layOut(dir string) error {
	return errors.Join(os.Mkdir(filepath.Join(dir, "rootfs"), 0o755), os.Mkdir(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, unfinished), nil, 0o644))
}

// writeSpec writes config.json, which makes a bundle of the directory.
func writeSpec(dir string, spec *specs.Spec) error {
	text, err := json.MarshalIndent(spec, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, unfinished), append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, unfinished), filepath.Join(dir, "config.json"))
	}
	return err
}

// withoutDevices leaves device nodes out, which only the real root can make. A runtime makes those
// of /dev itself: OCI runtime-spec v1.3 config-linux.md, "Default Devices".
func (b *bundled) withoutDevices(w io.Writer) error {
	b.devices, b.owners = 0, map[[2]int]int{}
	left := map[string]bool{} // names of nodes
	r, all := io.Pipe()
	go func() { all.CloseWithError(b.write(all)) }()
	defer r.CloseWithError(io.ErrClosedPipe)
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return out.Close()
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			b.devices++
			left[path.Clean(h.Name)] = true
			continue
		}
		switch {
		case h.Typeflag != tar.TypeLink: // that is a further name of a file
			b.owners[[2]int{h.Uid, h.Gid}]++
		case left[path.Clean(h.Linkname)]:
			continue
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}
