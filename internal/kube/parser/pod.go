// A pod becomes containers, and each of them the words of `tiffin create`. Rules are those of the
// API reference of Kubernetes, Pod v1.
//
// Containers of a pod share a network. If there are several, it belongs to one more, which does
// nothing and runs as long as the pod is there: any of the others may end and be started again.

package parser

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"tiffin/internal/compose"
	"tiffin/internal/kube"
)

// infraImage is what the container that has the network of a pod is made of.
const infraImage = "tiffin/base"

// maxPlan is how much a plan may have in it, in bytes.
const maxPlan = 16 << 20

// translation is that of one pod.
type translation struct {
	*reading
	node  *yaml.Node // of the document
	path  string     // of the pod's spec in it
	spec  *kube.PodSpec
	meta  *kube.ObjectMeta
	out   kube.Sandbox
	infra bool
	vols  map[string]*volume
	ports map[string]bool // of this machine, that the pod has already
}

// refuse is a problem at a path of the pod's spec.
func (t *translation) refuse(path, format string, args ...any) {
	if len(t.answer.Problems) >= enough {
		return // where it is need not be found
	}
	path = step(t.path, "spec") + strings.TrimSuffix("."+path, ".")
	t.problem(find(t.node, path), path, format, args...)
}

// remark is a note at a path of the pod's spec.
func (t *translation) remark(path, format string, args ...any) {
	if len(t.answer.Notes) >= enough {
		return
	}
	path = step(t.path, "spec") + strings.TrimSuffix("."+path, ".")
	t.note(find(t.node, path), path, format, args...)
}

// spend counts what the plan has in it.
func (t *translation) spend(bytes int) {
	if t.size += bytes; t.size > maxPlan {
		t.refuse("", "it becomes more than %d MB", maxPlan>>20)
	}
}

// member is the translation of one container.
type member struct {
	*translation
	path string // below the spec: containers[0]
	of   *kube.Container
	out  kube.Member
	vars map[string]string
}

func (m *member) flag(name, value string) {
	if value != "" {
		m.out.Flags = append(m.out.Flags, "--"+name+"="+value)
		m.spend(len(value))
	}
}

func (m *member) onOff(name string, on bool) {
	if on {
		m.out.Flags = append(m.out.Flags, "--"+name)
	}
}

func (m *member) list(name string, values []string) {
	for _, v := range values {
		m.flag(name, v)
	}
}

func (m *member) refuse(path, format string, args ...any) {
	m.translation.refuse(strings.TrimSuffix(m.path+"."+path, "."), format, args...)
}

// sandbox translates a pod.
func (r *reading) sandbox(d document[kube.PodTemplate]) {
	t := &translation{reading: r, node: d.node, path: d.path, spec: &d.of.Spec, meta: &d.of.Metadata, vols: map[string]*volume{}, ports: map[string]bool{}}
	t.out.Name = d.name
	if d.path == "" && !r.named(d.node, "metadata.name", d.name) {
		return
	}
	if slices.ContainsFunc(r.answer.Plan.Pods, func(p kube.Sandbox) bool { return p.Name == d.name }) {
		r.problem(find(d.node, "metadata.name"), "metadata.name", "there are two pods %s", d.name)
	}
	for key := range t.meta.Labels {
		if strings.HasPrefix(key, kube.LabelPrefix) || strings.HasPrefix(key, compose.LabelPrefix) {
			t.problem(find(t.node, step(t.path, "metadata")), step(step(t.path, "metadata.labels"), key), "it says whose a container is, and is not to be chosen")
		}
	}
	s := t.spec
	t.infra = !s.HostNetwork && len(s.Containers)+len(s.InitContainers) > 1
	if r.containers += len(s.Containers) + len(s.InitContainers) + 1; r.containers > maxContainers {
		t.refuse("", "the file has more than %d containers", maxContainers)
		return
	}
	if len(s.Containers) == 0 {
		t.refuse("containers", "there is none")
	}
	switch s.RestartPolicy {
	case "", "Always", "OnFailure", "Never":
	default:
		t.refuse("restartPolicy", "%q is none of Always, OnFailure and Never", s.RestartPolicy)
	}
	t.volumes()
	if t.infra {
		m := &member{translation: t, of: &kube.Container{Name: kube.InfraContainer}}
		m.identity(kube.InfraName(d.name))
		m.network()
		m.list("sysctl", t.sysctls())
		m.out.Flags = append(m.out.Flags, "--read-only", "--cap-drop=ALL", "--stop-signal=KILL", "--pull=never")
		m.out.Image, m.out.Command = infraImage, []string{"sleep", "infinity"}
		for i := range s.Containers {
			m.ports(fmt.Sprintf("containers[%d]", i), s.Containers[i].Ports)
		}
		t.out.Containers = append(t.out.Containers, m.out)
	}
	seen := map[string]bool{}
	for kind, list := range [][]kube.Container{s.InitContainers, s.Containers} {
		for i := range list {
			m := &member{translation: t, of: &list[i], path: fmt.Sprintf("%s[%d]", []string{"initContainers", "containers"}[kind], i), vars: map[string]string{}}
			if !label.MatchString(m.of.Name) || len(m.of.Name) > 63 || seen[m.of.Name] {
				m.refuse("name", "%q is no name of its own: small letters, digits and -, 63 at most", m.of.Name)
				continue
			}
			seen[m.of.Name] = true
			m.out.First = kind == 0
			m.translate()
			t.out.Containers = append(t.out.Containers, m.out)
		}
	}
	for i, v := range s.Volumes {
		if known := t.vols[v.Name]; known != nil && known.mounted == 0 {
			t.remark(fmt.Sprintf("volumes[%d]", i), "no container mounts it")
		}
	}
	r.answer.Plan.Pods = append(r.answer.Plan.Pods, t.out)
}

