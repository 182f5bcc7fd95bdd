// Package parser reads compose files: the library of the Compose Specification merges, validates
// and completes them, and each service becomes the words of a `tiffin create`. It promises that
// nothing in a file is passed over: an attribute or a value that has no counterpart here is a
// problem, with file and line. Attributes whose names begin with x- are the files' own.
//
// Only the program compose links it, see package compose.
package parser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/errdefs"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"tiffin/internal/compose"
)

// known are the attributes of a service that have a counterpart here. The library reports each
// other one, also one that the specification will have later.
const known = `
	attach build.context build.dockerfile build.target build.args build.args.* build.cache_from build.cache_to cap_add cap_drop command container_name cpu_shares cpus cpuset
	depends_on depends_on.* depends_on.*.condition depends_on.*.required
	deploy.replicas deploy.resources.limits.cpus deploy.resources.limits.memory deploy.resources.limits.pids
	deploy.resources.reservations.memory
	devices devices.[].source devices.[].target devices.[].permissions
	dns dns_opt dns_search domainname entrypoint env_file env_file.[].path env_file.[].required env_file.[].format
	environment environment.* expose extends extends.file extends.service extra_hosts extra_hosts.* group_add healthcheck.disable
	healthcheck.interval healthcheck.retries healthcheck.start_interval healthcheck.start_period
	healthcheck.test healthcheck.timeout hostname image init ipc label_file labels labels.* links
	logging.driver logging.options logging.options.* mem_limit mem_reservation memswap_limit network_mode networks networks.*
	networks.*.aliases networks.*.ipv4_address networks.*.ipv6_address pids_limit platform
	ports ports.[].host_ip ports.[].mode ports.[].protocol ports.[].published ports.[].target
	privileged profiles pull_policy read_only restart scale security_opt shm_size stdin_open
	stop_grace_period stop_signal sysctls sysctls.* tmpfs tty ulimits ulimits.* ulimits.*.soft ulimits.*.hard user userns_mode
	volumes volumes.[].type volumes.[].source volumes.[].target volumes.[].read_only
	volumes.[].consistency volumes.[].bind.create_host_path volumes.[].bind.propagation volumes.[].bind.selinux
	volumes.[].volume.nocopy volumes.[].tmpfs.size volumes.[].tmpfs.mode volumes_from working_dir
	configs configs.[].source configs.[].target secrets secrets.[].source secrets.[].target`

// knownAbove are those of the file as a whole.
const knownAbove = `name include networks networks.* networks.*.name networks.*.external networks.*.driver networks.*.labels
	networks.*.labels.* networks.*.ipam.config.[].subnet networks.*.ipam.config.[].gateway
	volumes volumes.* volumes.*.name volumes.*.external volumes.*.driver volumes.*.labels volumes.*.labels.*
	configs configs.* configs.*.name configs.*.file secrets secrets.* secrets.*.name secrets.*.file`

// instead is what to say about attributes that are looked for most.
var instead = map[string]string{
	"configs": "a config is a file of yours, with its own owner and mode", "secrets": "a secret is a file of yours, with its own owner and mode",
	"links": "services find each other by their names, not by others",
}

// unknown is what is said about all others.
const unknown = "not known here"

// reading is the reading of one project.
type reading struct {
	files    files
	answer   compose.Answer
	warnings warnings
}

// Read reads the files of a project.
func Read(q compose.Request) compose.Answer {
	r := &reading{}
	logrus.SetOutput(io.Discard)
	logrus.AddHook(&r.warnings)
	if p := r.load(q); p != nil {
		r.project(p)
	}
	r.answer.Notes = r.warnings.text
	if len(r.answer.Problems) > 0 {
		r.answer.Project = nil
	}
	return r.answer
}

// warnings collects what the library logs: variables that are not set, for instance.
type warnings struct{ text []string }

func (*warnings) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel} }

