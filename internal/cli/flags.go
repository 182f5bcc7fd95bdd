// The flags of run and create that describe a container, and how they are merged with the image's
// config into a container's.

package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/compose"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/kube"
	"tiffin/internal/network"
	"tiffin/ns"
)

// createFlags are the flags that describe a container, the same for run and
// create; those of docker that mean something here.
func createFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "keep standard input open"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the command a terminal"},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the container, instead of a made-up one"},
		&cli.BoolFlag{Name: "replace", Usage: "delete the container that has the --name, running or not"},
		&cli.StringFlag{Name: "cidfile", Usage: "write the container's id to `FILE`, which must not be there"},
		&cli.BoolFlag{Name: "rm", Usage: "delete the container when it ends"},
		restartFlag(),
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `VAR=VALUE`, or hand on VAR from here"},
		&cli.StringSliceFlag{Name: "env-file", Usage: "set what `FILE` says, one VAR=VALUE a line"},
		envHostFlag(),
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`; it is made if missing"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`, names or numbers of the image"},
		&cli.StringSliceFlag{Name: "device", Usage: "a device of this machine, or all below a directory: `PATH[:PATH]`; its owner and mode say who may open it; or VENDOR/CLASS=NAME"},
		&cli.StringFlag{Name: "gpus", Usage: "`all` graphics processors that specification files of the Container Device Interface name, or none"},
		&cli.StringSliceFlag{Name: "cdi-spec-dir", Usage: "the specification files are in `DIR`, instead of /etc/cdi and /var/run/cdi"},
		&cli.StringFlag{Name: "hostname", Aliases: []string{"h"}, Usage: "`NAME` of the machine as the container sees it"},
		&cli.StringFlag{Name: "entrypoint", Usage: "run `COMMAND` with the arguments, instead of the image's"},
		&cli.BoolFlag{Name: "read-only", Usage: "nothing in the image can be changed"},
		&cli.StringFlag{Name: "upper", Usage: "with --rm, changes are kept in memory: `tmpfs`, or tmpfs:OPTIONS such as tmpfs:size=64m"},
		&cli.StringSliceFlag{Name: "network", Aliases: []string{"net"}, Usage: "`user` (its own, with a way out, and the default; user:host-loopback: also to this machine's loopback), none (only itself), pasta or slirp4netns (as user, but by these programs), host (that of this machine), container:NAME (that of another container), or the name of a network, several times if need be; or name=NAME,alias=NAME,ip=IP"},
		&cli.BoolFlag{Name: "init", Usage: "run a small init as process 1 that reaps and forwards signals"},
		&cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "note `KEY=VALUE` about the container"},
		&cli.StringFlag{Name: "stop-signal", Usage: "`SIGNAL` that stop sends first"},
		&cli.IntFlag{Name: "stop-timeout", Usage: "`SECONDS` that stop waits before it kills"},
		&cli.StringFlag{Name: "log-driver", Value: "json-file", Usage: "`json-file`, or none: keep no log, as with --rm in the foreground"},
		&cli.StringSliceFlag{Name: "log-opt", Usage: "max-size=`SIZE` of a file of the log (64m), max-file=N files (2), labels=KEY,… or env=VAR,… for logs --details"},
		&cli.StringFlag{Name: "driver", Usage: "who merges the layers with what is written: `fuse` (tiffin), overlay (the kernel), unpacked (the kernel, over files unpacked once), copy (all unpacked); the first that works"},
		&cli.StringFlag{Name: "userns", Usage: "`auto`; single: only one user id, yours, even if there are subordinate ones; keep-id[:uid=U,gid=G]: you are yourself, or U, inside"},
		&cli.StringFlag{Name: "root-emulation", Value: "auto", Usage: "pretend that root can be other users, and give files to them, and remember it: `on`, off, full: stat(2) shows owners too, and is slow; or auto, where one user id is mapped"},
		&cli.StringSliceFlag{Name: "without", Usage: "leave `STEP,…` of the start out, to see what it is for: pid, net, user-map, mount, seccomp, caps, …"},
		&cli.StringFlag{Name: "pull", Value: pullMissing, Usage: "fetch the image from its registry: `always`, missing (if it is not here) or never"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not show how the image is fetched"},
		platformFlag(), tlsFlag(), limitsByFlag(),
	}, slices.Concat(volumeFlags(), limitFlags(), rightsFlags(), nameFlags(), portFlags(), healthFlags())...)
}

