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
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "its volumes go, too, with all that is in them, but for external ones"},
			&cli.StringFlag{Name: "rmi", Usage: "images go, too: `local`, those that were built and have no name in the files, or all"},
			&cli.BoolFlag{Name: "remove-orphans", Usage: "for docker's sake: they always go", Hidden: true},
		},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			var images []string
			if c.IsSet("rmi") {
				var err error
				if images, err = p.imagesOf(c.String("rmi")); err != nil {
					return err
				}
			}
			p.oneOffs = true
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
			err = p.removeNetworks()
			if c.Bool("volumes") {
				err = errors.Join(err, p.removeVolumes(all))
			}
			if len(images) > 0 {
				err = errors.Join(err, typed(rmiCommand(), append([]string{"--force", "--"}, images...)))
			}
			return err
		}),
	}
}

// imagesOf are the images that down --rmi removes.
func (p *composition) imagesOf(which string) (images []string, err error) {
	if which != "local" && which != "all" {
		return nil, usagef("--rmi is local or all, not %q", which)
	}
	project, err := p.read(nil)
	if err != nil {
		return nil, err
	}
	for _, s := range project.Services {
		if which == "all" || s.Build != nil && s.Image == project.Name+"-"+s.Name {
			images = append(images, s.Image)
		}
	}
	slices.Sort(images)
	return slices.Compact(images), nil
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
