// The commands tiffin play kube and kube down: the pods of a file of Kubernetes are made and
// started, or end and go. What belongs to a pod is known by its labels alone.

package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/kube"
)

var playTable = [...]command{
	{"kube", "run the pods of a Kubernetes file", playKubeCommand, plain},
}

// kubeTable has podman's newer names for the commands about such files.
var kubeTable = [...]command{
	{"play", "run the pods of a Kubernetes file", playKubeCommand, plain},
	{"down", "stop and delete the pods of a Kubernetes file", kubeDownCommand, plain},
	{"generate", "print containers as a pod of Kubernetes", generateKubeCommand, plain},
}

func playCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "COMMAND [ARGUMENTS]",
		Description: listCommands(playTable[:]) + "\n`tiffin play COMMAND --help` shows the flags of a command.",
		Action:      subcommand("play", playCommand, playTable[:]),
	}
}

func kubeCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "COMMAND [ARGUMENTS]",
		Description: listCommands(kubeTable[:]) + "\n`tiffin kube COMMAND --help` shows the flags of a command.",
		Action:      subcommand("kube", kubeCommand, kubeTable[:]),
	}
}

func playKubeCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] FILE",
		Description: "Pods and Deployments become containers POD-CONTAINER, with what they need of the same FILE, or of - for standard\n" +
			"input: ConfigMap, Secret, PersistentVolumeClaim. What has no counterpart here is refused, with file, line and\n" +
			"path; what changes nothing is noted. Containers of one pod share a network, which POD-infra has.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "down", Usage: "stop and delete the pods of FILE instead; volumes that are claimed stay"},
			&cli.BoolFlag{Name: "replace", Usage: "delete the pods first if they are there"},
			&cli.StringFlag{Name: "network", Aliases: []string{"net"}, Usage: "`NETWORK` of each pod, as with run"},
			&cli.StringFlag{Name: "seccomp-profile-root", Usage: "seccomp profiles with a localhostProfile are in `DIR`; where FILE is, if not given"},
			limitsByFlag(),
			&cli.StringFlag{Name: "format", Usage: "`json`: what was made, for other programs"},
		},
		Action: takes(1, 1, "one file", func(c *cli.Context) error {
			if c.Bool("down") {
				return kubeDown(c)
			}
			return inStore(playKube)(c)
		}),
	}
}

func kubeDownCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "FILE|POD",
		Description: "The containers of the pods in FILE, or - for standard input, end and go; where there is no such file, those of that\n" +
			"POD. Volumes that are claimed stay.",
		Action: takes(1, 1, "one file or pod", kubeDown),
	}
}

// readPods reads the file that the command names.
func readPods(c *cli.Context) (*kube.Answer, error) {
	root, err := store.DefaultRoot()
	if err != nil {
		return nil, err
	}
	q := kube.Request{File: c.Args().First(), Profiles: c.String("seccomp-profile-root"), Network: c.String("network")}
	dir := "."
	if q.File == "-" {
		q.File = "standard input"
		q.Text, err = io.ReadAll(io.LimitReader(os.Stdin, kube.MaxFile+1))
	} else {
		dir = filepath.Dir(q.File)
		q.Text, err = readRegular(q.File)
	}
	if err == nil && len(q.Text) > kube.MaxFile {
		err = fmt.Errorf("%s has more than %d MB", q.File, kube.MaxFile>>20)
	}
	if err == nil {
		q.Profiles, err = filepath.Abs(cmp.Or(q.Profiles, dir))
	}
	if errors.Is(err, os.ErrNotExist) {
		err = errs.Hint(err, "FILE is YAML or JSON of Kubernetes, or - for standard input; `tiffin generate kube -f FILE CONTAINER` writes one")
	}
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("read pods: %w", err), errs.HintOf(err))
	}
	return kube.Ask(root, q)
}

// readRegular reads a file, and a byte more than it may have. To open a fifo would be to wait for
// somebody, and so it is not opened.
func readRegular(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errs.Hint(fmt.Errorf("%s is no regular file", name), "- is standard input")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, kube.MaxFile+1))
}

// playedPod is what --format json says about a pod.
type playedPod struct {
	Name       string            `json:"name"`
	Containers []playedContainer `json:"containers"`
	Volumes    []string          `json:"volumes"`
}

type playedContainer struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