// newConfig merges an image's config and the flags into a container's.
func newConfig(c *cli.Context, img *image.Image) (disk.Config, error) {
	if err := onlyText(c); err != nil {
		return disk.Config{}, err
	}
	ic := img.Config.Config
	cfg := disk.Config{
		Name: c.String("name"), Image: c.Args().First(), ImageID: string(img.ID),
		Dir: ic.WorkingDir, User: ic.User, StopSignal: ic.StopSignal,
		TTY: c.Bool("tty"), Stdin: c.Bool("interactive"), Hostname: c.String("hostname"),
		ReadOnly: c.Bool("read-only"), Upper: c.String("upper"), Init: c.Bool("init"), AutoRemove: c.Bool("rm"),
	}
	if err := setCommand(&cfg, c, ic); err != nil {
		return cfg, err
	}
	if c.IsSet("workdir") {
		if cfg.Dir = c.String("workdir"); !filepath.IsAbs(cfg.Dir) {
			return cfg, fmt.Errorf("working directory %q is not an absolute path", cfg.Dir)
		}
	}
	if c.IsSet("user") {
		cfg.User = c.String("user")
	}
	if c.IsSet("stop-signal") {
		cfg.StopSignal = c.String("stop-signal")
		if _, err := disk.ParseSignal(cfg.StopSignal); err != nil {
			return cfg, err
		}
	}
	var err error
	if cfg.Restart, err = disk.ParseRestart(c.String("restart")); err != nil {
		return cfg, err
	}
	if cfg.Restart.Policy != "" && cfg.AutoRemove {
		return cfg, errors.New("--restart and --rm contradict each other")
	}
	if c.IsSet("stop-timeout") {
		n := c.Int("stop-timeout")
		cfg.StopTimeout = &n
	}
	for _, set := range []func(*disk.Config, *cli.Context, ocispec.ImageConfig) error{setEnv, setVolumes, setDevices, setNames, setWorld, setPorts, setRights, setLimits, setWithout, setLabels} {
		if err := set(&cfg, c, ic); err != nil {
			return cfg, err
		}
	}
	kind, _, _ := strings.Cut(cfg.Upper, ":")
	switch {
	case cfg.Upper == "":
	case kind != disk.UpperTmpfs:
		return cfg, errs.Hint(fmt.Errorf("--upper %q is neither tmpfs nor tmpfs:OPTIONS", cfg.Upper), "such as tmpfs:size=64m; without --upper, changes are kept on disk")
	case !cfg.AutoRemove:
		return cfg, errs.Hint(errors.New("--upper tmpfs keeps changes only as long as the container runs"), "add --rm")
	case cfg.Walled():
		return cfg, fmt.Errorf("--upper tmpfs needs --driver fuse, not %s", cfg.Driver)
	}
	return cfg, nil
}

// onlyText refuses flags that are not UTF-8, but for those of the environment and the command: a
// container's configuration is JSON.
func onlyText(c *cli.Context) error {
	for _, name := range c.FlagNames() {
		if name == "env" || name == "entrypoint" {
			continue
		}
		for _, v := range append(c.StringSlice(name), c.String(name)) {
			if !utf8.ValidString(v) {
				return fmt.Errorf("--%s %q is not UTF-8, and a container's configuration can have nothing else", name, v)
			}
		}
	}
	return nil
}