func (w *warnings) Fire(e *logrus.Entry) error {
	w.text = append(w.text, e.Message)
	return nil
}

// load has the library read the files. It returns nil if there is a problem.
func (r *reading) load(q compose.Request) *types.Project {
	if err := regular(append(slices.Clone(q.EnvFiles), filepath.Join(cmp.Or(q.Dir, filepath.Dir(append(q.Files, ".")[0])), ".env"))...); err != nil {
		r.failed(err)
		return nil
	}
	var found []loader.UnsupportedAttribute
	o, err := cli.NewProjectOptions(q.Files,
		cli.WithWorkingDirectory(q.Dir), cli.WithOsEnv, cli.WithEnvFiles(q.EnvFiles...), cli.WithDotEnv,
		cli.WithConfigFileEnv, cli.WithDefaultConfigPath, cli.WithDefaultProfiles(q.Profiles...), cli.WithName(q.Name),
		cli.WithSelectedServices(q.Services...), cli.WithoutUnnecessaryResources, cli.WithResourceLoader(&r.files),
		cli.WithLoadOptions(loader.WithSupportedAttributes(paths(), func(f []loader.UnsupportedAttribute) { found = f }),
			func(o *loader.Options) { o.SkipResolveEnvironment = true })) // not before the files have been looked at
	if err == nil && len(o.ConfigPaths) == 0 {
		r.problem("", "there is no compose.yaml here or above, nor a file named with -f")
		return nil
	}
	var p *types.Project
	if err == nil {
		for _, name := range o.ConfigPaths {
			r.files.add(name)
			if _, e := r.files.documents(name); err == nil {
				err = e
			}
		}
	}
	if err == nil {
		p, err = o.LoadProject(context.Background())
	}
	if err == nil {
		for _, s := range p.Services {
			for _, f := range s.EnvFiles {
				err = cmp.Or(err, regular(f.Path))
			}
		}
	}
	if err == nil {
		p, err = p.WithServicesEnvironmentResolved(false)
	}
	for _, f := range found {
		text := unknown
		if parts := f.Path.Parts(); parts[0] != "services" {
			text = cmp.Or(instead[parts[0]], text)
		} else if len(parts) > 2 {
			text = cmp.Or(instead[parts[2]], text)
		}
		r.problem(f.Path, "%s", text)
	}
	if err != nil {
		r.failed(err)
	}
	if len(r.answer.Problems) > 0 {
		return nil
	}
	return p.WithoutUnresolvedOptionalDependencies()
}

// regular refuses files that are there but no files: to open a fifo is to wait for somebody.
func regular(names ...string) error {
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", short(name))
		}
	}
	return nil
}

// paths are the attributes that the library need not report.
func paths() (all []tree.Path) {
	for _, p := range strings.Fields(knownAbove) {
		all = append(all, tree.Path(p))
	}
	for _, p := range strings.Fields(known) {
		all = append(all, tree.Path("services.*."+p))
	}
	return append(all, "services", "services.*")
}

// invalid matches the library's words for what the schema does not allow: the path of a node, and
// what is wrong with it, or which keys of it are.
var (
	invalid  = regexp.MustCompile(`^validating [^:]*: (\S+) (.*)$`)
	property = regexp.MustCompile(`^additional properties? '([^']*)'`)
	stray    = "false schema" // the library's words for a key that is not in the specification
)

// failed is a problem of the library's, with its place in a file if its words have one.
func (r *reading) failed(err error) {
	text := strings.TrimSpace(err.Error())
	if m := invalid.FindStringSubmatch(text); m != nil {
		path := tree.Path(m[1])
		if key := property.FindStringSubmatch(m[2]); key != nil {
			path, m[2] = path.Next(key[1]), unknown
		} else if m[2] == stray {
			m[2] = unknown
		}
		r.problem(path, "%s", m[2])
		return
	}
	if errors.Is(err, errdefs.ErrNotFound) {
		text = strings.TrimSuffix(text, ": not found")
	}
	r.problem("", "%s", strings.ReplaceAll(text, "\n", " "))
}

