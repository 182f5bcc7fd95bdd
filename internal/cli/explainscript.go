// The command tiffin explain: what a run would do, as a table or as a shell script that does the
// same by hand.

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// scriptFlags are the flags of run that a script can carry out.
var scriptFlags = []string{"env", "env-file", "env-host", "workdir", "user", "volume", "mount", "tmpfs", "cap-add", "cap-drop", "security-opt", "ulimit", "shm-size", "ipc", "hostname", "domainname", "add-host", "dns", "dns-search", "dns-option", "entrypoint", "read-only", "network",
	"driver", "userns", "without", "pull", "platform", "tls-verify"}

func explainCommand() *cli.Command {
	flags := []cli.Flag{&cli.BoolFlag{Name: "script", Usage: "print a shell script that does the same by hand, with util-linux and overlayfs"}}
	for _, f := range createFlags() {
		if slices.Contains(scriptFlags, f.Names()[0]) {
			flags = append(flags, f)
		}
	}
	return &cli.Command{
		ArgsUsage: "--script [FLAGS] IMAGE [COMMAND [ARGUMENT…]]",
		Description: "Try it: tiffin explain --script tiffin/base ls -l / > by-hand.sh; less by-hand.sh; sh by-hand.sh\n" +
			"The script is for you and this machine: it has your subordinate ids in it, and reads the image's\n" +
			"tarballs where they are. What it cannot do is said in it. `tiffin run --explain` tells of the same\n" +
			"steps as they happen.",
		Flags: flags,
		Action: func(c *cli.Context) error {
			if !c.Bool("script") {
				return errs.Hint(usagef("expected --script"), "`tiffin run --explain IMAGE` tells each step of a start as it happens")
			}
			if err := wantArgs(c, 1, -1, "an image"); err != nil {
				return err
			}
			return printScript(c)
		},
	}
}

// printScript prints the script without making a container: it finds out what run would build, and
// which tarballs that needs.
func printScript(c *cli.Context) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	img, err := imageToRun(c, store)
	if err == nil {
		err = store.NeedsAll(img)
	}
	if err != nil {
		return err
	}
	cfg, err := newConfig(c, img)
	if err != nil {
		return err
	}
	if cfg.Shares() != "" || len(cfg.Networks) > 0 {
		return errors.New("a script cannot share a network with containers of tiffin's: it knows nothing of their processes")
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "by-hand"
	}
	if err := volumesOfScript(&cfg); err != nil {
		return err
	}
	m, err := store.Mountable(img)
	if err != nil {
		return err
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	ids := ns.LikelyIDs(uid, gid)
	if cfg.SingleID {
		ids = ns.IDMap{UIDs: ids.UIDs[:1], GIDs: ids.GIDs[:1]}
	}
	if ids.Single() && !cfg.IsRoot() {
		return errs.Hint(fmt.Errorf("a script cannot be user %s: there is one id, and mount(8) wants it to be root's", cfg.User),
			"`tiffin run --explain` tells of the steps as that user")
	}
	script := &ns.Script{
		Spec: cfg.Plan(ids), Layers: m.FlatPaths,
		Title: "tiffin run " + strings.Join(append([]string{cfg.Image}, cfg.Args()...), " "),
	}
	script.Spec.Root.FUSE = new(ns.FUSEMount)
	if cfg.Overlaid() {
		script.Spec.Root.Overlay = new(ns.OverlayMount)
	}
	_, err = fmt.Fprint(stdout, script)
	return err
}

// volumesOfScript finds the directories of volumes with names. Without a volume of its own, a
// script's container keeps what is written there for as long as it has the rest.
func volumesOfScript(cfg *disk.Config) error {
	set, err := containers()
	if err != nil {
		return err
	}
	cfg.Volumes = slices.DeleteFunc(cfg.Volumes, func(v disk.Volume) bool { return v.Anonymous && v.Name == "" })
	for i := range cfg.Volumes {
		v := &cfg.Volumes[i]
		if v.Name == "" {
			continue
		}
		if _, err := set.Volume(v.Name); err != nil {
			return errs.Hint(err, "a script makes no volumes: `tiffin volume create "+v.Name+"`")
		}
		v.Source = set.VolumeData(v.Name)
	}
	return nil
}
