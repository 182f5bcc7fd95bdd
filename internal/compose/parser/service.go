// A service becomes the words of `tiffin create`, attribute by attribute, and what has to be known
// beside them to start it. Rules are those of the Compose Specification, 05-services.md.

package parser

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"

	"tiffin/internal/compose"
)

// translation is that of one service.
type translation struct {
	*reading
	at      tree.Path // of the service
	project *types.Project
	config  types.ServiceConfig
	out     compose.Service
}

// flag adds a flag, unless its value is "".
func (t *translation) flag(name, value string) {
	if value != "" {
		t.out.Flags = append(t.out.Flags, "--"+name+"="+value)
	}
}

// list adds a flag for each value.
func (t *translation) list(name string, values []string) {
	for _, v := range values {
		t.flag(name, v)
	}
}

// pairs adds a flag for each key, in the order of the keys.
func (t *translation) pairs(name string, values map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(values)) {
		t.flag(name, k+"="+values[k])
	}
}

// number adds a flag unless n is 0.
func (t *translation) number(name string, n int64) {
	if n != 0 {
		t.flag(name, strconv.FormatInt(n, 10))
	}
}

// onOff adds a flag if it is on.
func (t *translation) onOff(name string, on bool) {
	if on {
		t.out.Flags = append(t.out.Flags, "--"+name)
	}
}

// refuse is a problem with an attribute of the service.
func (t *translation) refuse(attribute, format string, args ...any) {
	t.problem(t.at+"."+tree.Path(attribute), format, args...)
}

func (t *translation) translate() {
	s := t.config
	t.flag("name", t.out.Container)
	t.build()
	if t.out.Image == "" {
		t.problem(t.at, "it has no image")
	}
	if s.GetScale() != 1 {
		t.refuse("scale", "each service is one container")
	}
	t.command()
	t.world()
	t.rights()
	t.limits()
	t.volumes()
	t.networks()
	t.ports()
	t.life()
}

// build: how its image is made.
func (t *translation) build() {
	b := t.config.Build
	if b == nil {
		return
	}
	t.out.Image = cmp.Or(t.out.Image, t.project.Name+"-"+t.config.Name)
	words := []string{"--tag=" + t.out.Image}
	if file := b.Dockerfile; file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(b.Context, file)
		}
		words = append(words, "--file="+file)
	}
	if b.Target != "" {
		words = append(words, "--target="+b.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(b.Args)) {
		if v := b.Args[k]; v != nil { // nil: a variable that is not set here
			words = append(words, "--build-arg="+k+"="+*v)
		}
	}
	for _, from := range b.CacheFrom {
		words = append(words, "--cache-from="+from)
	}
	for _, to := range b.CacheTo {
		words = append(words, "--cache-to="+to)
	}
	t.out.Build = append(words, "--", b.Context)
}

// command: what is run, and with which environment.
func (t *translation) command() {
	s := t.config
	t.out.Command = s.Command
	if s.Command != nil && len(s.Command) == 0 && s.Entrypoint == nil {
		t.refuse("command", "the image's command cannot be taken away without an entrypoint")
	}
	if s.Entrypoint != nil {
		// docker-run(1), --entrypoint: one word, and with it the image's command does not count.
		switch {
		case len(s.Entrypoint) > 0:
			t.flag("entrypoint", s.Entrypoint[0])
			t.out.Args = s.Entrypoint[1:]
		case len(s.Command) > 0:
			t.flag("entrypoint", s.Command[0])
			t.out.Command = s.Command[1:]
		default:
			t.refuse("entrypoint", "with neither entrypoint nor command nothing is left to run")
			return
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Environment)) {
		if v := s.Environment[k]; v != nil { // nil: a variable that is not set here
			t.flag("env", k+"="+*v)
		}
	}
	t.flag("workdir", s.WorkingDir)
	t.flag("user", s.User)
	t.onOff("tty", s.Tty)
	t.onOff("interactive", s.StdinOpen)
	t.onOff("init", s.Init != nil && *s.Init)
}

