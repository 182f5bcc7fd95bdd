// The command tiffin events: what happens to containers, as it happens. Nobody keeps a record of
// it: what is told is the difference between two looks at the containers, and of the past what
// those that are still there know.

package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

const eventKeys = "container, event, image, label, type"

func eventsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Description: "Events are create, start, die, oom, pause, unpause, rename, health_status, error and destroy, of containers alone.\n" +
			"Nothing of tiffin runs meanwhile and keeps a record: --since tells what the containers that are\n" +
			"still there know of themselves, which is when they were made, last started and last ended. What is\n" +
			"undone within a moment may be missed: a short pause, or all of a container that run --rm deletes at once.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only with `KEY=VALUE`: " + eventKeys},
			&cli.StringFlag{Name: "since", Usage: "also what was after `TIME`: 2026-01-31T12:00:00Z, or 10m ago"},
			&cli.StringFlag{Name: "until", Usage: "end at `TIME`"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, or json"},
		},
		Action: takes(0, 0, "no arguments", runEvents),
	}
}

// event is one, with docker's names in JSON.
type event struct {
	Status   string     `json:"status"`
	ID       string     `json:"id"`
	From     string     `json:"from"`
	Type     string     `json:"Type"`
	Action   string     `json:"Action"`
	Actor    eventActor `json:"Actor"`
	Scope    string     `json:"scope"`
	Time     int64      `json:"time"`     // seconds since 1970
	TimeNano int64      `json:"timeNano"` // nanoseconds since 1970

	at time.Time
}

type eventActor struct {
	ID         string
	Attributes map[string]string
}

func (e *event) String() string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(e.Actor.Attributes)) {
		words = append(words, k+"="+e.Actor.Attributes[k])
	}
	return fmt.Sprintf("%s %s %s %s (%s)", e.at.Format("2006-01-02T15:04:05.000000000Z07:00"), e.Type, e.Action, e.ID, oneLine(strings.Join(words, ", "), true))
}

// glance is what one look at a container has seen.
type glance struct {
	c      *disk.Container
	s      disk.State
	health string
}

func glanceAt(set *disk.Set) (map[string]glance, error) {
	all, err := set.All()
	seen := map[string]glance{}
	for _, c := range all {
		s, e := c.State()
		if e != nil {
			continue // just removed; or damaged, which err says
		}
		g := glance{c: c, s: s}
		if h := c.Health(); h != nil && s.Status == disk.Running {
			g.health = h.Status
		}
		seen[c.ID] = g
	}
	return seen, err
}

func runEvents(c *cli.Context) error {
	since, err := parseTime(c.String("since"), time.Now())
	if err != nil {
		return usagef("--since: %v", err)
	}
	until, err := parseTime(c.String("until"), time.Now())
	if err != nil {
		return usagef("--until: %v", err)
	}
	wanted, err := eventFilter(c.StringSlice("filter"))
	if err != nil {
		return err
	}
	set, err := containers()
	if err != nil {
		return err
	}
	watch, err := set.NewWatch()
	if err != nil {
		return err
	}
	defer watch.Close()
	over := func(t time.Time) bool { return !until.IsZero() && t.After(until) }
	tell := func(es []*event) error {
		slices.SortStableFunc(es, func(a, b *event) int { return a.at.Compare(b.at) })
		for _, e := range es {
			if !wanted(e) || over(e.at) {
				continue
			}
			if err := printEvent(c.String("format"), e); err != nil {
				return err
			}
		}
		return nil
	}
	before, damaged := glanceAt(set)
	if !since.IsZero() {
		var past []*event
		for _, g := range before {
			past = append(past, differences(glance{}, g, time.Now())...)
		}
		if err := tell(slices.DeleteFunc(past, func(e *event) bool { return e.at.Before(since) })); err != nil {
			return err
		}
	}
	for !over(time.Now()) {
		again := false
		for _, g := range before {
			unseen, err := watch.Add(g.c)
			if err != nil {
				return err
			}
			again = again || unseen
		}
		if !again {
			watch.Wait()
		}
		now, _ := glanceAt(set) // damaged has said it
		var es []*event
		for id, g := range now {
			es = append(es, differences(before[id], g, time.Now())...)
		}
		for id, g := range before {
			if _, there := now[id]; !there {
				es = append(es, differences(g, glance{}, time.Now())...)
			}
		}
		if err := tell(es); err != nil {
			return err
		}
		before = now
	}
	return damaged
}