// problem notes what is wrong at a path of the model: "services.web.ports.0"; "": of it all.
func (r *reading) problem(path tree.Path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = fmt.Sprintf("%s: %s: %s", r.files.at(path), path, text)
	}
	if !slices.Contains(r.answer.Problems, text) {
		r.answer.Problems = append(r.answer.Problems, text)
	}
}

// project translates what the library has understood.
func (r *reading) project(p *types.Project) {
	out := &compose.Project{Name: p.Name}
	r.answer.Project = out
	for _, key := range slices.Sorted(maps.Keys(p.Networks)) {
		out.Networks = append(out.Networks, r.network(p.Name, key, p.Networks[key]))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Volumes)) {
		out.Volumes = append(out.Volumes, r.volume(p.Name, key, p.Volumes[key]))
	}
	var files []string
	for _, f := range p.ComposeFiles {
		abs, err := filepath.Abs(f)
		if err != nil {
			abs = f
		}
		files = append(files, abs)
	}
	labels := []string{
		compose.LabelProject + "=" + p.Name,
		compose.LabelDir + "=" + p.WorkingDir, compose.LabelFiles + "=" + strings.Join(files, ","),
		compose.LabelNumber + "=1", compose.LabelOneOff + "=False",
	}
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		s, ok := p.Services[name]
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, other := range slices.Sorted(maps.Keys(s.DependsOn)) { // the library has refused circles
			visit(other)
		}
		out.Services = append(out.Services, r.service(p, s, labels))
	}
	for _, name := range p.ServiceNames() {
		visit(name)
	}
}

// service translates a service.
func (r *reading) service(p *types.Project, s types.ServiceConfig, labels []string) compose.Service {
	t := &translation{reading: r, at: tree.NewPath("services", s.Name), project: p, config: s}
	t.out = compose.Service{Name: s.Name, At: r.files.at(t.at), Image: s.Image, Container: containerName(p, s)}
	t.list("label", labels)
	t.flag("label", compose.LabelService+"="+s.Name)
	t.translate()
	return t.out
}

func containerName(p *types.Project, s types.ServiceConfig) string {
	return cmp.Or(s.ContainerName, p.Name+"-"+s.Name+"-1")
}

// network translates a network that services are in.
func (r *reading) network(project, key string, n types.NetworkConfig) compose.Resource {
	at := tree.NewPath("networks", key)
	if n.Driver != "" && n.Driver != "bridge" && n.Driver != "default" {
		r.problem(at.Next("driver"), "a network is a virtual switch, with nothing to choose")
	}
	out := compose.Resource{Name: n.Name, External: bool(n.External)}
	for _, pool := range n.Ipam.Config {
		out.Flags = append(out.Flags, "--subnet="+pool.Subnet)
		if pool.Gateway != "" {
			out.Flags = append(out.Flags, "--gateway="+pool.Gateway)
		}
	}
	out.Flags = append(out.Flags, labelFlags(project, compose.LabelNetwork, key, n.Labels)...)
	return out
}

// volume translates a volume that services mount.
func (r *reading) volume(project, key string, v types.VolumeConfig) compose.Resource {
	if v.Driver != "" && v.Driver != "local" {
		r.problem(tree.NewPath("volumes", key, "driver"), "a volume is a directory here, with nothing to choose")
	}
	return compose.Resource{Name: v.Name, External: bool(v.External), Flags: labelFlags(project, compose.LabelVolume, key, v.Labels)}
}

// labelFlags are the labels of a network or volume, with those that say whose it is.
func labelFlags(project, kind, key string, own map[string]string) (flags []string) {
	labels := map[string]string{compose.LabelProject: project, kind: key}
	maps.Copy(labels, own)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		flags = append(flags, "--label="+k+"="+labels[k])
	}
	return flags
}