// setCommand finds out what to run: docker-run(1), ENTRYPOINT and COMMAND.
func setCommand(cfg *disk.Config, c *cli.Context, ic ocispec.ImageConfig) error {
	cfg.Entrypoint, cfg.Cmd = ic.Entrypoint, ic.Cmd
	if c.IsSet("entrypoint") {
		// The image's arguments are for the image's entrypoint.
		cfg.Entrypoint, cfg.Cmd = nil, nil
		if e := c.String("entrypoint"); e != "" {
			cfg.Entrypoint = []string{e}
		}
	}
	if args := c.Args().Tail(); len(args) > 0 {
		cfg.Cmd = args
	}
	if len(cfg.Args()) == 0 || cfg.Args()[0] == "" {
		return errs.Hint(fmt.Errorf("no command to run: image %s has none", c.Args().First()), "write one after the image's name")
	}
	return nil
}

func setEnv(cfg *disk.Config, c *cli.Context, ic ocispec.ImageConfig) error {
	s, err := readSettings()
	if err != nil {
		return err
	}
	usual, err := environment(s.Run.Env, nil)
	if err != nil {
		return err
	}
	env, err := givenEnvironment(c)
	cfg.Env = disk.MergeEnv(disk.MergeEnv(ic.Env, usual), env)
	return err
}

// setWorld checks what is about the machine the container sees.
func setWorld(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	choice, err := chooseNetwork(cfg, c)
	if err != nil {
		return err
	}
	for _, flag := range []string{"network-alias", "ip", "ip6"} {
		if c.IsSet(flag) && (choice.Kind != network.Named || len(cfg.Networks) > 1) {
			return errs.Hint(fmt.Errorf("--%s is for one network with a name", flag), "`tiffin network create NAME`, then --network NAME; with several, --network name=NAME,alias=NAME,ip=IP")
		}
	}
	switch choice.Kind {
	case network.Container:
		if err := shareNetwork(cfg, c); err != nil {
			return err
		}
	case network.Named:
		if err := joinNetwork(cfg, c, choice.Name); err != nil {
			return err
		}
	case network.Host:
		if name, err := os.Hostname(); cfg.Hostname == "" && err == nil && disk.ValidHostname(name) {
			cfg.Hostname = name
		}
	}
	if cfg.Hostname != "" && !disk.ValidHostname(cfg.Hostname) {
		return errs.Hint(fmt.Errorf("%q is no host name", cfg.Hostname), "use letters, digits and hyphens, with dots between parts; 64 bytes at most")
	}
	switch d := c.String("log-driver"); d {
	case "json-file", "": // no such flag: nothing is going to run
	case "none":
		cfg.NoLog = true
	default:
		return fmt.Errorf("log driver %q is not there; use json-file or none", d)
	}
	for _, o := range c.StringSlice("log-opt") {
		if err := setLogOption(&cfg.Log, o); err != nil {
			return err
		}
	}
	if cfg.Driver, err = disk.ParseDriver(driverFlag(c)); err != nil {
		return err
	}
	u := c.String("userns")
	words, keep := strings.CutPrefix(u, "keep-id")
	switch {
	case u == "" || u == "auto":
	case u == "single":
		cfg.SingleID = true
	case keep:
		if cfg.KeepID, err = keepID(words); err != nil {
			return err
		}
		if !c.IsSet("user") {
			cfg.User = cfg.KeepID
		}
	default:
		return fmt.Errorf("--userns %q is neither auto nor single nor keep-id", u)
	}
	switch e := c.String("root-emulation"); e {
	case "", "auto":
	case disk.EmulationOn, disk.EmulationOff, disk.EmulationFull:
		cfg.Emulation = e
	default:
		return fmt.Errorf("--root-emulation %q is none of auto, on, full and off", e)
	}
	return nil
}