// world: what the container sees of the machine.
func (t *translation) world() {
	s := t.config
	t.flag("hostname", s.Hostname)
	t.flag("domainname", s.DomainName)
	t.list("dns", s.DNS)
	t.list("dns-search", s.DNSSearch)
	t.list("dns-option", s.DNSOpts)
	for _, name := range slices.Sorted(maps.Keys(s.ExtraHosts)) {
		for _, ip := range s.ExtraHosts[name] {
			t.flag("add-host", name+":"+ip)
		}
	}
	t.pairs("label", s.Labels)
	t.flag("platform", s.Platform)
	switch s.PullPolicy {
	case "", types.PullPolicyAlways, types.PullPolicyNever, types.PullPolicyMissing:
		t.flag("pull", s.PullPolicy)
	default:
		t.refuse("pull_policy", "%q is none of always, never and missing", s.PullPolicy)
	}
	if s.Logging != nil {
		switch s.Logging.Driver {
		case "", "json-file", "local":
		case "none":
			t.flag("log-driver", "none")
		default:
			t.refuse("logging.driver", "%q is none of json-file, local and none", s.Logging.Driver)
		}
		t.pairs("log-opt", s.Logging.Options)
	}
	t.out.Silent = s.Attach != nil && !*s.Attach
}

// rights: what the command may do.
func (t *translation) rights() {
	s := t.config
	t.onOff("read-only", s.ReadOnly)
	t.onOff("privileged", s.Privileged)
	t.list("cap-add", s.CapAdd)
	t.list("cap-drop", s.CapDrop)
	t.list("security-opt", s.SecurityOpt)
	t.flag("userns", s.UserNSMode)
	t.list("group-add", s.GroupAdd)
	t.pairs("sysctl", s.Sysctls)
	for _, name := range slices.Sorted(maps.Keys(s.Ulimits)) {
		if l := s.Ulimits[name]; l.Single != 0 {
			t.flag("ulimit", fmt.Sprintf("%s=%d", name, l.Single))
		} else {
			t.flag("ulimit", fmt.Sprintf("%s=%d:%d", name, l.Soft, l.Hard))
		}
	}
	for i, d := range s.Devices {
		if d.Permissions != "" && d.Permissions != "rwm" {
			t.refuse(fmt.Sprintf("devices.%d", i), "a device's owner and mode say who may do what, not %q", d.Permissions)
		}
		device := d.Source
		if d.Target != "" && d.Target != d.Source {
			device += ":" + d.Target
		}
		t.flag("device", device)
	}
}

// limits: what all processes of the container may use.
func (t *translation) limits() {
	s := t.config
	cpus, pids := s.CPUS, s.PidsLimit
	memory, reserved := int64(s.MemLimit), int64(s.MemReservation)
	if s.Deploy != nil {
		if l := s.Deploy.Resources.Limits; l != nil {
			cpus, pids = cmp.Or(cpus, float32(l.NanoCPUs)), cmp.Or(pids, l.Pids)
			memory = cmp.Or(memory, int64(l.MemoryBytes))
		}
		if l := s.Deploy.Resources.Reservations; l != nil {
			reserved = cmp.Or(reserved, int64(l.MemoryBytes))
		}
	}
	if cpus != 0 {
		t.flag("cpus", strconv.FormatFloat(float64(cpus), 'f', -1, 32))
	}
	t.number("memory", memory)
	t.number("memory-reservation", reserved)
	t.number("memory-swap", int64(s.MemSwapLimit))
	t.number("cpu-shares", s.CPUShares)
	t.flag("cpuset-cpus", s.CPUSet)
	t.number("pids-limit", pids)
	t.number("shm-size", int64(s.ShmSize))
	t.flag("ipc", s.Ipc)
}

