// What the containers of a project need besides their images: networks, volumes, directories. They
// are known by their labels, as the containers are.

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"tiffin/internal/compose"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// makeResources makes the networks, volumes and directories that are not there.
func makeResources(project *compose.Project) error {
	set, err := containers()
	if err != nil {
		return err
	}
	return errors.Join(makeNetworks(set, project), makeVolumes(set, project), makeDirs(project))
}

func makeNetworks(set *disk.Set, project *compose.Project) error {
	for _, n := range project.Networks {
		d, err := set.Network(n.Name)
		switch {
		case err == nil && !n.External && d.Labels[compose.LabelProject] != project.Name:
			return errs.Hint(fmt.Errorf("network %s is not of project %s", n.Name, project.Name), "if its services are to join it, write `external: true`")
		case n.External || err == nil:
		case errors.Is(err, disk.ErrNoNetwork):
			err = createNetworkOf(append(slices.Clone(n.Flags), "--", n.Name))
			if err == nil {
				fmt.Fprintf(stderr, "network %s: made\n", n.Name)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// createNetworkOf is `tiffin network create` with these words behind it.
func createNetworkOf(words []string) error {
	cmd := networkCreateCommand()
	cmd.Action = func(c *cli.Context) error {
		_, err := createNetwork(c)
		return err
	}
	return typed(cmd, words)
}

func makeVolumes(set *disk.Set, project *compose.Project) error {
	for _, v := range project.Volumes {
		old, err := set.Volume(v.Name)
		switch {
		case err == nil && !v.External && old.Labels[compose.LabelProject] != project.Name:
			return errs.Hint(fmt.Errorf("volume %s is not of project %s", v.Name, project.Name), "if its services are to mount it, write `external: true`")
		case v.External || err == nil:
		case errors.Is(err, disk.ErrNoVolume):
			cmd := volumeCreateCommand()
			cmd.Action = func(c *cli.Context) error {
				labels, err := parseLabels(c.StringSlice("label"))
				if err == nil {
					_, err = set.CreateVolume(v.Name, labels)
				}
				return err
			}
			if err = typed(cmd, append(slices.Clone(v.Flags), "--", v.Name)); err == nil {
				fmt.Fprintf(stderr, "volume %s: made\n", v.Name)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes the directories of this machine that services show: Compose Specification,
// "create_host_path".
func makeDirs(project *compose.Project) error {
	for _, s := range project.Services {
		for _, dir := range s.Dirs {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("%s: service %s: make a directory to show: %w", s.At, s.Name, err)
			}
			fmt.Fprintf(stderr, "directory %s: made\n", dir)
		}
	}
	return nil
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

// removeVolumes removes the volumes that up has made, and those without a name of what were the
// containers.
func (p *composition) removeVolumes(were []member) error {
	set, err := containers()
	if err != nil {
		return err
	}
	mounted := map[string]bool{}
	for _, m := range were {
		for _, v := range m.Volumes {
			mounted[v.Name] = true
		}
	}
	all, err := set.Volumes()
	for _, v := range all {
		ours := v.Labels[compose.LabelProject] == p.request.Name
		if !ours && !(v.Anonymous && mounted[v.Name]) {
			continue
		}
		e := client.RemoveVolume(set, v.Name)
		switch {
		case e == nil:
			fmt.Fprintln(stdout, v.Name)
		case ours || !errors.Is(e, disk.ErrVolumeUsed):
			err = errors.Join(err, e)
		}
	}
	return err
}