// identity: what the container is called, and whose it is.
func (m *member) identity(name string) {
	m.out.Name, m.out.Container = m.of.Name, name
	m.flag("name", name)
	for _, k := range slices.Sorted(maps.Keys(m.meta.Labels)) {
		m.flag("label", k+"="+m.meta.Labels[k])
	}
	m.flag("label", kube.LabelPod+"="+m.translation.out.Name)
	m.flag("label", kube.LabelContainer+"="+m.of.Name)
	if m.out.First {
		m.flag("label", kube.LabelFirst+"=true")
	}
}

// translate translates a container.
func (m *member) translate() {
	c := m.of
	m.identity(m.translation.out.Name + "-" + c.Name)
	if m.out.Image = c.Image; c.Image == "" {
		m.refuse("image", "it has none")
	}
	pull, ok := map[string]string{"": "", "Always": "always", "IfNotPresent": "missing", "Never": "never"}[c.ImagePullPolicy]
	if m.flag("pull", pull); !ok {
		m.refuse("imagePullPolicy", "%q is none of Always, IfNotPresent and Never", c.ImagePullPolicy)
	}
	m.environment()
	m.command()
	m.flag("workdir", c.WorkingDir)
	m.onOff("interactive", c.Stdin)
	m.onOff("tty", c.TTY)
	m.rights()
	m.limits()
	m.mounts()
	if m.infra {
		m.flag("network", "container:"+kube.InfraName(m.translation.out.Name))
		if m.out.First && len(c.Ports) > 0 {
			m.refuse("ports", "it ends before the pod begins")
		}
	} else {
		m.network()
		m.list("sysctl", m.sysctls())
		m.ports(m.path, c.Ports)
	}
	if m.spec.HostIPC {
		m.flag("ipc", "host")
	}
	m.life()
}

// network: whom it sees, and under which names.
func (m *member) network() {
	s := m.spec
	if s.HostNetwork {
		m.flag("network", "host")
	} else {
		m.flag("network", m.request.Network)
	}
	m.flag("hostname", cmp.Or(s.Hostname, m.translation.out.Name))
	for i, a := range s.HostAliases {
		if _, err := netip.ParseAddr(a.IP); err != nil {
			m.translation.refuse(fmt.Sprintf("hostAliases[%d].ip", i), "%q is no address", a.IP)
		}
		for _, name := range a.Hostnames {
			m.flag("add-host", name+":"+a.IP)
		}
	}
	switch s.DNSPolicy {
	case "", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None":
	default:
		m.translation.refuse("dnsPolicy", "%q is none of ClusterFirst, ClusterFirstWithHostNet, Default and None", s.DNSPolicy)
	}
	if d := s.DNSConfig; d != nil {
		m.list("dns", d.Nameservers)
		m.list("dns-search", d.Searches)
		for _, o := range d.Options {
			m.flag("dns-option", strings.TrimSuffix(o.Name+":"+o.Value, ":"))
		}
	} else if s.DNSPolicy == "None" {
		m.translation.refuse("dnsPolicy", "None needs a dnsConfig")
	}
}

