// The command tiffin generate kube: containers as a pod of Kubernetes. What a pod cannot say is
// noted, and what it says by default otherwise than tiffin, it says: no more rights than here.

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/kube"
)

func generateKubeCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER…",
		Description: "The containers become one pod, with their settings, not with what they changed: `tiffin commit` and push that.\n" +
			"`tiffin play kube`, podman's, and kubectl take it. What a pod cannot say is noted.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "filename", Aliases: []string{"f"}, Usage: "write `FILE` instead, which must not be there, and seccomp profiles beside it"},
			&cli.StringFlag{Name: "format", Usage: "`json`: the pod as JSON, which kubectl takes, too"},
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Value: "pod", Usage: "`KIND` of object: pod, or deployment, which keeps as many pods as it says"},
			&cli.IntFlag{Name: "replicas", Aliases: []string{"r"}, Value: 1, Usage: "`N` pods of a deployment"},
		},
		Action: takes(1, -1, "at least one container", inStore(generateKube)),
	}
}

func generateKube(c *cli.Context, store *image.Store) error {
	asJSON, err := wantsJSON(c)
	if err != nil {
		return err
	}
	if kind := c.String("type"); kind != "pod" && kind != "deployment" {
		return usagef("--type is pod or deployment, not %q", kind)
	}
	if n := c.Int("replicas"); n < 1 || n > 1 && c.String("type") == "pod" {
		return usagef("--replicas is a number of pods from 1 on, of --type deployment")
	}
	x := &exporting{file: c.String("filename"), store: store, profiles: map[string][]byte{}, volumes: map[string]string{}}
	x.pod.APIVersion, x.pod.Kind = "v1", "Pod"
	for _, first := range []bool{false, true} { // what is the pod's is that of a container which stays
		for _, name := range c.Args().Slice() {
			ctr, err := findContainer(name)
			if err != nil {
				return err
			}
			if begins(ctr) != first {
				continue
			}
			if err := x.add(ctr); err != nil {
				return errs.Hint(fmt.Errorf("generate kube: container %s: %w", name, err), errs.HintOf(err))
			}
		}
	}
	if len(x.pod.Spec.Containers) == 0 {
		return usagef("there is no container but one that has the network of a pod, or ends before the others begin")
	}
	if c.String("type") == "deployment" {
		x.deploy(int64(c.Int("replicas")))
	}
	for _, n := range x.notes {
		fmt.Fprintf(stderr, "tiffin: note: %s\n", printable(n))
	}
	write := func(w io.Writer) error { return printJSON(w, listed(x.objects()), "  ") }
	if !asJSON {
		a, err := kube.Ask(store.Root(), kube.Request{Objects: x.objects()})
		if err != nil {
			return err
		}
		write = func(w io.Writer) error {
			_, err := io.WriteString(w, a.Text)
			return err
		}
	}
	if x.file == "" {
		return write(stdout)
	}
	for _, name := range append([]string{x.file}, profilePaths(x)...) {
		if _, err := os.Lstat(name); err == nil {
			return errs.Hint(fmt.Errorf("generate kube: %s is there already", name), "remove it, or name a FILE elsewhere; profiles are written beside it")
		}
	}
	for name, text := range x.profiles {
		if err := writeFile("generate kube", filepath.Join(filepath.Dir(x.file), name), func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
			return err
		}
	}
	return writeFile("generate kube", x.file, write)
}

func profilePaths(x *exporting) (paths []string) {
	for name := range x.profiles {
		paths = append(paths, filepath.Join(filepath.Dir(x.file), name))
	}
	return paths
}

// exporting is the making of a pod.
type exporting struct {
	file     string
	store    *image.Store
	pod      kube.Pod
	deployed *kube.Deployment // of the pod; nil: it stands by itself
	notes    []string
	profiles map[string][]byte // seccomp profiles, by the names of their files
	shown    []any             // config maps and secrets
	volumes  map[string]string // of pods: which one has a name in this pod
}

