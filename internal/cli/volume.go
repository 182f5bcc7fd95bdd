// The command tiffin volume: directories that outlive the containers that mount them are made,
// listed, shown and removed.

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

// volumeTable are the commands below `volume`.
var volumeTable = [...]command{
	{"create", "make a volume", volumeCreateCommand, plain},
	{"ls", "list the volumes", volumeLsCommand, plain},
	{"inspect", "print all there is to know about volumes", volumeInspectCommand, plain},
	{"rm", "delete volumes that no container has, with all that is in them", volumeRmCommand, plain},
	{"prune", "delete the volumes without a name that no container has", volumePruneCommand, plain},
}

func volumeCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "COMMAND [ARGUMENTS]",
		Description: "A volume is a directory in your store. `run -v NAME:DIR` mounts it, and makes it if need be. While it is empty,\n" +
			"it gets what the image has at DIR, with owners and modes.\n\n" + listCommands(volumeTable[:]) +
			"\n`tiffin volume COMMAND --help` shows the flags of a command.",
		Action: subcommand("volume", volumeCommand, volumeTable[:]),
	}
}

func volumeCreateCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [NAME]",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "label", Usage: "note `KEY=VALUE` about the volume"},
			&cli.StringFlag{Name: "driver", Aliases: []string{"d"}, Value: "local", Usage: "for docker's sake: local", Hidden: true},
			&cli.StringFlag{Name: "name", Usage: "for docker's sake", Hidden: true},
		},
		Action: takes(0, 1, "one name at most", func(c *cli.Context) error {
			if d := c.String("driver"); d != "local" {
				return fmt.Errorf("volume driver %q is not there: volumes are directories here", d)
			}
			labels, err := parseLabels(c.StringSlice("label"))
			if err != nil {
				return err
			}
			set, err := containers()
			if err != nil {
				return err
			}
			name := c.String("name")
			if c.Args().Present() {
				name = c.Args().First()
			}
			v, err := set.CreateVolume(name, labels)
			if err == nil {
				fmt.Fprintln(stdout, v.Name)
			}
			return err
		}),
	}
}

// parseLabels reads the values of --label.
func parseLabels(words []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, l := range words {
		k, v, _ := strings.Cut(l, "=")
		if k == "" {
			return nil, fmt.Errorf("label %q has no key", l)
		}
		labels[k] = v
	}
	return labels, nil
}

// volumeRow is a volume as ls shows it, for templates too.
type volumeRow struct {
	Driver, Name, Mountpoint, Scope, CreatedAt, Containers, Labels string

	Links, Size string // of system df -v

	labels map[string]string
}

var volumeHeader = volumeRow{
	Driver: "DRIVER", Name: "VOLUME NAME", Mountpoint: "MOUNTPOINT", Scope: "SCOPE", CreatedAt: "CREATED AT", Containers: "CONTAINERS",
	Labels: "LABELS", Links: "LINKS", Size: "SIZE",
}

func newVolumeRow(set *disk.Set, v *disk.StoredVolume, users []string) *volumeRow {
	return &volumeRow{
		Driver: "local", Name: v.Name, Mountpoint: set.VolumeData(v.Name), Scope: "local", CreatedAt: localTime(v.Created),
		Containers: strings.Join(users, ","), Labels: joinLabels(v.ShownLabels()), labels: v.ShownLabels(), Links: "N/A", Size: "N/A",
	}
}

// Label is the value of one label, for templates.
func (r *volumeRow) Label(key string) string { return r.labels[key] }

func volumeLsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only names"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only with `KEY=VALUE`: name, dangling, driver, label"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			all, damaged := set.Volumes()
			users, err := set.VolumeUsers()
			if err != nil {
				return err
			}
			keep, err := volumeFilter(c.StringSlice("filter"), users)
			if err != nil {
				return err
			}
			var rows []*volumeRow
			for _, v := range all {
				switch {
				case !keep(v):
				case c.Bool("quiet"):
					fmt.Fprintln(stdout, v.Name)
				default:
					rows = append(rows, newVolumeRow(set, v, users[v.Name]))
				}
			}
			if c.Bool("quiet") {
				return damaged
			}
			return errors.Join(printRows(stdout, c.String("format"), "table {{.Driver}}\t{{.Name}}", &volumeHeader, rows), damaged)
		}),
	}
}