func playKube(c *cli.Context, store *image.Store) error {
	asJSON, err := wantsJSON(c)
	if err != nil {
		return err
	}
	read, err := readPods(c)
	if err != nil {
		return err
	}
	for _, n := range read.Notes {
		fmt.Fprintf(stderr, "tiffin: note: %s\n", printable(n))
	}
	plan := read.Plan
	set, err := containers()
	if err != nil {
		return err
	}
	if err := playable(store, plan); err != nil {
		return err
	}
	for _, p := range plan.Pods {
		playing, err := set.LockPod(p.Name)
		if err != nil {
			return err
		}
		defer playing.Close()
		if all, e := podMembers(set, p.Name); !c.Bool("replace") && (e != nil || len(all) > 0) {
			return errs.Hint(cmp.Or(e, fmt.Errorf("pod %s is there already", p.Name)), "--replace deletes it first, --down only that")
		}
		if err := removePod(set, p.Name, io.Discard); err != nil { // volumes may be all there is of it
			return err
		}
	}
	for _, name := range plan.Claims {
		if err := needPodVolume(set, kube.Contents{Name: name}, ""); err != nil {
			return err
		}
	}
	played := []playedPod{}
	for i := range plan.Pods {
		for j := range plan.Pods[i].Containers {
			if by := c.String("limits"); by != "" {
				m := &plan.Pods[i].Containers[j]
				m.Flags = append(m.Flags, "--limits="+by)
			}
		}
		p, err := playPod(store, set, &plan.Pods[i])
		if err != nil {
			return errs.Hint(fmt.Errorf("pod %s: %w", plan.Pods[i].Name, err), cmp.Or(errs.HintOf(err), "`tiffin play kube --down FILE` deletes what is there of it"))
		}
		played = append(played, p)
		if !asJSON {
			for _, ctr := range p.Containers {
				fmt.Fprintln(stdout, ctr.Name)
			}
		}
	}
	if asJSON {
		return printJSON(stdout, played, "  ")
	}
	return nil
}

// playable fetches the images of all containers, and refuses what cannot be made of one, before
// anything is there of any.
func playable(store *image.Store, plan *kube.Plan) error {
	for i := range plan.Pods {
		for _, m := range plan.Pods[i].Containers {
			m.Flags = slices.DeleteFunc(slices.Clone(m.Flags), func(flag string) bool {
				from, _, _ := strings.Cut(strings.TrimPrefix(flag, "--volume="), ":")
				later := strings.HasPrefix(flag, "--network=container:") || slices.Contains(m.Dirs, from) // what is made first
				return later || flag == "--pull=always"
			})
			cmd := createCommand()
			cmd.Action = func(c *cli.Context) error {
				img, err := imageToRun(c, store)
				if err == nil {
					_, err = newConfig(c, img)
				}
				return err
			}
			if err := typed(cmd, m.Words()); err != nil {
				return errs.Hint(fmt.Errorf("pod %s: container %s: %w", plan.Pods[i].Name, m.Name, err), errs.HintOf(err))
			}
		}
	}
	return nil
}

// playPod makes a pod: its volumes, then each container, which is started before the next is made.
func playPod(store *image.Store, set *disk.Set, p *kube.Sandbox) (made playedPod, err error) {
	made = playedPod{Name: p.Name, Containers: []playedContainer{}, Volumes: []string{}}
	for _, v := range p.Volumes {
		if err := needPodVolume(set, v, p.Name); err != nil {
			return made, err
		}
		if err := fillVolume(set.VolumeData(v.Name), v); err != nil {
			return made, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		made.Volumes = append(made.Volumes, v.Name)
	}
	for _, name := range p.Shared {
		if err := fillVolume(set.VolumeData(name), kube.Contents{Shared: true}); err != nil {
			return made, fmt.Errorf("volume %s: %w", name, err)
		}
	}
	for _, m := range p.Containers {
		ctr, err := playMember(store, set, &m)
		if err != nil {
			return made, errs.Hint(fmt.Errorf("container %s: %w", m.Name, err), errs.HintOf(err))
		}
		made.Containers = append(made.Containers, playedContainer{ctr.Name, ctr.ID})
	}
	return made, nil
}

// playMember makes and starts a container of a pod. One that the others wait for has ended when it
// returns.
func playMember(store *image.Store, set *disk.Set, m *kube.Member) (*disk.Container, error) {
	for _, dir := range m.Dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a directory to show: %w", err)
		}
	}
	for _, f := range m.Mounts {
		var mount strings.Builder // the store may have any name
		w := csv.NewWriter(&mount)
		_ = w.Write([]string{"type=bind", "source=" + filepath.Join(set.VolumeData(f.Volume), f.Path), "target=" + f.Target, "readonly"}) // in memory
		w.Flush()
		m.Flags = append(m.Flags, "--mount="+strings.TrimSuffix(mount.String(), "\n"))
	}
	ctr, err := createOf(context.Background(), m.Words())
	if err != nil {
		return nil, err
	}
	if user, _, _ := strings.Cut(ctr.User, ":"); m.NonRoot {
		if n, err := strconv.ParseUint(user, 10, 32); err != nil || n == 0 {
			err := fmt.Errorf("runAsNonRoot: image %s does not say by a number that its user is not root", ctr.Image)
			return nil, errs.Hint(errors.Join(err, client.Remove(ctr, true)), "runAsUser is such a number")
		}
	}
	if err := startDetached(store, ctr, nil); err != nil || !m.First {
		return ctr, err
	}
	code, err := client.Wait(ctr)
	if err == nil && code != 0 {
		err = errs.Hint(fmt.Errorf("it is to end well before the others start, and has ended with status %d", code), "`tiffin logs "+ctr.Name+"` shows what it printed")
	}
	return ctr, err
}