// driverFlag is what --driver says, or the settings; "" = the first that works.
func driverFlag(c *cli.Context) string {
	if c.IsSet("driver") {
		return c.String("driver")
	}
	s, _ := readSettings() // setEnv has found what is wrong with them
	return s.Run.Driver
}

// chooseNetwork finds out which network it is to be. One that the user asks for without its name,
// by publishing ports, must be there.
func chooseNetwork(cfg *disk.Config, c *cli.Context) (network.Choice, error) {
	if c.IsSet("network") {
		return chosenNetworks(cfg, c.StringSlice("network"))
	}
	s, err := readSettings()
	if err != nil {
		return network.Choice{}, err
	}
	cfg.Network = s.Run.Network
	choice, err := network.ParseChoice(cfg.Network)
	if (len(c.StringSlice("publish")) > 0 || c.Bool("publish-all")) && choice.Kind == network.User {
		if fix, e := ns.TryTap(); e != nil {
			hint := "--network none -p … publishes ports of a container without a way out"
			if fix != "" {
				hint = "an administrator makes a network possible with `" + fix + "`; " + hint
			}
			err = errs.Hint(fmt.Errorf("no network for the container: %w", e), hint)
		}
	}
	return choice, err
}

// keepID is who the user is in a container with --userns keep-id: podman-run(1), "--userns=mode".
// words are what follows: "", or ":uid=U,gid=G".
func keepID(words string) (string, error) {
	uid, gid := os.Getuid(), os.Getgid()
	if words != "" {
		seen := map[string]bool{}
		for word := range strings.SplitSeq(strings.TrimPrefix(words, ":"), ",") {
			name, value, _ := strings.Cut(word, "=")
			n, err := strconv.ParseUint(value, 10, 31)
			again := seen[name]
			seen[name] = true
			switch {
			case !strings.HasPrefix(words, ":") || err != nil:
				return "", errs.Hint(fmt.Errorf("--userns keep-id%s cannot be read", words), "write --userns keep-id:uid=1000,gid=1000")
			case again:
				return "", fmt.Errorf("--userns keep-id%s: %s is there twice", words, name)
			case name == "uid":
				uid = int(n)
			case name == "gid":
				gid = int(n)
			default:
				return "", fmt.Errorf("--userns keep-id%s: %q is neither uid nor gid", words, name)
			}
		}
	}
	return fmt.Sprintf("%d:%d", uid, gid), nil
}

// setWithout reads --without, whose names a comma separates.
func setWithout(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	var names []string
	for _, s := range c.StringSlice("without") {
		names = append(names, strings.Split(s, ",")...)
	}
	without, err := ns.ParseWithout(names)
	if err != nil {
		return fmt.Errorf("--without: %w", err)
	}
	cfg.Without = without
	if slices.Contains(without, "net") {
		const text = "--without net is the network of this machine: it does not go with --"
		switch {
		case c.IsSet("network") && cfg.Network != network.Host:
			return errors.New(text + "network " + strings.Join(c.StringSlice("network"), " "))
		case c.IsSet("publish"), c.IsSet("publish-all"):
			return errors.New(text + "publish")
		}
	}
	if slices.Contains(names, "mount") {
		fmt.Fprintln(stderr, "without mount, the command sees your own files, not the image, and may change them as you may")
	}
	return nil
}

func setLabels(cfg *disk.Config, c *cli.Context, ic ocispec.ImageConfig) error {
	cfg.Labels = map[string]string{}
	for k, v := range ic.Labels {
		// An image that compose has built has such labels, or a stranger gave it some: that makes
		// its containers no part of a project or pod, which `compose down` or `kube down` deletes.
		if !strings.HasPrefix(k, compose.LabelPrefix) && !strings.HasPrefix(k, kube.LabelPrefix) {
			cfg.Labels[k] = v
		}
	}
	own, err := parseLabels(c.StringSlice("label"))
	maps.Copy(cfg.Labels, own)
	return err
}