// ports: what of it can be reached from outside.
func (m *member) ports(path string, ports []kube.Port) {
	for i, p := range ports {
		at := fmt.Sprintf("%s.ports[%d]", path, i)
		protocol := strings.ToLower(cmp.Or(p.Protocol, "TCP"))
		if protocol != "tcp" && protocol != "udp" {
			m.translation.refuse(at+".protocol", "%q is neither TCP nor UDP", p.Protocol)
		}
		if p.ContainerPort < 1 || p.ContainerPort > 65535 || p.HostPort < 0 || p.HostPort > 65535 {
			m.translation.refuse(at, "a port is a number from 1 to 65535")
		}
		target := fmt.Sprintf("%d/%s", p.ContainerPort, protocol)
		if here := fmt.Sprintf("%s:%d/%s", p.HostIP, p.HostPort, protocol); p.HostPort != 0 && m.translation.ports[here] {
			m.translation.refuse(at+".hostPort", "this machine has one such port, and the pod wants it twice")
		} else {
			m.translation.ports[here] = true
		}
		switch ip, err := netip.ParseAddr(p.HostIP); {
		case p.HostIP != "" && err != nil:
			m.translation.refuse(at+".hostIP", "%q is no address", p.HostIP)
		case p.HostPort == 0:
			m.flag("expose", target)
		case m.spec.HostNetwork && p.HostPort != p.ContainerPort:
			m.translation.refuse(at+".hostPort", "with hostNetwork it is the containerPort")
		case m.spec.HostNetwork:
		case p.HostIP == "":
			m.flag("publish", fmt.Sprintf("%d:%s", p.HostPort, target))
		default:
			m.flag("publish", fmt.Sprintf("%s:%s", netip.AddrPortFrom(ip, uint16(p.HostPort)), target))
		}
	}
}

// life: how it is asked how it is, when it is started again, and how it ends.
func (m *member) life() {
	switch {
	case m.out.First, m.spec.RestartPolicy == "Never":
	case m.spec.RestartPolicy == "OnFailure":
		m.flag("restart", "on-failure")
	default:
		m.flag("restart", "always")
	}
	grace := int64(30)
	if g := m.spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	if grace < 0 || grace > 1<<31-1 {
		m.translation.refuse("terminationGracePeriodSeconds", "it is a number of seconds")
	}
	m.flag("stop-timeout", strconv.FormatInt(grace, 10))
	p := m.of.LivenessProbe
	if p == nil {
		m.onOff("no-healthcheck", true)
		return
	}
	if m.out.First {
		m.refuse("livenessProbe", "it ends before the pod begins")
		return
	}
	if p.Exec == nil || len(p.Exec.Command) == 0 {
		m.refuse("livenessProbe", "it has no exec.command")
		return
	}
	m.flag("health-cmd", jsonWords(p.Exec.Command))
	for _, f := range []struct {
		name, field string
		seconds     int64
	}{{"interval", "periodSeconds", cmp.Or(p.PeriodSeconds, 10)}, {"timeout", "timeoutSeconds", cmp.Or(p.TimeoutSeconds, 1)}, {"start-period", "initialDelaySeconds", p.InitialDelaySeconds}} {
		if f.seconds < 0 || f.seconds > 1<<31-1 {
			m.refuse("livenessProbe."+f.field, "it is a number of seconds")
		} else if f.seconds > 0 {
			m.flag("health-"+f.name, strconv.FormatInt(f.seconds, 10)+"s")
		}
	}
	if p.FailureThreshold < 0 || p.FailureThreshold > 1e6 {
		m.refuse("livenessProbe.failureThreshold", "it is a number of failures")
	}
	m.flag("health-retries", strconv.FormatInt(cmp.Or(p.FailureThreshold, 3), 10))
	m.remark(m.path+".livenessProbe", "`tiffin ps` shows what it says, and nobody restarts the container for it")
}

// sysctls are the settings of the pod's network.
func (t *translation) sysctls() (words []string) {
	if t.spec.SecurityContext != nil {
		for _, s := range t.spec.SecurityContext.Sysctls {
			words = append(words, s.Name+"="+s.Value)
		}
	}
	return words
}