// needPodVolume makes a volume unless it is there: one of a pod's own, or, without a pod, one of
// nobody's.
func needPodVolume(set *disk.Set, c kube.Contents, pod string) error {
	labels := map[string]string{}
	if pod != "" {
		labels[kube.LabelPod] = pod
	}
	if c.Kind != "" {
		labels[kube.LabelVolume] = c.Kind
	}
	v, err := set.CreateVolume(c.Name, labels)
	if err == nil && v.Labels[kube.LabelPod] != pod {
		err = fmt.Errorf("volume %s is there already, and not of pod %s", c.Name, cmp.Or(pod, "none"))
	}
	return err
}

// fillVolume gives a volume what is in it from the beginning.
func fillVolume(dir string, v kube.Contents) error {
	if v.Shared { // users of containers are others than its owner
		st, err := os.Stat(dir)
		if err == nil && st.Mode().Perm() != 0o777 {
			err = os.Chmod(dir, 0o777)
		}
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range v.Files {
		err := root.MkdirAll(filepath.Dir(f.Path), 0o755)
		if err == nil {
			err = root.WriteFile(f.Path, f.Data, 0o600)
		}
		if err == nil {
			err = root.Chmod(f.Path, os.FileMode(f.Mode))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// podMembers are the containers of a pod, the oldest first.
func podMembers(set *disk.Set, pod string) ([]*disk.Container, error) {
	all, err := set.All()
	slices.Reverse(all)
	return slices.DeleteFunc(all, func(c *disk.Container) bool { return pod == "" || c.Labels[kube.LabelPod] != pod }), err
}

// podVolumes are the volumes that go with a pod.
func podVolumes(set *disk.Set, pod string) ([]*disk.StoredVolume, error) {
	all, err := set.Volumes()
	return slices.DeleteFunc(all, func(v *disk.StoredVolume) bool { return pod == "" || v.Labels[kube.LabelPod] != pod }), err
}

func kubeDown(c *cli.Context) error {
	set, err := containers()
	if err != nil {
		return err
	}
	name := c.Args().First()
	if _, err := os.Stat(name); name != "-" && errors.Is(err, os.ErrNotExist) {
		all, err := podMembers(set, name)
		volumes, verr := podVolumes(set, name) // may be all there is of one that could not be made
		if err = errors.Join(err, verr); err == nil && len(all)+len(volumes) == 0 {
			err = errs.Hint(fmt.Errorf("no pod and no file is called %q", name), "`tiffin ps -a` lists the containers of a pod as POD-CONTAINER")
		}
		if err != nil {
			return err
		}
		return removePod(set, name, stdout)
	}
	read, err := readPods(c)
	if err != nil {
		return err
	}
	for _, p := range read.Plan.Pods {
		err = errors.Join(err, removePod(set, p.Name, stdout))
	}
	return err
}

// removePod stops and deletes the containers of a pod, that with the network last, then its
// volumes, and says what has gone.
func removePod(set *disk.Set, pod string, say io.Writer) error {
	all, err := podMembers(set, pod)
	if err != nil {
		return err
	}
	infra := func(c *disk.Container) bool { return c.Labels[kube.LabelContainer] == kube.InfraContainer }
	for _, last := range []bool{false, true} {
		failed := make([]error, len(all))
		var ending sync.WaitGroup
		for i, ctr := range all {
			if infra(ctr) == last {
				ending.Go(func() {
					if failed[i] = client.Stop(ctr, nil); failed[i] == nil {
						failed[i] = client.Remove(ctr, true)
					}
				})
			}
		}
		ending.Wait()
		if err := errors.Join(failed...); err != nil {
			return fmt.Errorf("pod %s: %w", pod, err)
		}
	}
	for _, ctr := range all {
		fmt.Fprintln(say, ctr.Name)
	}
	volumes, err := podVolumes(set, pod)
	for _, v := range volumes {
		if e := client.RemoveVolume(set, v.Name); e != nil {
			err = errors.Join(err, e)
		} else {
			fmt.Fprintln(say, v.Name)
		}
	}
	return err
}