// joinLabels is how tables show labels.
func joinLabels(labels map[string]string) string {
	var all []string
	for k, v := range labels {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// volumeFilter reads --filter: of one key any value will do, but of labels each must match.
func volumeFilter(words []string, users map[string][]string) (func(*disk.StoredVolume) bool, error) {
	by := map[string][]string{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || !slices.Contains([]string{"name", "dangling", "driver", "label", "label!"}, key) {
			return nil, usagef("filter %q is none of name=TEXT, dangling=true, driver=local, label=KEY[=VALUE] and label!=KEY[=VALUE]", w)
		}
		if key == "dangling" {
			if value != "true" && value != "1" && value != "false" && value != "0" {
				return nil, usagef("filter %q is neither dangling=true nor dangling=false", w)
			}
			value = map[bool]string{true: "true", false: "false"}[value == "true" || value == "1"]
		}
		by[key] = append(by[key], value)
	}
	return func(v *disk.StoredVolume) bool {
		for key, values := range by {
			matches := 0
			for _, want := range values {
				if matchVolume(v, key, want, len(users[v.Name]) == 0) {
					matches++
				}
			}
			if matches == 0 || strings.HasPrefix(key, "label") && matches < len(values) {
				return false
			}
		}
		return true
	}, nil
}

func matchVolume(v *disk.StoredVolume, key, want string, dangling bool) bool {
	switch key {
	case "name":
		return strings.Contains(v.Name, want)
	case "dangling":
		return want == fmt.Sprint(dangling)
	case "driver":
		return want == "local"
	}
	name, value, hasValue := strings.Cut(want, "=")
	got, ok := v.ShownLabels()[name]
	return (ok && (!hasValue || got == value)) == (key == "label")
}

// volumeInspection is what inspect prints of a volume, in docker's words.
type volumeInspection struct {
	CreatedAt        time.Time
	Driver           string
	Labels           map[string]string
	Mountpoint, Name string
	Options          map[string]string
	Scope            string
}

func volumeInspectCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-f TEMPLATE] VOLUME…",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`TEMPLATE` of Go for each, or json"}},
		Action: takes(1, -1, "at least one volume", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			return inspectEach(c, func(name string) (any, error) {
				v, err := set.Volume(name)
				if err != nil {
					return nil, err
				}
				return &volumeInspection{v.Created, "local", v.ShownLabels(), set.VolumeData(name), name, nil, "local"}, nil
			})
		}),
	}
}

func volumeRmCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-f] VOLUME…",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "a missing one is no error"}},
		Action: takes(1, -1, "one or more volumes", func(c *cli.Context) error {
			set, err := containers()
			if err != nil {
				return err
			}
			return eachArg(c, func(name string) error {
				err := client.RemoveVolume(set, name)
				if c.Bool("force") && errors.Is(err, disk.ErrNoVolume) {
					return nil
				}
				if err == nil {
					fmt.Fprintln(stdout, name)
				}
				return err
			})
		}),
	}
}

func volumePruneCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[-a] [-f]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those with a name"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not ask"},
			&cli.StringSliceFlag{Name: "filter", Usage: "only with `KEY=VALUE`: label, label!"},
		},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			what := "all volumes without a name that no container has"
			if c.Bool("all") {
				what = "all volumes that no container has, with all that is in them"
			}
			if _, err := volumeFilter(c.StringSlice("filter"), nil); err != nil {
				return err
			}
			if !c.Bool("force") && !confirm("This deletes "+what+". Continue? [y/N] ") {
				return nil
			}
			return pruneVolumes(c.Bool("all"), c.StringSlice("filter"))
		}),
	}
}

// pruneVolumes deletes the volumes that no container has: those without a name, or all. It prints
// their names.
func pruneVolumes(named bool, filter []string) error {
	keep, err := volumeFilter(filter, nil)
	if err != nil {
		return err
	}
	set, err := containers()
	if err != nil {
		return err
	}
	all, err := set.Volumes()
	for _, v := range all {
		if (v.Anonymous || named) && keep(v) {
			e := client.RemoveVolume(set, v.Name)
			switch {
			case e == nil:
				fmt.Fprintln(stdout, v.Name)
			case !errors.Is(e, disk.ErrVolumeUsed) && !errors.Is(e, disk.ErrNoVolume):
				err = errors.Join(err, e)
			}
		}
	}
	return errors.Join(err, client.SweepVolumes(set))
}