// limits: what all processes of the container may use.
func (m *member) limits() {
	for _, kind := range []struct {
		name   string
		values map[string]kube.Quantity
	}{{"limits", m.of.Resources.Limits}, {"requests", m.of.Resources.Requests}} {
		for _, what := range slices.Sorted(maps.Keys(kind.values)) {
			path := step("resources."+kind.name, what)
			n, ok := quantityOf(string(kind.values[what]))
			switch {
			case what != "memory" && what != "cpu":
				m.refuse(path, "only memory and cpu are known here")
			case !ok:
				m.refuse(path, "%q is no quantity above 0, such as 64Mi or 500m", kind.values[what])
			case kind.name == "limits" && what == "memory":
				m.flag("memory", strconv.FormatInt((n+999)/1000, 10))
			case kind.name == "limits":
				m.flag("cpus", strconv.FormatFloat(float64(n)/1000, 'f', -1, 64))
			case what == "memory":
				m.flag("memory-reservation", strconv.FormatInt((n+999)/1000, 10))
			default: // a CPU is 1024 shares
				m.flag("cpu-shares", strconv.FormatInt(min(max(n*1024/1000, 2), 262144), 10))
			}
		}
	}
}

// rights: what the command may do.
func (m *member) rights() {
	pod, own := cmp.Or(m.spec.SecurityContext, &kube.PodSecurityContext{}), cmp.Or(m.of.SecurityContext, &kube.SecurityContext{})
	user, group := cmp.Or(own.RunAsUser, pod.RunAsUser), cmp.Or(own.RunAsGroup, pod.RunAsGroup)
	for _, id := range append([]*int64{user, group, pod.FSGroup}, pointers(pod.SupplementalGroups)...) {
		if id != nil && (*id < 0 || *id > 1<<31-1) {
			m.refuse("securityContext", "%d is no number of a user or group", *id)
		}
	}
	nonRoot := cmp.Or(own.RunAsNonRoot, pod.RunAsNonRoot)
	switch {
	case user != nil && group != nil:
		m.flag("user", fmt.Sprintf("%d:%d", *user, *group))
	case user != nil:
		m.flag("user", strconv.FormatInt(*user, 10))
	case group != nil:
		m.refuse("securityContext", "runAsGroup needs a runAsUser")
	}
	if nonRoot != nil && *nonRoot {
		if user != nil && *user == 0 {
			m.refuse("securityContext", "runAsNonRoot and runAsUser 0 contradict each other")
		}
		m.out.NonRoot = user == nil
	}
	for _, g := range append(pointers(pod.SupplementalGroups), pod.FSGroup) {
		if g != nil {
			m.flag("group-add", strconv.FormatInt(*g, 10))
		}
	}
	if pod.FSGroup != nil {
		m.translation.remark("securityContext.fsGroup", "all users of the pod are in it and may use its volumes, but new files there have the group of their maker")
	}
	m.onOff("read-only", own.ReadOnlyRootFilesystem)
	m.onOff("privileged", own.Privileged)
	if e := own.AllowPrivilegeEscalation; e != nil && *e {
		m.flag("security-opt", "no-new-privileges=false")
	} else if e != nil && own.Privileged {
		m.refuse("securityContext", "privileged and allowPrivilegeEscalation: false contradict each other")
	}
	switch own.ProcMount {
	case "", "Default":
	case "Unmasked":
		m.flag("security-opt", "systempaths=unconfined")
	default:
		m.refuse("securityContext.procMount", "%q is neither Default nor Unmasked", own.ProcMount)
	}
	if own.Capabilities != nil {
		m.list("cap-add", own.Capabilities.Add)
		m.list("cap-drop", own.Capabilities.Drop)
	}
	if p := cmp.Or(own.SeccompProfile, pod.SeccompProfile); p != nil {
		m.seccomp(p)
	}
}

func pointers(ids []int64) (all []*int64) {
	for i := range ids {
		all = append(all, &ids[i])
	}
	return all
}

// seccomp: the filter of its system calls. A profile is a file below the directory for such.
func (m *member) seccomp(p *kube.SeccompProfile) {
	switch name := p.LocalhostProfile; {
	case p.Type == "RuntimeDefault" && name == "":
	case p.Type == "Unconfined" && name == "":
		m.flag("security-opt", "seccomp=unconfined")
	case p.Type == "Localhost" && filepath.IsLocal(name):
		m.flag("security-opt", "seccomp="+filepath.Join(m.request.Profiles, name))
	default:
		m.refuse("securityContext", "a seccompProfile is RuntimeDefault, Unconfined, or Localhost with a localhostProfile, whose path does not leave the directory of profiles")
	}
}
