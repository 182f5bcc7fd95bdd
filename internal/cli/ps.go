// The command tiffin ps: the containers and how they are, with docker's columns, filters and
// templates.

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"tiffin/internal/compose"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/kube"
	"tiffin/internal/network"
)

func psCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Description: "The columns are docker's.\n" +
			"Templates have .ID .Names .Image .Command .CreatedAt .RunningFor .State .Status .ExitCode .Pid .Ports .Networks .Driver .Mounts .Labels .Size and .Label \"KEY\".",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that do not run"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only ids"},
			&cli.IntFlag{Name: "last", Aliases: []string{"n"}, Value: -1, Usage: "the last `N` created, running or not"},
			&cli.BoolFlag{Name: "latest", Aliases: []string{"l"}, Usage: "the last created"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only with `KEY=VALUE`: " + psKeys},
			&cli.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "how much each has changed, and how much that is with its image"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole ids and commands"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: takes(0, 0, "no arguments", runPs),
	}
}

// psRow is a container as ps shows it, for templates too.
type psRow struct {
	ID, Names, Image, Command string
	CreatedAt, RunningFor     string
	State, Status             string
	ExitCode, Pid             int
	Networks, Driver          string
	Mounts, Labels            string
	LocalVolumes, Ports, Size string
	Service                   string `json:",omitempty"` // of a compose file
	labels                    map[string]string
}

// Label is the value of one label, for templates.
func (r *psRow) Label(key string) string { return r.labels[key] }

func runPs(c *cli.Context) error {
	set, err := containers()
	if err != nil {
		return err
	}
	client.Sweep(set)
	all, damaged := set.All()
	filters, err := parsePsFilters(c.StringSlice("filter"))
	if err != nil {
		return err
	}
	last := c.Int("last")
	if c.Bool("latest") {
		last = 1
	}
	everything := c.Bool("all") || last >= 0 || filters.wantStatus
	measure := c.Bool("size") || strings.Contains(c.String("format"), ".Size")
	var rows []*psRow
	for _, ctr := range all {
		state, err := ctr.State()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		if last >= 0 && len(rows) == last {
			break
		}
		if (everything || state.Alive()) && filters.match(ctr, state) {
			r := newPsRow(ctr, state, !c.Bool("no-trunc"), time.Now())
			if measure {
				r.Size = sizeOf(ctr)
			}
			rows = append(rows, r)
		}
	}
	table := psTable
	if c.Bool("size") {
		table += "\t{{.Size}}"
	}
	return errors.Join(printPs(stdout, c, table, rows), damaged)
}

// sizeOf is "12kB (virtual 5.9MB)": the disk that a container takes, and the sum with the layers of
// its image.
func sizeOf(ctr *disk.Container) string {
	var own room
	own.add(true, ctr.UpperDir())
	text := size(own.bytes)
	store, err := openStore()
	if err != nil {
		return text
	}
	img, err := store.ResolveLazy(string(ctr.ImageID))
	if err != nil {
		return text // the image is gone
	}
	return fmt.Sprintf("%s (virtual %s)", text, size(own.bytes+img.Size))
}

func newPsRow(ctr *disk.Container, s disk.State, short bool, now time.Time) *psRow {
	r := &psRow{
		ID: ctr.ID, Names: ctr.Name, Image: ctr.Image, Command: strconv.Quote(strings.Join(ctr.Args(), " ")),
		CreatedAt:  localTime(ctr.Created),
		RunningFor: ago(ctr.Created),
		State:      string(s.Shown()), Status: psStatus(ctr, s, now), ExitCode: s.ExitCode, Pid: s.Pid,
		Ports:    showPorts(s, ctr.Exposed),
		Networks: strings.Join(networksOf(ctr), ","), Driver: ctr.DriverName(), Service: ctr.Labels[compose.LabelService], labels: ctr.Labels, Size: "0B",
	}
	if short {
		r.ID = ctr.Short()
		if cmd := []rune(strings.Join(ctr.Args(), " ")); len(cmd) > 20 {
			r.Command = strconv.Quote(string(cmd[:19]) + "…")
		}
	}
	var mounts []string
	local := 0
	for _, v := range ctr.Volumes {
		switch v.Kind() {
		case "volume":
			mounts, local = append(mounts, v.Name), local+1
		case "bind":
			mounts = append(mounts, v.Source)
		}
	}
	r.Mounts, r.LocalVolumes, r.Labels = strings.Join(mounts, ","), strconv.Itoa(local), joinLabels(ctr.Labels)
	return r
}

// networksOf is what the container's --network says, and the further networks that it joins.
func networksOf(c *disk.Container) []string {
	all := []string{c.Network}
	for _, m := range c.Networks {
		if m.Name != c.Network {
			all = append(all, m.Name)
		}
	}
	return all
}