func (x *exporting) note(ctr *disk.Container, format string, args ...any) {
	if text := ctr.Name + ": " + fmt.Sprintf(format, args...); !slices.Contains(x.notes, text) {
		x.notes = append(x.notes, text)
	}
}

// notLabel are characters that names of containers in a pod do not have.
var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// kubeName is a name as a pod can have it.
func kubeName(s string) string {
	s = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(s) > 50 {
		s = strings.Trim(s[:50], "-")
	}
	return s
}

// begins tells whether a container is one of a pod's initContainers.
func begins(ctr *disk.Container) bool { return ctr.Labels[kube.LabelFirst] != "" }

// add adds a container.
func (x *exporting) add(ctr *disk.Container) error {
	if ctr.Labels[kube.LabelContainer] == kube.InfraContainer {
		return nil // play makes one again
	}
	var ic ocispec.ImageConfig
	if img, err := x.store.ResolveLazy(ctr.ImageID); err == nil {
		ic = img.Config.Config
	}
	for _, w := range slices.Concat(ctr.Args(), ctr.Env, []string{ctr.Config.Dir}) {
		if !utf8.ValidString(w) {
			return fmt.Errorf("%q is not UTF-8, and YAML can have nothing else", w)
		}
	}
	name := kubeName(ctr.Name)
	if own := ctr.Labels[kube.LabelContainer]; own != "" {
		name = own
	}
	if name == "" {
		return errors.New("its name has nothing that a name in a pod can have: a-z, 0-9")
	}
	if slices.ContainsFunc(slices.Concat(x.pod.Spec.Containers, x.pod.Spec.InitContainers), func(k kube.Container) bool { return k.Name == name }) {
		return fmt.Errorf("another one is called %q in the pod already", name)
	}
	k := kube.Container{Name: name, Image: ctr.Image, WorkingDir: ctr.Config.Dir, Stdin: ctr.Stdin, TTY: ctr.TTY}
	if ctr.Config.Dir == ic.WorkingDir {
		k.WorkingDir = ""
	}
	vars := map[string]string{}
	for _, e := range ctr.Env {
		if name, value, _ := strings.Cut(e, "="); !slices.Contains(ic.Env, e) {
			k.Env = append(k.Env, kube.EnvVar{Name: name, Value: value})
			vars[name] = value
		}
	}
	for i := range k.Env {
		k.Env[i].Value = kube.Literal(k.Env[i].Value, vars)
	}
	literals := func(words []string) (out []string) {
		for _, w := range words {
			out = append(out, kube.Literal(w, vars))
		}
		return out
	}
	switch {
	case slices.Equal(ctr.Entrypoint, ic.Entrypoint) && slices.Equal(ctr.Cmd, ic.Cmd):
	case slices.Equal(ctr.Entrypoint, ic.Entrypoint):
		k.Args = literals(ctr.Cmd)
	case len(ctr.Entrypoint) == 0:
		k.Command = literals(ctr.Cmd)
	default:
		k.Command, k.Args = literals(ctr.Entrypoint), literals(ctr.Cmd)
	}
	if ctr.StopSignal != ic.StopSignal {
		x.note(ctr, "a pod cannot say that %s stops it", ctr.StopSignal)
	}
	x.lasting(ctr, &k)
	if err := x.rights(ctr, &k, ic.User); err != nil {
		return err
	}
	if err := x.mounts(ctr, &k); err != nil {
		return err
	}
	p := &x.pod.Spec
	first, list := len(p.Containers)+len(p.InitContainers) == 0, &p.Containers
	if begins(ctr) {
		list = &p.InitContainers
	}
	*list = append(*list, k)
	return x.around(ctr, &(*list)[len(*list)-1], first, &ic)
}

