// The command tiffin here: run with flags for people who work in a container all day. They are
// themselves in it, in the directory where they are, with their home, terminal, SSH agent and
// network.

package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

func hereCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [IMAGE|-- [COMMAND [ARGUMENT…]]]",
		Description: "As run --rm -i, with -t on a terminal, --userns keep-id, --network host, your home and this directory\n" +
			"mounted where they are, your name in /etc/passwd, and the variables of your terminal, language, proxies\n" +
			"and SSH agent. What is changed elsewhere is gone afterwards. FLAGS are those of run, and win. The image\n" +
			"is " + baseName + ", or what your settings say: image = \"debian:12\" in [here] of config.toml.",
		Flags: append(createFlags(), newExplainFlag(), stepFlag(), detachKeysFlag(), sigProxyFlag()),
		Action: func(c *cli.Context) error {
			if c.Args().Len() == 0 {
				s, err := readSettings()
				if err != nil {
					return err
				}
				flags, _ := c.App.Metadata["args"].([]string)
				return parseAndRun(hereCommand(), append(slices.Clone(flags), s.Here.Image))
			}
			if err := setHere(c); err != nil {
				return err
			}
			return runContainer(c, func(t *terminal) (*onlookers, error) {
				explain, err := newStepper(c, t)
				return &onlookers{explain: explain, done: func(*disk.Container) error { return nil }}, err
			})
		},
	}
}

// withImageOfHere adds the image of the settings where a command follows "--" at once. args is what
// normalise has made of given.
func withImageOfHere(given, args []string) ([]string, error) {
	command := slices.Index(args, "--") + 1
	if before := len(given) - (len(args) - command) - 1; command == len(args) || before < 0 || given[before] != "--" {
		return args, nil
	}
	s, err := readSettings()
	return slices.Insert(args, command, s.Here.Image), err
}

// setHere sets the flags of run that make it here, but for those that are given.
func setHere(c *cli.Context) error {
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("find out who you are: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find out where you are: %w", err)
	}
	for flag, value := range map[string]string{"rm": "true", "interactive": "true", "userns": "keep-id", "network": "host", "workdir": dir} {
		if !c.IsSet(flag) {
			if err := c.Set(flag, value); err != nil {
				return err
			}
		}
	}
	if !c.IsSet("tty") && isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		if err := c.Set("tty", "true"); err != nil {
			return err
		}
	}
	mounts := []string{}
	home, err := os.UserHomeDir() // $HOME, which may be another than the one in passwd(5)
	if err != nil {
		home = me.HomeDir
	}
	if filepath.IsAbs(home) && home != "/" {
		mounts = append(mounts, home)
	}
	if len(mounts) == 0 || dir != mounts[0] && !strings.HasPrefix(dir, mounts[0]+"/") {
		if ofKernel(dir) {
			return errs.Hint(fmt.Errorf("the directory %s cannot be shown in a container", dir), "cd to one of your own")
		}
		mounts = append(mounts, dir)
	}
	env := []string{"USER=" + me.Username, "LOGNAME=" + me.Username, "HOME=" + home}
	if agent := os.Getenv("SSH_AUTH_SOCK"); filepath.IsAbs(agent) {
		if _, err := os.Stat(agent); err == nil {
			mounts, env = append(mounts, agent), append(env, "SSH_AUTH_SOCK")
		}
	}
	for _, m := range mounts {
		if strings.Contains(m, ":") {
			return fmt.Errorf("%q cannot be mounted: it has a colon in its name", m)
		}
		if err := c.Set("volume", m+":"+m); err != nil {
			return err
		}
	}
	for _, e := range append(env, ownVariables()...) {
		name, _, _ := strings.Cut(e, "=")
		given := slices.ContainsFunc(c.StringSlice("env"), func(v string) bool { return v == name || strings.HasPrefix(v, name+"=") })
		if given {
			continue
		}
		if err := c.Set("env", e); err != nil {
			return err
		}
	}
	return nil
}

// ownVariables are the names of variables that are as they are here: environ(7), locale(7).
func ownVariables() (names []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		low := strings.ToLower(name)
		if strings.HasPrefix(name, "LC_") || slices.Contains([]string{"TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "EDITOR", "VISUAL", "PAGER"}, name) ||
			slices.Contains([]string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"}, low) {
			names = append(names, name)
		}
	}
	return names
}

// maxAccounts is how long an image's passwd(5) or group(5) may be to get a line more, in bytes.
const maxAccounts = 256 << 10

// nameMe gives the user of --userns keep-id a line in the container's own passwd(5) and group(5),
// unless the image has one for that id.
func nameMe(cfg *disk.Config, m *cache.Mountable) error {
	me, err := user.Current()
	if err != nil {
		return nil // nobody here has a name for them either
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		group = &user.Group{Gid: me.Gid, Name: me.Username}
	}
	index, err := layer.OpenIndex(m.UnionPath)
	if err != nil {
		return err
	}
	flats, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths)
	if err != nil {
		return err
	}
	open := make([]io.ReaderAt, len(flats))
	for i, f := range flats {
		open[i] = f
		defer f.Close()
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = cmp.Or(me.HomeDir, "/")
	}
	uid, gid, _ := strings.Cut(cfg.KeepID, ":")
	for _, f := range []struct{ path, name, id, line string }{
		{"/etc/passwd", me.Username, uid, fmt.Sprintf("%s:x:%s:%s::%s:/bin/sh\n", me.Username, uid, gid, home)},
		{"/etc/group", group.Name, gid, fmt.Sprintf("%s:x:%s:\n", group.Name, gid)},
	} {
		var text []byte
		if i, _, ok := index.Follow(f.path); ok && index.Inode(i).Mode&unix.S_IFMT == unix.S_IFREG {
			if text, err = io.ReadAll(io.LimitReader(index.Reader(i, open), maxAccounts+1)); err != nil {
				return fmt.Errorf("read the image's %s: %w", f.path, err)
			}
		}
		known := slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			field := strings.Split(line, ":")
			return field[0] == f.name || len(field) > 2 && field[2] == f.id
		})
		if known || len(text) > maxAccounts || strings.ContainsAny(f.line[:len(f.line)-1], "\n\x00") {
			continue
		}
		if n := len(text); n > 0 && text[n-1] != '\n' {
			text = append(text, '\n')
		}
		cfg.Accounts = append(cfg.Accounts, ns.File{Target: f.path, Content: string(text) + f.line})
	}
	return nil
}