// psStatus is "Up 3 minutes (healthy)", "Exited (0) 2 hours ago", "Created".
func psStatus(ctr *disk.Container, s disk.State, now time.Time) string {
	switch s.Status {
	case disk.Running:
		up := "Up " + units.HumanDuration(now.Sub(s.Started))
		if s.Paused {
			return up + " (Paused)"
		}
		switch h := ctr.Health(); {
		case h == nil:
		case h.Status == disk.HealthStarting:
			up += " (health: starting)"
		default:
			up += " (" + h.Status + ")"
		}
		return up
	case disk.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.Finished)))
	case disk.Exited:
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.Finished)))
	}
	return "Created"
}

const psTable = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

// psHeader is the title of each field in a table.
var psHeader = psRow{
	ID: "CONTAINER ID", Names: "NAMES", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED",
	State: "STATE", Status: "STATUS", Networks: "NETWORKS", Mounts: "MOUNTS", Labels: "LABELS", Ports: "PORTS", Size: "SIZE",
	Service: "SERVICE",
}

func printPs(w io.Writer, c *cli.Context, table string, rows []*psRow) error {
	if c.Bool("quiet") && c.String("format") == "" {
		for _, r := range rows {
			fmt.Fprintln(w, r.ID)
		}
		return nil
	}
	return printRows(w, c.String("format"), table, &psHeader, rows)
}

// psFilters is what --filter asks for: of one key any value will do, of
// several keys each must match.
type psFilters struct {
	by         map[string][]string
	wantStatus bool
}

// psKeys are the keys of --filter.
const psKeys = "id, name, status, exited, ancestor, before, since, until, network, volume, health, publish, expose, label, pod"

func parsePsFilters(args []string) (f psFilters, err error) {
	f.by = map[string][]string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			return f, usagef("filter %q is not KEY=VALUE", a)
		}
		if !slices.Contains(strings.Split(psKeys, ", "), key) {
			return f, errs.Hint(fmt.Errorf("no such filter: %s", key), "use "+psKeys)
		}
		if when, err := parseTime(value, time.Now()); key == "until" && (err != nil || when.IsZero()) {
			return f, usagef("until %q is neither a time such as 2006-01-02T15:04:05 nor a duration such as 24h", value)
		}
		if key == "publish" || key == "expose" {
			if _, err := network.ParseExposed(value); err != nil {
				return f, err
			}
		}
		if key == "before" || key == "since" {
			if _, err := findContainer(value); err != nil {
				return f, err
			}
		}
		f.by[key] = append(f.by[key], value)
		f.wantStatus = f.wantStatus || key == "status" || key == "exited"
	}
	return f, nil
}

func (f psFilters) match(c *disk.Container, s disk.State) bool {
	for key, values := range f.by {
		any, all := false, true
		for _, v := range values {
			ok := matchPs(c, s, key, v)
			any, all = any || ok, all && ok
		}
		if !any || key == "label" && !all {
			return false
		}
	}
	return true
}

// hasPort tells whether a port of the container, published or only named, is one of those of v.
func hasPort(c *disk.Container, s disk.State, published bool, v string) bool {
	wanted, _ := network.ParseExposed(v) // parsePsFilters has read it
	var has []string
	if !published {
		has = slices.Clone(c.Exposed)
	}
	for _, p := range s.Ports {
		has = append(has, p.Exposed())
	}
	return slices.ContainsFunc(wanted, func(port string) bool { return slices.Contains(has, port) })
}

func matchPs(c *disk.Container, s disk.State, key, v string) bool {
	switch key {
	case "id":
		return strings.HasPrefix(c.ID, v)
	case "name":
		return strings.Contains(c.Name, strings.TrimPrefix(v, "/"))
	case "status":
		return string(s.Shown()) == v
	case "exited":
		return s.Status == disk.Exited && strconv.Itoa(s.ExitCode) == v
	case "ancestor":
		return c.Image == v || c.Image == v+":latest" || c.Image+":latest" == v || path.Base(c.Image) == v ||
			strings.HasPrefix(strings.TrimPrefix(string(c.ImageID), "sha256:"), strings.TrimPrefix(v, "sha256:"))
	case "before", "since":
		other, err := c.Set().Find(v)
		return err == nil && c.ID != other.ID && c.Created.Before(other.Created) == (key == "before")
	case "until":
		when, _ := parseTime(v, time.Now())
		return c.Created.Before(when)
	case "health":
		h := c.Health()
		return h == nil && v == "none" || h != nil && h.Status == v
	case "volume": // a name, or a path here or inside
		return slices.ContainsFunc(c.Volumes, func(m disk.Volume) bool { return v == m.Name || v == m.Target || m.Name == "" && v == m.Source })
	case "publish", "expose": // podman-ps(1), --filter: PORT[-PORT][/PROTOCOL]
		return hasPort(c, s, key == "publish", v)
	case "network":
		return slices.Contains(networksOf(c), v)
	case "pod":
		return v != "" && c.Labels[kube.LabelPod] == v
	default: // label
		key, want, hasValue := strings.Cut(v, "=")
		got, ok := c.Labels[key]
		return ok && (!hasValue || got == want)
	}
}