// differences are the events between two looks at a container. A glance without a container is that
// of one that is not there.
func differences(a, b glance, now time.Time) (es []*event) {
	g := b
	if b.c == nil {
		g = a
	}
	add := func(action string, at time.Time, more ...string) {
		e := &event{Status: action, ID: g.c.ID, From: g.c.Image, Type: "container", Action: action, Scope: "local", at: at, Time: at.Unix(), TimeNano: at.UnixNano()}
		e.Actor = eventActor{g.c.ID, map[string]string{"image": g.c.Image, "name": g.c.Name}}
		maps.Copy(e.Actor.Attributes, g.c.Labels)
		for i := 0; i < len(more); i += 2 {
			e.Actor.Attributes[more[i]] = more[i+1]
		}
		es = append(es, e)
	}
	die := func(s *disk.State, at time.Time) {
		if s.OOMKilled {
			add("oom", at)
		}
		add("die", at, "exitCode", strconv.Itoa(s.ExitCode))
	}
	if b.c == nil {
		if a.s.Alive() {
			die(&disk.State{ExitCode: 137}, now)
		}
		add("destroy", now)
		return es
	}
	if a.c == nil {
		add("create", b.c.Created)
	} else if a.c.Name != b.c.Name {
		add("rename", now, "oldName", a.c.Name)
	}
	started := !b.s.Started.IsZero() && !b.s.Started.Equal(a.s.Started)
	ended := !b.s.Finished.IsZero() && !b.s.Finished.Equal(a.s.Finished) && b.s.Status != disk.Running
	if started && a.s.Status == disk.Running { // it has ended and begun again between the two looks
		die(&a.s, b.s.Started)
	}
	if started {
		add("start", b.s.Started)
	}
	if b.s.Paused != a.s.Paused && b.s.Status == disk.Running {
		add(map[bool]string{true: "pause", false: "unpause"}[b.s.Paused], now)
	}
	if b.health != a.health && b.health != "" {
		add("health_status: "+b.health, now)
	}
	if b.s.Error != a.s.Error && b.s.Error != "" && b.s.Status == disk.Running {
		add("error", now, "error", b.s.Error) // a file of its image could not be read
	}
	if ended {
		die(&b.s, cmp.Or(b.s.Finished, now))
	}
	return es
}

// eventFilter reads --filter: of one key any value will do, of several keys each must match.
func eventFilter(args []string) (func(*event) bool, error) {
	by := map[string][]string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, usagef("filter %q is not KEY=VALUE", a)
		}
		if !slices.Contains(strings.Split(eventKeys, ", "), key) {
			return nil, errs.Hint(fmt.Errorf("no such filter: %s", key), "use "+eventKeys)
		}
		by[key] = append(by[key], value)
	}
	return func(e *event) bool {
		for key, values := range by {
			if !slices.ContainsFunc(values, func(v string) bool { return e.is(key, v) }) {
				return false
			}
		}
		return true
	}, nil
}

func (e *event) is(key, v string) bool {
	switch key {
	case "container":
		return e.Actor.Attributes["name"] == v || strings.HasPrefix(e.ID, v)
	case "event":
		name, _, _ := strings.Cut(e.Action, ":")
		return name == v
	case "image":
		return e.From == v || e.From == v+":latest" || e.From+":latest" == v
	case "label":
		name, want, has := strings.Cut(v, "=")
		got, ok := e.Actor.Attributes[name]
		return ok && (!has || got == want)
	default: // type
		return e.Type == v
	}
}

func printEvent(format string, e *event) error {
	switch format {
	case "":
		_, err := fmt.Fprintln(stdout, e)
		return err
	case "json":
		return json.NewEncoder(stdout).Encode(e)
	}
	return printRows(stdout, format, "", nil, []*event{e})
}