// lasting: how it is asked how it is, and what it may use.
func (x *exporting) lasting(ctr *disk.Container, k *kube.Container) {
	if h := ctr.Healthcheck; h != nil && len(h.Test) > 1 {
		full := h.WithDefaults()
		command := h.Test[1:]
		if h.Test[0] == "CMD-SHELL" {
			shell := ctr.Shell
			if shell == nil {
				shell = []string{"/bin/sh", "-c"}
			}
			command = append(slices.Clone(shell), h.Test[1])
		}
		seconds := func(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
		k.LivenessProbe = &kube.Probe{Exec: &kube.ExecAction{Command: command}, PeriodSeconds: seconds(full.Interval), TimeoutSeconds: seconds(full.Timeout),
			InitialDelaySeconds: seconds(full.StartPeriod), FailureThreshold: int64(full.Retries)}
		x.note(ctr, "Kubernetes restarts a container that is not healthy")
	}
	l := ctr.Limits
	k.Resources.Limits, k.Resources.Requests = map[string]kube.Quantity{}, map[string]kube.Quantity{}
	set := func(to map[string]kube.Quantity, what string, n int64, unit string) {
		if n > 0 {
			to[what] = kube.Quantity(strconv.FormatInt(n, 10) + unit)
		}
	}
	set(k.Resources.Limits, "memory", l.Memory, "")
	set(k.Resources.Limits, "cpu", (l.NanoCPUs+1e6-1)/1e6, "m")
	set(k.Resources.Requests, "memory", l.MemoryReservation, "")
	set(k.Resources.Requests, "cpu", (l.CPUShares*1000+1023)/1024, "m")
	for _, other := range []struct {
		what string
		set  bool
	}{{"--memory-swap", l.MemorySwap != 0}, {"--cpuset-cpus", l.Cpuset != ""}, {"--pids-limit", l.Pids > 0}, {"--blkio-weight", l.BlkioWeight > 0}, {"--ulimit", len(ctr.Rlimits) > 0},
		{"--shm-size", ctr.ShmSize != 0}, {"--umask", ctr.Umask != nil}, {"--init", ctr.Init}, {"--userns", ctr.SingleID || ctr.KeepID != ""}, {"--root-emulation", ctr.Emulation != ""},
		{"--restart with a number of starts", ctr.Restart.Max > 0}, {"--health-start-interval", ctr.Healthcheck != nil && ctr.Healthcheck.StartInterval != 0},
		{"--log-driver", ctr.NoLog && !ctr.AutoRemove}, {"--log-opt", !reflect.DeepEqual(ctr.Log, disk.LogOptions{})}, {"--driver", ctr.Driver != ""}, {"--limits", ctr.LimitsBy != ""},
		{"--rm", ctr.AutoRemove}, {"--without", len(ctr.Without) > 0}, {"--domainname", ctr.Domainname != ""}, {"--upper", ctr.Upper != ""}} {
		if other.set {
			x.note(ctr, "a pod has no %s", other.what)
		}
	}
}

// rights: what the command may do. What a pod allows by default and tiffin does not is said.
func (x *exporting) rights(ctr *disk.Container, k *kube.Container, user string) error {
	s := &kube.SecurityContext{ReadOnlyRootFilesystem: ctr.ReadOnly}
	k.SecurityContext = s
	// Runtimes give a privileged container every capability, whatever is dropped.
	everything := slices.Contains(ctr.CapAdd, "ALL") && len(ctr.CapDrop) == 0 && ctr.NewPrivs && ctr.NoSeccomp && ctr.Unmasked
	s.Privileged = everything
	if !everything {
		s.AllowPrivilegeEscalation = &ctr.NewPrivs
		if ctr.Unmasked {
			s.ProcMount = "Unmasked"
		}
		if len(ctr.CapAdd)+len(ctr.CapDrop) > 0 {
			s.Capabilities = &kube.Capabilities{Add: bare(ctr.CapAdd), Drop: bare(ctr.CapDrop)}
		}
		s.SeccompProfile = &kube.SeccompProfile{Type: "RuntimeDefault"}
	}
	if ctr.NoSeccomp && !everything {
		s.SeccompProfile.Type = "Unconfined"
	}
	if ctr.Seccomp != nil {
		if x.file == "" {
			return errs.Hint(fmt.Errorf("its seccomp profile is a file of its own"), "-f FILE writes both")
		}
		text, err := json.MarshalIndent(ctr.Seccomp, "", "  ")
		if err != nil {
			return err
		}
		name := k.Name + "-seccomp.json"
		x.profiles[name] = append(text, '\n')
		s.SeccompProfile = &kube.SeccompProfile{Type: "Localhost", LocalhostProfile: name}
		x.note(ctr, "Kubernetes looks for %s in /var/lib/kubelet/seccomp of the machine", name)
	}
	if ctr.User != user {
		uid, gid, both := strings.Cut(ctr.User, ":")
		u, err := strconv.ParseInt(uid, 10, 32)
		g, err2 := strconv.ParseInt(gid, 10, 32)
		if err != nil || both && err2 != nil {
			return errs.Hint(fmt.Errorf("user %q is no number, and in a pod it is one", ctr.User), "make it with --user UID:GID")
		}
		if s.RunAsUser = &u; both {
			s.RunAsGroup = &g
		}
	}
	return nil
}

// bare are names of capabilities as Kubernetes has them.
func bare(names []string) (out []string) {
	for _, n := range names {
		out = append(out, strings.TrimPrefix(n, "CAP_"))
	}
	return out
}

// mounts: its volumes.
func (x *exporting) mounts(ctr *disk.Container, k *kube.Container) error {
	for _, v := range ctr.Volumes {
		if strings.HasPrefix(v.Source, "/dev/") {
			if !k.SecurityContext.Privileged { // which has all devices
				x.note(ctr, "device %s is not in the pod: a cluster has plugins for those", v.Source)
			}
			continue
		}
		of := kube.Volume{Name: fmt.Sprintf("%s-%d", kubeName(k.Name), len(k.VolumeMounts))}
		switch {
		case v.Anonymous:
			of.EmptyDir = &kube.EmptyDir{}
		case v.Name != "":
			if of.PersistentVolumeClaim = (&kube.ClaimRef{ClaimName: v.Name}); strings.Trim(notLabel.ReplaceAllString(v.Name, "-"), "-") != strings.ReplaceAll(v.Name, ".", "-") {
				return fmt.Errorf("volume %q has no name that Kubernetes takes, which is of small letters, digits, dots and hyphens", v.Name)
			}
		case v.Source == "":
			of.EmptyDir = &kube.EmptyDir{Medium: "Memory"}
			for option := range strings.SplitSeq(v.Options, ",") {
				if size, ok := strings.CutPrefix(option, "size="); ok && !strings.HasSuffix(size, "%") {
					of.EmptyDir.SizeLimit = kube.Quantity(kubeSize(size))
				} else if option != "" && option != "mode=777" && option != "ro" {
					x.note(ctr, "tmpfs %s has no option %s in a pod", v.Target, option)
				}
			}
		default:
			kind := "Directory"
			if st, err := os.Stat(v.Source); err != nil {
				return err
			} else if !st.IsDir() {
				kind = "File"
			}
			of.HostPath = &kube.HostPath{Path: v.Source, Type: kind}
		}
		mount := kube.VolumeMount{MountPath: v.Target, ReadOnly: v.ReadOnly}
		own, part, err := podVolume(ctr, &v)
		if err != nil {
			return err
		}
		if own != nil { // several containers may have it
			if of, err = x.contents(ctr, own); err != nil {
				return fmt.Errorf("volume %s: %w", own.Name, err)
			}
			mount.SubPath = part
		}
		if !slices.ContainsFunc(x.pod.Spec.Volumes, func(other kube.Volume) bool { return other.Name == of.Name }) {
			x.pod.Spec.Volumes = append(x.pod.Spec.Volumes, of)
		}
		mount.Name = of.Name
		k.VolumeMounts = append(k.VolumeMounts, mount)
	}
	return nil
}

// kubeSize is a size of mount(8) as a quantity: 64m is 64Mi.
func kubeSize(s string) string {
	if i := strings.IndexAny(s, "kKmMgG"); i == len(s)-1 && i > 0 {
		return s[:i] + strings.ToUpper(s[i:]) + "i"
	}
	return s
}
