// The command tiffin compose down: the containers of a project end, each after those that depend on
// it, and are deleted.

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"tiffin/internal/compose"
	"tiffin/internal/container/client"
)

func (p *composition) downCommand() *cli.Command {
	return &cli.Command{
		Description: "All containers with the project's label go, also those of services that are no longer in the files.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "timeout", Aliases: []string{"t"}, Usage: "`SECONDS` to wait before killing, instead of each container's own"},
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "for docker's sake; volumes have no names", Hidden: true},
			&cli.BoolFlag{Name: "remove-orphans", Usage: "for docker's sake: they always go", Hidden: true},
		},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			all, err := p.members()
			if err != nil {
				return err
			}
			var seconds *int
			if c.IsSet("timeout") {
				n := c.Int("timeout")
				seconds = &n
			}
			err = endMembers(all, func(m member) error {
				if err := client.Stop(m.Container, seconds); err != nil {
					return err
				}
				if err := client.Remove(m.Container, true); err != nil {
					return err
				}
				fmt.Fprintln(stdout, m.Name)
				return nil
			})
			if err != nil {
				return err
			}
			return p.removeNetworks()
		}),
	}
}

// removeNetworks removes the networks that up has made.
func (p *composition) removeNetworks() error {
	set, err := containers()
	if err != nil {
		return err
	}
	all, err := set.Networks()
	for _, d := range all {
		if d.Labels[compose.LabelProject] == p.request.Name {
			if e := set.RemoveNetwork(d.Name); e != nil {
				err = errors.Join(err, e)
			} else {
				fmt.Fprintln(stdout, d.Name)
			}
		}
	}
	return err
}

// endMembers calls end for each container, after those that depend on it. Some take their whole
// stop timeout, so those that do not depend on one another end at once.
func endMembers(rest []member, end func(member) error) error {
	var failed []error
	for len(rest) > 0 {
		var now, later []member
		for _, m := range rest {
			if slices.ContainsFunc(rest, func(other member) bool { return other.needs(m) }) {
				later = append(later, m)
			} else {
				now = append(now, m)
			}
		}
		if len(now) == 0 { // a circle, which no file of compose's has made
			now, later = later, nil
		}
		errs := make([]error, len(now))
		var ended sync.WaitGroup
		for i, m := range now {
			ended.Go(func() { errs[i] = end(m) })
		}
		ended.Wait()
		rest, failed = later, append(failed, errs...)
	}
	return errors.Join(failed...)
}

// needs tells whether a container depends on another one.
func (m member) needs(other member) bool {
	for entry := range strings.SplitSeq(m.Labels[compose.LabelNeeds], ",") {
		if name, _, _ := strings.Cut(entry, ":"); name == other.service && name != m.service {
			return true
		}
	}
	return false
}