// life: what has to be true before it starts, how it is asked how it is, and how it ends.
func (t *translation) life() {
	s := t.config
	var needs []string
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		d := s.DependsOn[name]
		needs = append(needs, fmt.Sprintf("%s:%s:%t", name, d.Condition, d.Restart))
		t.out.Needs = append(t.out.Needs, compose.Need{Service: name, Condition: cmp.Or(d.Condition, compose.Started), Optional: !d.Required})
	}
	t.flag("label", compose.LabelNeeds+"="+strings.Join(needs, ","))
	for _, l := range s.Links {
		if from, to, ok := strings.Cut(l, ":"); ok && from != to {
			t.refuse("links", "%s", instead["links"])
		}
	}
	t.health()
	policy, limit, _ := strings.Cut(s.Restart, ":")
	if policy != "" && policy != "no" {
		max, err := strconv.Atoi(cmp.Or(limit, "0"))
		if err != nil || max < 0 || limit != "" && policy != types.RestartPolicyOnFailure ||
			!slices.Contains([]string{types.RestartPolicyAlways, types.RestartPolicyOnFailure, types.RestartPolicyUnlessStopped}, policy) {
			t.refuse("restart", "%q is none of no, always, unless-stopped, on-failure and on-failure:NUMBER", s.Restart)
		}
		t.flag("restart", s.Restart)
	}
	t.flag("stop-signal", s.StopSignal)
	if s.StopGracePeriod != nil {
		t.flag("stop-timeout", strconv.Itoa(int(math.Ceil(time.Duration(*s.StopGracePeriod).Seconds()))))
	}
}

// health: how it is asked whether it works.
func (t *translation) health() {
	h := t.config.HealthCheck
	if h == nil {
		return
	}
	span := func(flag string, d *types.Duration) {
		if d != nil {
			t.flag(flag, time.Duration(*d).String())
		}
	}
	switch {
	case h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE":
		t.onOff("no-healthcheck", true)
		return
	case len(h.Test) == 0: // the image's
	case len(h.Test) == 2 && h.Test[0] == "CMD-SHELL":
		t.flag("health-cmd", h.Test[1])
	case len(h.Test) > 1 && h.Test[0] == "CMD":
		words, _ := json.Marshal(h.Test[1:]) // of strings it never fails
		t.flag("health-cmd", string(words))
	default:
		t.refuse("healthcheck.test", "it is neither a line nor begins with CMD, CMD-SHELL or NONE")
	}
	span("health-interval", h.Interval)
	span("health-timeout", h.Timeout)
	span("health-start-period", h.StartPeriod)
	span("health-start-interval", h.StartInterval)
	if h.Retries != nil {
		t.number("health-retries", int64(min(*h.Retries, 1e6)))
	}
}

// ports: what of the container can be reached from outside.
func (t *translation) ports() {
	for i, p := range t.config.Ports {
		port := strconv.Itoa(int(p.Target)) + "/" + cmp.Or(p.Protocol, "tcp")
		if p.Published != "" || p.HostIP != "" {
			port = p.Published + ":" + port
		}
		if p.HostIP != "" {
			ip, err := netip.ParseAddr(p.HostIP)
			if err != nil {
				t.refuse(fmt.Sprintf("ports.%d", i), "%q is no address", p.HostIP)
			}
			port = netip.AddrPortFrom(ip, 0).String()
			port = strings.TrimSuffix(port, "0") + p.Published + ":" + strconv.Itoa(int(p.Target)) + "/" + cmp.Or(p.Protocol, "tcp")
		}
		t.flag("publish", port)
	}
	t.list("expose", t.config.Expose)
}

// networks: whom it sees.
func (t *translation) networks() {
	s := t.config
	switch mode := s.NetworkMode; {
	case mode == "":
	case strings.HasPrefix(mode, types.ServicePrefix):
		other, ok := t.project.Services[strings.TrimPrefix(mode, types.ServicePrefix)]
		if !ok {
			t.refuse("network_mode", "there is no such service")
			return
		}
		t.flag("network", "container:"+containerName(t.project, other))
		return
	default:
		t.flag("network", mode)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		words := []string{"name=" + t.project.Networks[key].Name, "alias=" + s.Name}
		if n := s.Networks[key]; n != nil {
			for _, a := range n.Aliases {
				words = append(words, "alias="+a)
			}
			if n.Ipv4Address != "" {
				words = append(words, "ip="+n.Ipv4Address)
			}
			if n.Ipv6Address != "" {
				words = append(words, "ip6="+n.Ipv6Address)
			}
		}
		t.flag("network", strings.Join(words, ","))
	}
}
